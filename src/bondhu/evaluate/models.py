"""Models of the reward that estimators lean on: predicted rewards `[T, A]` of every action in every logged context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bondhu.equations import regression
from bondhu.types import Array, Batch, Booleans, Choice, Floats, Policy, Uniforms

Model = Callable[[Batch], Floats]  # predicted rewards [T, A], made without the row's own reward


def cross_fitted(batch: Batch) -> Floats:
    """Rewards `[T, A]` by ridge regression, each session's from the other folds': their errors stay independent."""
    actions = batch.allowed.shape[1]
    design = regression.design(batch.observation, actions)
    fold = regression.folds(batch.session)
    parts = regression.by_fold(design, batch.action, batch.reward, fold, actions)
    return regression.cross_fit(design, parts, fold)


def direct(policy: Policy, batch: Batch, model: Model) -> tuple[Floats, Floats]:
    """What the policy earns by the model, `sum_a pi(a | x_t) q(x_t, a)`, and the model's errors `r_t - q(x_t, a_t)`."""
    predicted = model(batch)
    values = np.einsum("ta,ta->t", policy.distribution(batch.observation, batch.allowed), predicted)
    return values, batch.reward - predicted[np.arange(len(batch)), batch.action]


@dataclass
class Remembered:
    """A model that remembers what it said of the last batch: several estimators then share one regression."""

    model: Model = cross_fitted
    _batch: Batch | None = field(default=None, init=False, repr=False)
    _said: Floats | None = field(default=None, init=False, repr=False)

    def __call__(self, batch: Batch) -> Floats:
        if self._said is None or batch is not self._batch:
            self._said, self._batch = self.model(batch), batch
        return self._said


@dataclass
class Memory:
    """A policy that remembers its last answers: estimators ask the same of it again and again."""

    policy: Policy
    _asked: tuple[Array, ...] = field(default=(), init=False, repr=False)
    _said: Floats | None = field(default=None, init=False, repr=False)
    _asked_of: tuple[Array, ...] = field(default=(), init=False, repr=False)
    _said_of: Floats | None = field(default=None, init=False, repr=False)

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        if self._said is None or not _same(self._asked, (observation, allowed)):
            self._said, self._asked = self.policy.distribution(observation, allowed), (observation, allowed)
        return self._said

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:
        asked = (observation, allowed, action)
        if self._said_of is None or not _same(self._asked_of, asked):
            self._said_of, self._asked_of = self.policy.probability(*asked), asked
        return self._said_of

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        return self.policy.sample(observation, allowed, rng)


def _same(before: tuple[Array, ...], now: tuple[Array, ...]) -> bool:
    return len(before) == len(now) and all(old is new for old, new in zip(before, now, strict=True))
