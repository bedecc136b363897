"""A dial to turn to the right place, in finitely many contexts that say where it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box

from bondhu.errors import InvalidInput
from bondhu.policies.interval import Smoothed, Windows
from bondhu.policies.uniform import Uniform
from bondhu.types import Array, Batch, Floats, Policy, Spec


@dataclass(frozen=True)
class Turned:
    """N contexts, equally likely. The mean reward is 1 - (distance from the right place / span)^power."""

    observation: Array  # [N, F]
    place: Floats  # [N] where the mean reward is highest, in the interval
    low: float
    high: float
    span: float  # distance at which nothing is earned; farther away it is lost
    power: float = 2.0  # 2: flat around the place; 1: a peak
    noise: float = 0.1  # standard deviation of a reward

    @property
    def spec(self) -> Spec:
        features = Box(-np.inf, np.inf, self.observation.shape[1:], np.float32)
        return Spec(features, Box(self.low, self.high, (1,), np.float64))

    @property
    def uniform(self) -> Policy:
        return Smoothed(Uniform(), Windows(self.low, self.high, bins=1, bandwidth=1.0))

    @property
    def best(self) -> float:
        return 1.0

    def mean(self, place: Floats, action: Array) -> Floats:
        """Mean reward of an action where this is the right place."""
        reward: Floats = 1.0 - (np.abs(action - place) / self.span) ** self.power
        return reward

    def worth(self, policy: Policy) -> float:
        """Mean reward of a decision: exactly, by the integral of the mean reward over each piece of the density."""
        if not isinstance(policy, Smoothed):
            what = f"The worth of {policy!r} on an interval is not known."
            raise InvalidInput(what, field="policy", value=policy, fix="Use policies.interval.Smoothed.")
        earned = np.diff(self._integral(policy.edges - self.place[:, None]), axis=1) / np.diff(policy.edges)
        allowed = np.ones((len(self.place), 1), np.bool_)
        return float((policy.distribution(self.observation, allowed) * earned).sum(axis=1).mean())

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log decisions, one a session."""
        context = rng.integers(len(self.place), size=sessions)
        observation, allowed = self.observation[context], np.ones((sessions, 1), np.bool_)
        choice = policy.sample(observation, allowed, rng)
        reward = self.mean(self.place[context], choice.action) + self.noise * rng.standard_normal(sessions)
        return Batch.single(observation, allowed, choice.action, choice.probability, reward)

    def _integral(self, away: Floats) -> Floats:
        """The integral of the mean reward from the right place to this far away from it."""
        lost: Floats = np.abs(away) / (self.power + 1.0) * (np.abs(away) / self.span) ** self.power
        return away - np.sign(away) * lost


def dial() -> Turned:
    """The place is a linear function of the context. Catches densities that are taken for probabilities: the interval
    is 20 units long."""
    observation, place = _places()
    return Turned(observation, place, 10.0, 30.0, span=10.0)


def peak() -> Turned:
    """As `dial`, with a reward that is not linear in the context for any action. Catches a learner that is."""
    observation, place = _places()
    return Turned(observation, place, 10.0, 30.0, span=10.0, power=1.0)


def _places() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(5)
    features = rng.standard_normal((64, 3))
    score = features @ np.array([1.0, -0.7, 0.4])
    return np.hstack([features, np.ones((64, 1))]), 20.0 + 9.0 * score / np.abs(score).max()
