"""Sub-Gaussian inverse propensity scoring: importance weights bent so that none can grow beyond a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.weights import effective_samples, slight_correction, sub_gaussian
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class SubGaussian:
    """`V = mean(v_t r_t)`, `v_t = w_t / (1 - lambda + lambda w_t)`: at most 1 / lambda, and smooth in the policy.

    Metelli, Russo & Restelli (2021). Their lambda is of the order 1 / sqrt(T E[w^2]), at which the bias is as large as
    the standard error; no interval shows a bias, so by itself lambda is the tenth of that (`slight_correction`).
    """

    name: ClassVar[str] = "sub_gaussian"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = ("correction", (0.0, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0))

    confidence: float = 0.95  # of the interval
    correction: float | None = None  # lambda; 0: ips; 1: the mean reward; None: 0.1 / sqrt(T mean(w^2))
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = support(policy, batch, self.minimum_effective_samples)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        correction = slight_correction(found.weights) if self.correction is None else self.correction
        weights = sub_gaussian(found.weights, correction)
        return estimate(weights * batch.reward, batch, self.confidence, effective_samples(weights))
