"""A policy over other actions than those it knows: some are gone, others are new, or all stand in another order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bondhu.policies.drawing import drawn, evenly, pick
from bondhu.types import Array, Belief, Beliefs, Booleans, Floats, Integers, Policy


@dataclass(frozen=True)
class Renamed:
    """Acts as `policy` does among the actions that both know. Where none of those is allowed, any allowed one is taken
    with equal probability; a new action is taken in no other case."""

    policy: Policy
    places: Integers  # [A] where each action stands among those that `policy` knows; -1: it does not know it
    known: int  # how many actions `policy` knows

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        here, there = self._positions
        could = np.zeros((len(allowed), self.known), np.bool_)
        could[:, there] = allowed[:, here]
        lost = ~could.any(axis=1)
        could[lost] = True  # any mask that can be asked for; the answer is not used
        found = np.zeros(allowed.shape)
        found[:, here] = self.policy.distribution(observation, could)[:, there]
        if lost.any():
            found[lost] = evenly(allowed[lost])
        return found

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    sample = drawn

    @property
    def _positions(self) -> tuple[Integers, Integers]:
        here = np.flatnonzero(self.places >= 0)
        return here, self.places[here]


def renamed_beliefs(beliefs: Beliefs, places: Integers) -> Beliefs:
    """What is believed of each action at its new place; nothing of new ones: value 0, without tries, of any error."""
    here = places >= 0

    def believed(observation: Array) -> Belief:
        known = beliefs(observation)
        value, error, tries = (np.where(here, each[:, places], 0.0) for each in known[:3])
        error[:, ~here] = known.error.max(initial=1.0)
        return known._replace(value=value, error=error, tries=tries, draws=None)

    return believed
