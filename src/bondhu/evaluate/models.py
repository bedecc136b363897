"""Models of the reward that estimators lean on: predicted rewards `[T, A]` of every action in every logged context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bondhu.equations import regression
from bondhu.types import Array, Batch, Booleans, Choice, Floats, Policy, Uniforms

Model = Callable[[Batch], Floats]  # predicted rewards [T, A], made without the row's own reward


def cross_fitted(batch: Batch) -> Floats:
    """Rewards `[T, A]` by ridge regression, each session's from the other folds': their errors stay independent."""
    actions = batch.allowed.shape[1]
    design = regression.features(batch.observation, actions)
    fold = regression.folds(batch.session)
    return regression.cross_fit(design, regression.by_fold(design, batch.action, batch.reward, fold, actions), fold)


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
    """A policy that remembers the last distribution it gave: estimators ask for the same one again and again."""

    policy: Policy
    _asked: tuple[Array, Booleans] | None = field(default=None, init=False, repr=False)
    _said: Floats | None = field(default=None, init=False, repr=False)

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        if self._said is None or not self._same(observation, allowed):
            self._said, self._asked = self.policy.distribution(observation, allowed), (observation, allowed)
        return self._said

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:
        return self.policy.probability(observation, allowed, action)

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        return self.policy.sample(observation, allowed, rng)

    def _same(self, observation: Array, allowed: Booleans) -> bool:
        return self._asked is not None and self._asked[0] is observation and self._asked[1] is allowed
