"""Acting by what is seen and by what is remembered, without keeping anything between two calls.

The last M columns of what is observed are the memory before the row; the last M of the memo are the memory after it,
to be shown again with the next row of the same episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bondhu.types import Array, Booleans, Choice, Floats, Policy, Uniforms


@dataclass(frozen=True)
class Remembering:
    """A policy that looks at the memory after each row."""

    policy: Policy
    recall: Callable[[Array], Floats]  # [T, F + M] with the memory before to [T, F + M] with the memory after
    memory: int  # M

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        return self.policy.distribution(self.recall(observation), allowed)

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:
        return self.policy.probability(self.recall(observation), allowed, action)

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        recalled = self.recall(observation)
        choice = self.policy.sample(recalled, allowed, rng)
        memo = np.concatenate([choice.memo, recalled[:, -self.memory :]], axis=1)
        return choice._replace(memo=memo)
