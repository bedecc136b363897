"""Markov problems whose states are seen through features: the answers are those of the problems behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from gymnasium.spaces import Box

from bondhu.domains.probes import markov
from bondhu.policies.drawing import draw, pick
from bondhu.types import Array, Batch, Booleans, Choice, Floats, Integers, Policy, Spec, Uniforms


@dataclass(frozen=True)
class Looking:
    """A policy that acts on features, for a problem that tells it the number of the state."""

    policy: Policy
    features: Floats  # [N, F]

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        return self.policy.distribution(self.features[observation[:, 0]], allowed)

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        return draw(self.distribution(observation, allowed), rng)


@dataclass(frozen=True)
class Seen:
    """A Markov problem whose states are known by their features."""

    problem: markov.Markov
    features: Floats  # [N, F]

    @property
    def spec(self) -> Spec:
        return replace(self.problem.spec, observation=Box(-np.inf, np.inf, self.features.shape[1:], np.float64))

    @property
    def uniform(self) -> Policy:
        return self.problem.uniform

    @property
    def best(self) -> float:
        return self.problem.best

    def worth(self, policy: Policy) -> float:
        """Discounted return of a policy from the start, exactly."""
        return self.problem.worth(Looking(policy, self.features))

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log `sessions` sessions of a policy, side by side."""
        batch = self.problem.play(Looking(policy, self.features), sessions, rng)
        following = self.features[batch.next_observation[:, 0]] * batch.discount[:, None]
        return replace(batch, observation=self.features[batch.observation[:, 0]], next_observation=following)


def one_hot_corridor() -> Seen:
    """The corridor with a column for each state, so that regression is a table. Catches credit lost between fits."""
    return _one_hot(markov.corridor())


def one_hot_cut() -> Seen:
    """The state that is cut, with its column. Catches a cut that is taken for an end."""
    return _one_hot(markov.cut())


def one_hot_trap() -> Seen:
    """The forbidden action, with a column for each state. Catches a maximum over all actions."""
    return _one_hot(markov.trap())


def _one_hot(problem: markov.Markov) -> Seen:
    return Seen(problem, np.eye(len(problem.start)))
