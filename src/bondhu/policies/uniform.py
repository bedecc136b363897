"""Acting without looking: what a cold start does, and what every estimate can be checked against."""

from __future__ import annotations

from dataclasses import dataclass

from bondhu.policies.drawing import drawn, evenly, pick
from bondhu.types import Array, Booleans, Floats, Integers


@dataclass(frozen=True)
class Uniform:
    """Every allowed action with equal probability."""

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:  # noqa: ARG002  # it does not look
        return evenly(allowed)

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    sample = drawn
