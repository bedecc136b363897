"""Which versions act now, and for whom: followed in the registry, swapped between decisions, kept when the next is
damaged."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from threading import Lock, Thread
from typing import NamedTuple

import numpy as np

from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.policies.floor import WithFloor
from bondhu.ports import Event, Registry
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE, Step
from bondhu.types import Acting, Booleans

log = logging.getLogger(__name__)
RETRY = 10.0  # seconds between attempts to load a version that could not be loaded


class Arms(NamedTuple):
    """Who decides: the version in force for most; for some a version on trial, or the rule that learning is to beat."""

    live: Acting
    step: Step | None = None  # the trial, while one decides for a share of the people
    trial: Acting | None = None  # None where there is no trial, or where its version cannot be loaded
    holdout: Acting | None = None


class Followed(NamedTuple):
    """What the history says, followed. Put in place at once, so that no decision sees half of a change."""

    read: int  # which reading of the history this follows; a later one is not replaced by an earlier one
    events: Sequence[Event]
    arms: Arms
    problem: str | None = None  # why the version in force is not the one that acts
    retry: float = math.inf  # seconds; when what failed is tried again


class Reading(NamedTuple):
    """The history as it was found."""

    number: int  # ascending
    events: Sequence[Event]
    problem: str | None = None  # why it could not be read

    def same(self, followed: Followed, now: float) -> bool:
        """Whether nothing was recorded since, and nothing is to be tried again."""
        return self.events is followed.events and self.problem is None and now < followed.retry


@dataclass
class Live:
    """The versions in force, with exploration on top."""

    domain: str
    registry: Registry
    restore: Callable[[str | None], Acting]  # None: the baseline
    exploration: float  # share of decisions made at random
    holdout: float = 0.0  # share of people who always meet the rule
    _followed: Followed = field(init=False, repr=False)
    _readings: Iterator[int] = field(default_factory=count, init=False, repr=False)
    _loading: Lock = field(default_factory=Lock, init=False, repr=False)  # one thread loads, others wait or go on
    _placing: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._followed = self._follow(self._read(()), None, 0.0)

    @property
    def problem(self) -> str | None:
        """Why the version in force is not the one that acts."""
        return self._followed.problem

    def acting(self, now: float) -> Acting:
        """The version in force; where it cannot be loaded, the last good one, or else the baseline."""
        return self.arms(now).live

    def arms(self, now: float) -> Arms:
        """All that decide now. What is newly in force is loaded before this returns."""
        followed = self._followed
        if self._read(followed.events).same(followed, now):
            return followed.arms
        with self._loading:
            followed = self._followed
            return self._place(self._next(self._read(followed.events), followed, now))

    def at_hand(self, now: float) -> Arms:
        """As `arms`, but those at hand go on while a thread loads what is newly in force: for the event loop. What
        needs no loading, such as a rollback to the rule, holds at once."""
        followed = self._followed
        reading = self._read(followed.events)
        if reading.same(followed, now):
            return followed.arms
        if reading.problem or _wanted(reading.events, self.holdout) <= {*_known(followed.arms), BASELINE}:
            return self._place(self._next(reading, followed, now))
        if not self._loading.locked():
            Thread(target=self.arms, args=(now,), name="bondhu-loading", daemon=True).start()
        return followed.arms

    def _read(self, before: Sequence[Event]) -> Reading:
        """The history: the same object until something is recorded. Where it cannot be read, that before, and why."""
        number = next(self._readings)
        try:
            return Reading(number, self.registry.events(self.domain))
        except Exception as error:  # whatever it is, people get a decision, and it is tried again
            return Reading(number, before, _said(error))

    def _place(self, followed: Followed) -> Arms:
        """Follow this from now on, unless another thread read the history later and was sooner to follow it."""
        with self._placing:
            if followed.read >= self._followed.read:
                self._followed = followed
            return self._followed.arms

    def _next(self, reading: Reading, before: Followed, now: float) -> Followed:
        """What follows from the history; all stays as it was where that cannot be found out."""
        problem = reading.problem
        if problem is None:
            try:
                return self._follow(reading, before, now)
            except Exception as error:  # not even the rule can act
                problem = _said(error)
        return before._replace(read=reading.number, events=reading.events, problem=problem, retry=now + RETRY)

    def _follow(self, reading: Reading, before: Followed | None, now: float) -> Followed:
        """What the events say, each version loaded once; the last good one stays where the next cannot be loaded."""
        number, events, problem = reading
        known = _known(before.arms) if before else {}
        problems = [problem] if problem else []

        def ready(name: str) -> Acting | None:
            try:
                if name in known:
                    return known[name]
                return self.explored(warmed(self.restore(None if name == BASELINE else name)), self.exploration)
            except Exception as error:
                problems.append(_said(error))
                return None

        traffic = lifecycle.traffic(events)
        live = ready(traffic.live or BASELINE)
        if live is None and before is not None and before.arms.live.version == lifecycle.previous(events):
            live = before.arms.live  # what was taken back does not go on for want of what it was taken back to
        rule = ready(BASELINE) if self.holdout or live is None else None
        if live is None:
            live = rule or self.explored(self.restore(None), self.exploration)
        step = traffic.step if traffic.step and traffic.step.share else None
        trial = ready(step.version) if step else None
        arms = Arms(live, step, trial, rule if self.holdout else None)
        unsettled = (problems[-1], now + RETRY) if problems else ()
        return Followed(number, events, arms, *unsettled)

    @staticmethod
    def explored(acting: Acting, rate: float) -> Acting:
        """The version with a floor of exploration under it."""
        return acting._replace(policy=WithFloor(acting.policy, rate)) if rate else acting


def warmed(acting: Acting) -> Acting:
    """The version after it has decided once for nobody, alone and among others: what it imports or compiles for that is
    there before the first request."""
    for rows in (1, 2):
        with suppress(Exception):  # it may still decide for others; who cannot is replaced decision by decision
            space = acting.encoder.space
            seen = np.zeros((rows, *(space.shape or ())), space.dtype)
            acting.policy.distribution(seen, np.ones((rows, len(acting.actions)), np.bool_))
    return acting


def _wanted(events: Sequence[Event], holdout: float) -> set[str]:
    """The versions that decide for somebody."""
    traffic = lifecycle.traffic(events)
    step = {traffic.step.version} if traffic.step and traffic.step.share else set()
    return {traffic.live or BASELINE, *({BASELINE} if holdout else ()), *step}


def _known(arms: Arms) -> dict[str, Acting]:
    """The versions that are loaded, by name."""
    return {each.version: each for each in arms if isinstance(each, Acting)}


def _said(error: Exception) -> str:
    """What is wrong, in words; also told to whoever reads the log of the program."""
    log.warning("The version in force cannot act: %s", error)
    return str(error) or type(error).__name__


@lru_cache(maxsize=1024)
def mask(actions: tuple[str, ...], allowed: tuple[str, ...] | None) -> tuple[Booleans, tuple[str, ...]]:
    """Which actions these names allow, `[1, A]`, and their names in declared order; None allows every one."""
    if allowed is None:
        allowed = actions
    if not allowed:
        raise InvalidInput(
            "No action is allowed.", field="allowed", value=[], fix="Name at least one, or leave 'allowed' out for all."
        )
    for name in allowed:
        if name not in actions:
            raise UnknownName(f"There is no action {name!r}.", field="allowed", value=name, fix=nearest(name, actions))
    chosen = np.array([[name in allowed for name in actions]])
    chosen.flags.writeable = False
    return chosen, tuple(name for name in actions if name in allowed)


def masks(actions: tuple[str, ...], wanted: Sequence[Sequence[str] | None]) -> tuple[Booleans, list[tuple[str, ...]]]:
    """Which actions each request allows, `[T, A]`, and their names; None allows every one."""
    if len(wanted) == 1 or all(each is None for each in wanted):
        row, names = mask(actions, None if wanted[0] is None else tuple(wanted[0]))
        return row if len(wanted) == 1 else np.broadcast_to(row, (len(wanted), len(actions))), [names] * len(wanted)
    rows = [mask(actions, None if each is None else tuple(each)) for each in wanted]
    return np.concatenate([row for row, _ in rows]), [names for _, names in rows]
