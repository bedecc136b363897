"""The order of the application itself: what it lists first is what it would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bondhu.policies.drawing import draw, pick
from bondhu.types import Array, Booleans, Choice, Floats, Integers, Uniforms


@dataclass(frozen=True)
class First:
    """The first allowed action."""

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        rows = np.arange(len(observation))
        chosen = np.zeros((len(rows), allowed.shape[1]))
        chosen[rows, np.broadcast_to(allowed.argmax(axis=1), len(rows))] = 1.0
        return chosen

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        return draw(self.distribution(observation, allowed), rng)
