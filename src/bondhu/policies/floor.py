"""Exploration on top of any policy: without it, nothing but the policy itself could be evaluated from its log."""

from __future__ import annotations

from dataclasses import dataclass

from bondhu.errors import InvalidInput
from bondhu.policies.drawing import drawn, pick, uniformly
from bondhu.types import Array, Booleans, Floats, Integers, Policy


@dataclass(frozen=True)
class WithFloor:
    """(1 - rate)·policy + rate·uniform over the allowed actions: each has at least rate / |allowed|."""

    policy: Policy
    rate: float  # share of decisions made at random, in [0, 1]

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise InvalidInput(
                f"The exploration floor is {self.rate}.",
                field="rate",
                value=self.rate,
                fix="It is a share from 0 to 1.",
            )

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        return (1.0 - self.rate) * self.policy.distribution(observation, allowed) + uniformly(allowed, self.rate)

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    sample = drawn
