"""Decisions that stand alone, in finitely many contexts whose mean rewards are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box, Discrete

from bondhu.policies.uniform import Uniform
from bondhu.types import Array, Batch, Booleans, Floats, Policy, Spec


@dataclass(frozen=True)
class Contextual:
    """N contexts, equally likely, and A actions. Observations are features `[N, F]`, or of each action `[N, A, G]`."""

    observation: Array
    mean: Floats  # [N, A] mean reward
    allowed: Booleans  # [N, A]
    noise: float | None = 0.1  # standard deviation of a reward; None: a reward is 1 with probability `mean`, else 0
    action_features: Floats | None = None  # [A, G]

    @property
    def spec(self) -> Spec:
        space = Box(-np.inf, np.inf, self.observation.shape[1:], np.float32)
        return Spec(space, Discrete(self.mean.shape[1]), self.action_features)

    @property
    def uniform(self) -> Policy:
        return Uniform()

    @property
    def best(self) -> float:
        return float(np.where(self.allowed, self.mean, -np.inf).max(axis=1).mean())

    def worth(self, policy: Policy) -> float:
        """Mean reward of a decision."""
        return float((policy.distribution(self.observation, self.allowed) * self.mean).sum(axis=1).mean())

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log decisions, one a session."""
        context = rng.integers(len(self.mean), size=sessions)
        observation, allowed = self.observation[context], self.allowed[context]
        choice = policy.sample(observation, allowed, rng)
        mean = self.mean[context, choice.action]
        reward = (
            rng.random(sessions) < mean if self.noise is None else mean + self.noise * rng.standard_normal(sessions)
        )
        return Batch.single(observation, allowed, choice.action, choice.probability, reward.astype(np.float64))


def planes() -> Contextual:
    """Each of three actions has its own linear mean. Catches a learner that does not see the context."""
    rng = np.random.default_rng(1)
    observation = _with_bias(rng.standard_normal((64, 4)))
    return _open(observation, observation @ rng.normal(0, 0.5, (5, 3)))


def scales() -> Contextual:
    """`planes` in other units: columns of size 1e-3 to 1e3. Catches steps that depend on the units."""
    plane = planes()
    return _open(plane.observation * np.array([1e-3, 1.0, 30.0, 1e3, 1.0]), plane.mean)


def clicks() -> Contextual:
    """Rewards 0 or 1 with a logistic chance. Catches a learner that needs rewards around a line."""
    rng = np.random.default_rng(2)
    observation = _with_bias(rng.standard_normal((64, 4)))
    chance = 1 / (1 + np.exp(-observation @ rng.normal(0, 1.0, (5, 3))))
    return _open(observation, chance, noise=None)


def described_actions() -> Contextual:
    """Twelve actions with features of their own, which tell what they are worth in a context; a third is not allowed.

    Catches a learner that knows actions by number only: it would need each of them tried in many contexts.
    """
    rng = np.random.default_rng(3)
    context, actions = rng.standard_normal((64, 3)), rng.standard_normal((12, 3))
    mean = context @ rng.normal(0, 0.4, (3, 3)) @ actions.T
    allowed = rng.random(mean.shape) < 2 / 3
    allowed[np.arange(64), rng.integers(12, size=64)] = True
    return Contextual(_with_bias(context), mean, allowed, action_features=actions)


def candidates() -> Contextual:
    """What can be done is other in each context: eight candidates, known by their features `[A, G]` alone."""
    rng = np.random.default_rng(4)
    observation = rng.standard_normal((64, 8, 4)).astype(np.float32)
    return _open(observation, observation @ np.array([0.6, -0.4, 0.2, 0.0]))


def crossing() -> Contextual:
    """The sign of a product of two fields says which action is right. Catches a learner without interactions."""
    grid = np.array([[x, y] for x in (-1.0, -0.5, 0.5, 1.0) for y in (-1.0, -0.5, 0.5, 1.0)])
    product = grid.prod(axis=1)
    return _open(_with_bias(grid), np.stack([0.5 + 0.4 * np.sign(product), 0.5 - 0.4 * np.sign(product)], axis=1))


def _with_bias(features: Floats) -> Floats:
    return np.hstack([features, np.ones((len(features), 1))])


def _open(observation: Array, mean: Floats, noise: float | None = 0.1) -> Contextual:
    """Every action is allowed."""
    return Contextual(observation, mean, np.ones(mean.shape, np.bool_), noise)
