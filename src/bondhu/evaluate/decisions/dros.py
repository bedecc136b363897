"""Doubly robust estimation with optimistic shrinkage: large importance weights are pulled in, the largest the most."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from bondhu.equations.weights import effective_samples, shrunk
from bondhu.evaluate.models import Model, cross_fitted, direct
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class ShrunkDoublyRobust:
    """`V = mean_t [sum_a pi(a | x_t) q(x_t, a) + v_t (r_t - q(x_t, a_t))]`, `v_t = lambda w_t / (w_t^2 + lambda)`.

    Biased by the model's errors where weights are shrunk; `v` is at most sqrt(lambda) / 2. Su, Dimakopoulou,
    Krishnamurthy & Dudik (2020). By itself lambda is T: weights stay of the order sqrt(T), and the bias vanishes.
    """

    name: ClassVar[str] = "dros"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = ("shrinkage", (inf, 1e6, 1e5, 1e4, 1e3, 100.0, 10.0, 1.0, 0.0))

    confidence: float = 0.95  # of the interval
    shrinkage: float | None = None  # lambda; inf: dr; 0: the model alone; None: T
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    model: Model = cross_fitted  # predicted rewards [T, A], made without the row's own reward

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = support(policy, batch, self.minimum_effective_samples)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        weights = shrunk(found.weights, float(len(batch)) if self.shrinkage is None else self.shrinkage)
        values, error = direct(policy, batch, self.model)
        return estimate(values + weights * error, batch, self.confidence, effective_samples(weights))
