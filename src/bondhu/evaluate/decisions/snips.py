"""Self-normalised inverse propensity scoring: a weighted mean of the logged rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.weights import self_normalised
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class SelfNormalised:
    """`V = sum(w_t r_t) / sum(w_t)`: stays inside the rewards and moves with them; bias of order 1/T.

    Its terms are `V + w_t (r_t - V) / mean(w)`, the linearisation that gives its interval. Swaminathan & Joachims
    (2015); Owen, Monte Carlo theory, methods and examples (2013), chapter 9.
    """

    name: ClassVar[str] = "snips"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        weights, effective, refused = support(policy, batch, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        shares = self_normalised(weights)
        value = float((shares * batch.reward).mean())
        return estimate(value + shares * (batch.reward - value), batch, self.confidence, effective)
