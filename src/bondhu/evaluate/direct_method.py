"""The direct method: learn what every action is worth, and ask what the policy's actions would have earned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bondhu.equations import regression
from bondhu.equations.weights import effective_samples
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Floats, Policy


@dataclass(frozen=True)
class DirectMethod:
    """`V = mean_t sum_a pi(a | x_t) q(x_t, a)`: as narrow as its model is, and as biased.

    With ridge regression V is linear in the rewards, `V = mean(omega_t r_t)` with `omega` found by solving for the
    policy's features instead of the rewards', so the interval adds the model's own noise, `omega_t` times its
    out-of-fold errors (Bruns-Smith et al. 2025). The model's bias is in no interval: prefer `dr` to prove anything.
    """

    name: ClassVar[str] = "dm"
    scope: ClassVar[str] = "decision"

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    model: Callable[[Batch], Floats] | None = None  # predicted rewards [T, A], taken as known; None: ridge regression

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        _, effective, refused = support(policy, batch, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        target = policy.distribution(batch.observation, batch.allowed)
        if self.model is not None:
            return estimate((target * self.model(batch)).sum(1), batch, self.confidence, effective)
        terms, implied = _regressed(target, batch)
        return estimate(terms, batch, self.confidence, effective_samples(implied))


def _regressed(target: Floats, batch: Batch) -> tuple[Floats, Floats]:
    """Terms `[T]` of the estimate and the weights `omega [T]` that the regression gives the rewards."""
    actions, rows = target.shape[1], np.arange(len(batch))
    design = regression.features(batch.observation, actions)
    fold = regression.folds(batch.session)
    parts = regression.by_fold(design, batch.action, batch.reward, fold, actions)
    penalty = regression.choose_penalty(regression.total(parts, 0), parts[0])
    whole = regression.total(parts)
    value = (target * (design @ regression.solve(whole, penalty).T)).sum(1)
    pulled = regression.solve(regression.Moments(whole.gram, target.T @ design), penalty)
    implied = np.einsum("tf,tf->t", design, pulled[batch.action])
    noise = implied * (batch.reward - regression.cross_fit(design, parts, fold)[rows, batch.action])
    return value + noise - noise.mean(), implied
