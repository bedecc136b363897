"""Bandits over codes: decisions that stand alone, in states that are known by number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from bondhu.domains.probes.contextual import Contextual
from bondhu.types import Floats, Spec


@dataclass(frozen=True)
class Arms(Contextual):
    """N states, equally likely, each with a bandit of its own; observations are their numbers `[N, 1]`."""

    @property
    def spec(self) -> Spec:
        return Spec(MultiDiscrete([len(self.observation)]), Discrete(self.mean.shape[1]))


def bernoulli_arms() -> Arms:
    """Ten actions, rewards 0 or 1, the second best nearly as good as the best. Catches a learner that settles early."""
    return _arms(np.array([[0.1, 0.2, 0.3, 0.3, 0.3, 0.8, 0.3, 0.3, 0.7, 0.2]]), noise=None)


def gaussian_arms() -> Arms:
    """Five actions whose rewards are normal and mostly negative. Catches a learner that takes rewards for chances."""
    return _arms(np.array([[-2.0, -1.0, -0.5, 0.5, -1.5]]), noise=1.0)


def rows_of_arms() -> Arms:
    """Four states, in each another action is best, and one is forbidden that would be better. Catches a learner that
    mixes up states."""
    mean = 0.2 + 0.5 * np.eye(4) + 0.7 * np.roll(np.eye(4), 1, axis=1)
    return _arms(mean, noise=None, best=0.8)


def _arms(mean: Floats, noise: float | None, best: float = np.inf) -> Arms:
    """What would pay more than `best` is forbidden."""
    return Arms(np.arange(len(mean))[:, None], mean, mean <= best, noise)
