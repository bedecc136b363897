"""Which versions act now, and for whom: followed in the registry, swapped between decisions, kept when the next is
damaged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
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


@dataclass
class Live:
    """The versions in force, with exploration on top."""

    domain: str
    registry: Registry
    restore: Callable[[str | None], Acting]  # None: the baseline
    exploration: float  # share of decisions made at random
    holdout: float = 0.0  # share of people who always meet the rule
    problem: str | None = field(default=None, init=False)  # why the version in force is not the one that acts
    _followed: tuple[Sequence[Event] | None, Arms | None] = field(default=(None, None), init=False, repr=False)
    _retry: float = field(default=0.0, init=False, repr=False)  # seconds; when a failed load is tried again
    _loading: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.arms(0.0)

    def acting(self, now: float) -> Acting:
        """The version in force; where it cannot be loaded, the last good one, or else the baseline."""
        return self.arms(now).live

    def arms(self, now: float) -> Arms:
        """All that decide now. They are replaced together, so that no decision sees half of a change."""
        try:
            events = self.registry.events(self.domain)  # the same object until something is recorded
            followed, arms = self._followed  # one tuple: another thread may be putting the next one there
            if arms is not None and events is followed and (not self.problem or now < self._retry):
                return arms
            with self._loading:
                events = self.registry.events(self.domain)
                self.problem = None
                arms = self._loaded(events, self._followed[1], now)
                self._followed = events, arms
                return arms
        except Exception as error:  # whatever it is, people get a decision, and it is tried again
            self._complain(error, now)
        followed, arms = self._followed
        if arms is None:
            arms = self._loaded((), None, now)
            self._followed = followed, arms
        return arms

    def _loaded(self, events: Sequence[Event], before: Arms | None, now: float) -> Arms:
        """What the events say, each version loaded once; the last good one stays where the next cannot be loaded."""
        known = {each.version: each for each in (before or ()) if isinstance(each, Acting)}
        traffic = lifecycle.traffic(events)
        live = self._ready(traffic.live or BASELINE, known, now)
        if live is None and before is not None and before.live.version == lifecycle.previous(events):
            live = before.live  # what was taken back does not go on for want of what it was taken back to
        rule = self._ready(BASELINE, known, now) if self.holdout or live is None else None
        if live is None:
            live = rule or self.explored(self.restore(None), self.exploration)
        step = traffic.step if traffic.step and traffic.step.share else None
        trial = self._ready(step.version, known, now) if step else None
        return Arms(live, step, trial, rule if self.holdout else None)

    def _ready(self, name: str, known: dict[str, Acting], now: float) -> Acting | None:
        if name in known:
            return known[name]
        try:
            return self.explored(self.restore(None if name == BASELINE else name), self.exploration)
        except Exception as error:
            self._complain(error, now)
            return None

    def _complain(self, error: Exception, now: float) -> None:
        self.problem, self._retry = str(error) or type(error).__name__, now + RETRY
        log.warning("The version in force cannot act: %s", error)

    @staticmethod
    def explored(acting: Acting, rate: float) -> Acting:
        """The version with a floor of exploration under it."""
        return acting._replace(policy=WithFloor(acting.policy, rate)) if rate else acting


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
