"""Which version acts now: followed in the registry, swapped between decisions, kept when the next is damaged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from bondhu.errors import BondhuError, InvalidInput, UnknownName, nearest
from bondhu.policies.floor import WithFloor
from bondhu.ports import Event, Registry
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE
from bondhu.types import Acting, Booleans

log = logging.getLogger(__name__)
RETRY = 10.0  # seconds between attempts to load a version that could not be loaded


@dataclass
class Live:
    """The version in force, with exploration on top."""

    domain: str
    registry: Registry
    restore: Callable[[str | None], Acting]  # None: the baseline
    exploration: float  # share of decisions made at random
    problem: str | None = field(default=None, init=False)  # why the version in force is not the one that acts
    _acting: Acting | None = field(default=None, init=False, repr=False)
    _events: Sequence[Event] | None = field(default=None, init=False, repr=False)  # what `_acting` follows
    _retry: float = field(default=0.0, init=False, repr=False)  # seconds; when a failed load is tried again

    def __post_init__(self) -> None:
        self.acting(0.0)

    def acting(self, now: float) -> Acting:
        """The version to act with; where it cannot be loaded, the last good one, or else the baseline."""
        try:
            events = self.registry.events(self.domain)  # the same object until something is recorded
            if self._acting is not None and events is self._events and (not self.problem or now < self._retry):
                return self._acting
            self._events = events
            wanted = lifecycle.live(events)
            if self._acting is None or self._acting.version != (wanted or BASELINE):
                self._acting = self.explored(self.restore(wanted), self.exploration)
            self.problem = None
        except BondhuError as error:
            self.problem, self._retry = str(error), now + RETRY
            log.warning("The version in force cannot act: %s", error)
        if self._acting is None:
            self._acting = self.explored(self.restore(None), self.exploration)
        return self._acting

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
