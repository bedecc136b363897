"""Inverse propensity scoring: each logged reward counts for as often as the policy would have earned it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from bondhu.equations.weights import clipped, effective_samples
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class InversePropensity:
    """`V = mean(w_t r_t)`, `w_t = pi(a_t | x_t) / mu(a_t | x_t)`. Unbiased, wide. Horvitz & Thompson (1952)."""

    name: ClassVar[str] = "ips"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = ("clip", (inf, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0))

    confidence: float = 0.95  # of the interval
    clip: float = inf  # largest weight; finite: narrower, and biased towards a reward of 0
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        weights, effective, refused = support(policy, batch, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        weights = clipped(weights, self.clip)
        return estimate(weights * batch.reward, batch, self.confidence, effective_samples(weights))
