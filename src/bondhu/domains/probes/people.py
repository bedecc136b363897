"""People who differ around what their features say, by a known covariance: decisions that stand alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from bondhu.policies.uniform import Uniform
from bondhu.types import Array, Batch, Booleans, Floats, Integers, Policy, Spec


@dataclass(frozen=True)
class People:
    """P people, each of one of K kinds, meet C situations; all pairs are equally likely. Codes are the kind, the
    situation and the person, from 1: 0 is a stranger, whom nobody meets."""

    shared: Floats  # [K, C, A] mean reward of a kind of people
    kind: Integers  # [P]
    own: Floats  # [P, A] what a person adds
    noise: float = 0.3  # standard deviation of a reward

    @property
    def spec(self) -> Spec:
        kinds, situations, actions = self.shared.shape
        return Spec(MultiDiscrete([kinds, situations, len(self.own) + 1]), Discrete(actions))

    @property
    def uniform(self) -> Policy:
        return Uniform()

    @property
    def mean(self) -> Floats:
        """Mean reward for each person in each situation: `[P, C, A]`."""
        return self.shared[self.kind] + self.own[:, None]

    @property
    def best(self) -> float:
        return float(self.mean.max(axis=-1).mean())

    def worth(self, policy: Policy) -> float:
        """Mean reward of a decision."""
        person, situation = (each.ravel() for each in np.indices(self.mean.shape[:2]))
        acting = policy.distribution(*self._seen(person, situation))
        return float((acting * self.mean[person, situation]).sum(axis=1).mean())

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log decisions, one a session."""
        person, situation = (rng.integers(size, size=sessions) for size in self.mean.shape[:2])
        observation, allowed = self._seen(person, situation)
        choice = policy.sample(observation, allowed, rng)
        mean = self.mean[person, situation, choice.action]
        reward = mean + self.noise * rng.standard_normal(sessions)
        return Batch.single(observation, allowed, choice.action, choice.probability, reward)

    def _seen(self, person: Integers, situation: Integers) -> tuple[Array, Booleans]:
        observation = np.stack([self.kind[person], situation, person + 1], axis=1)
        return observation, np.ones((len(person), self.shared.shape[2]), np.bool_)


def people() -> People:
    """Thirty people of three kinds. Half of what they want is their own, along one line for all: who likes the first
    action likes the last one less. Catches a learner that sees kinds only, and one that sees persons only."""
    rng = np.random.default_rng(5)
    return differing(30, rng.normal(0.0, 0.4, (3, 2, 4)), tastes(np.array([[0.5, 0.2, -0.2, -0.5]]), 0.1), rng)


def differing(count: int, shared: Floats, covariance: Floats, rng: np.random.Generator) -> People:
    """So many people, whose own parts are drawn with this covariance `[A, A]`, of the kinds of `shared [K, C, A]`."""
    actions = np.zeros(len(covariance))
    own = rng.multivariate_normal(actions, covariance, count, method="eigh")
    return People(shared, np.arange(count) % len(shared), own)


def tastes(directions: Floats, rest: float) -> Floats:
    """The covariance of people who differ along a few directions `[K, A]`, each times a standard normal, and by a rest
    of this standard deviation in each action alone: `[A, A]`."""
    covariance: Floats = directions.T @ directions + rest**2 * np.eye(directions.shape[1])
    return covariance
