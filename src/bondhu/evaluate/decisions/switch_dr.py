"""SWITCH: doubly robust where importance weights are small, the direct method alone where they are large."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar

from bondhu.equations.weights import effective_samples, switched
from bondhu.evaluate.models import Model, cross_fitted, direct
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class SwitchDoublyRobust:
    """`V = mean_t [sum_a pi(a | x_t) q(x_t, a) + w_t 1{w_t <= tau} (r_t - q(x_t, a_t))]`.

    Biased by the model's errors where weights are above tau. Wang, Agarwal & Dudik (2017). By itself tau is sqrt(T), at
    which the bias vanishes in the long run and no row outweighs all others (Ionides 2008).
    """

    name: ClassVar[str] = "switch_dr"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = ("threshold", (inf, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 0.0))

    confidence: float = 0.95  # of the interval
    threshold: float | None = None  # tau, the largest weight in use; inf: dr; 0: the model alone; None: sqrt(T)
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    model: Model = cross_fitted  # predicted rewards [T, A], made without the row's own reward

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = support(policy, batch, self.minimum_effective_samples)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        threshold = sqrt(len(batch)) if self.threshold is None else self.threshold
        weights = switched(found.weights, threshold)
        values, error = direct(policy, batch, self.model)
        return estimate(values + weights * error, batch, self.confidence, effective_samples(weights))
