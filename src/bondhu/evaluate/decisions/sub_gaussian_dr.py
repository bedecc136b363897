"""Sub-Gaussian doubly robust estimation: the model's errors count with importance weights bent below a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.weights import effective_samples, slight_correction, sub_gaussian
from bondhu.evaluate.models import Model, cross_fitted, direct
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class SubGaussianDoublyRobust:
    """`V = mean_t [sum_a pi(a | x_t) q(x_t, a) + v_t (r_t - q(x_t, a_t))]`, `v_t = w_t / (1 - lambda + lambda w_t)`.

    Metelli, Russo & Restelli (2021). As in the form without a model, lambda is by itself small enough for the bias to
    stay below a tenth of the standard error, here however bad the model is.
    """

    name: ClassVar[str] = "sub_gaussian_dr"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = ("correction", (0.0, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0))

    confidence: float = 0.95  # of the interval
    correction: float | None = None  # lambda; 0: dr; 1: weights of 1; None: 0.1 / sqrt(T mean(w^2))
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    model: Model = cross_fitted  # predicted rewards [T, A], made without the row's own reward

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = support(policy, batch, self.minimum_effective_samples)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        correction = slight_correction(found.weights) if self.correction is None else self.correction
        weights = sub_gaussian(found.weights, correction)
        values, error = direct(policy, batch, self.model)
        return estimate(values + weights * error, batch, self.confidence, effective_samples(weights))
