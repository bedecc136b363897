"""The application's own choice as a policy: what an apprentice follows while it learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bondhu.policies.drawing import draw, pick
from bondhu.types import Array, Booleans, Choice, Floats, Integers, Policy, Uniforms


@dataclass(frozen=True, eq=False)
class Following:
    """The action named for each row, of exactly these rows."""

    action: Integers  # [T]

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:  # noqa: ARG002  it looks at nothing else
        chosen = np.zeros(allowed.shape)
        chosen[np.arange(len(self.action)), self.action] = 1.0
        return chosen

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        return draw(self.distribution(observation, allowed), rng)


def of_names(names: list[str], actions: tuple[str, ...]) -> Policy:
    """Follow these actions, one a row."""
    return Following(np.array([actions.index(name) for name in names], dtype=np.int64))
