"""Self-normalised doubly robust estimation: the direct method, corrected by a weighted mean of its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bondhu.equations.weights import self_normalised
from bondhu.evaluate.models import Model, cross_fitted, direct
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class SelfNormalisedDoublyRobust:
    """`V = mean_t [sum_a pi(a | x_t) q(x_t, a)] + c`, `c = sum(w_t e_t) / sum(w_t)`, `e_t = r_t - q(x_t, a_t)`.

    The correction stays inside the model's errors; bias of order 1/T. Its terms linearise the ratio as those of SNIPS
    do: `sum_a pi q + c + w_t (e_t - c) / mean(w)`. Thomas & Brunskill (2016); Kallus & Uehara (2019).
    """

    name: ClassVar[str] = "sndr"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    model: Model = cross_fitted  # predicted rewards [T, A], made without the row's own reward

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = support(policy, batch, self.minimum_effective_samples)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        values, error = direct(policy, batch, self.model)
        shares = self_normalised(found.weights)
        correction = float(np.mean(shares * error))
        terms = values + correction + shares * (error - correction)
        return estimate(terms, batch, self.confidence, found.effective_samples)
