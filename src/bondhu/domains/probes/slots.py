"""Slates whose slots add up to one reward, in finitely many contexts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from gymnasium.spaces import Box, MultiDiscrete

from bondhu.policies.slots import Slots, side_by_side
from bondhu.policies.uniform import Uniform
from bondhu.types import Array, Batch, Booleans, Floats, Policy, Spec


@dataclass(frozen=True)
class Slotted:
    """N contexts, equally likely, and K slots, their actions side by side. The mean reward is the sum over slots."""

    observation: Array  # [N, F]
    sizes: tuple[int, ...]  # A_k of each slot
    mean: Floats  # [N, ΣA_k] what each action adds to the reward
    allowed: Booleans  # [N, ΣA_k]
    noise: float = 0.1  # standard deviation of a reward

    @property
    def spec(self) -> Spec:
        return Spec(Box(-np.inf, np.inf, self.observation.shape[1:], np.float32), MultiDiscrete(list(self.sizes)))

    @property
    def uniform(self) -> Policy:
        return Slots((Uniform(),) * len(self.sizes), self.sizes)

    @property
    def best(self) -> float:
        within = np.where(self.allowed, self.mean, -np.inf)
        return float(sum(within[:, part].max(axis=1).mean() for part in side_by_side(self.sizes)))

    def worth(self, policy: Policy) -> float:
        """Mean reward of a slate."""
        return float((policy.distribution(self.observation, self.allowed) * self.mean).sum(axis=1).mean())

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log slates, one a session."""
        context = rng.integers(len(self.mean), size=sessions)
        observation, allowed = self.observation[context], self.allowed[context]
        choice = policy.sample(observation, allowed, rng)
        place = choice.action + np.array([part.start for part in side_by_side(self.sizes)])
        mean = self.mean[context[:, None], place].sum(axis=1)
        reward = mean + self.noise * rng.standard_normal(sessions)
        batch = Batch.single(observation, allowed, choice.action, choice.probability, reward)
        return replace(batch, memo=choice.memo)


def page() -> Slotted:
    """Slots with 4, 3 and 5 candidates, a quarter of them missing. Catches a reward that reaches the wrong slot."""
    rng, sizes = np.random.default_rng(6), (4, 3, 5)
    observation = np.hstack([rng.standard_normal((64, 3)), np.ones((64, 1))])
    allowed = rng.random((64, sum(sizes))) < 3 / 4
    for part in side_by_side(sizes):
        allowed[np.arange(64), rng.integers(part.start, part.stop, size=64)] = True
    return Slotted(observation, sizes, observation @ rng.normal(0, 0.3, (4, sum(sizes))), allowed)
