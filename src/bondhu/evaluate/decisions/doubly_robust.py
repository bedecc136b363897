"""Doubly robust estimation: the direct method, corrected by the weighted errors it makes on logged actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.evaluate.models import Model, cross_fitted, direct
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class DoublyRobust:
    """`V = mean_t [ sum_a pi(a | x_t) q(x_t, a) + w_t (r_t - q(x_t, a_t)) ]`.

    Unbiased with any q that has not seen row t, and narrower than IPS where q is good. Dudik et al. (2014).
    """

    name: ClassVar[str] = "dr"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    model: Model = cross_fitted  # predicted rewards [T, A], made without the row's own reward

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        weights, effective, refused = support(policy, batch, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        values, error = direct(policy, batch, self.model)
        return estimate(values + weights * error, batch, self.confidence, effective)
