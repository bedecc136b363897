"""Balanced weighting: logs of several policies read as the log of one that draws which of them acts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isclose
from typing import ClassVar

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class Balanced:
    """`V = mean(w_t r_t)`, `w_t = pi(a_t | x_t) / sum_k share_k mu_k(a_t | x_t)`.

    Unbiased, and never wider than weighting each row by the one policy that took it: what one logger hardly tries,
    another may try often. Without loggers it is IPS. Agarwal et al. (2017), "Effective evaluation using logged bandit
    feedback from multiple loggers".
    """

    name: ClassVar[str] = "balanced"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    loggers: tuple[Policy, ...] = ()  # the policies that acted; none: the logged probabilities count
    shares: tuple[float, ...] = ()  # of the rows that each of them logged

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.loggers):
            what = f"{len(self.shares)} shares were given for {len(self.loggers)} loggers."
            raise InvalidInput(what, field="shares", value=self.shares, fix="Give one for each logger.")
        if self.shares and not (min(self.shares) >= 0 and isclose(sum(self.shares), 1, abs_tol=1e-6)):
            what = f"The shares of the loggers are {self.shares}, which sum to {sum(self.shares):g}."
            raise InvalidInput(what, field="shares", value=self.shares, fix="Give parts of the rows that sum to 1.")

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        if self.loggers and len(batch):
            acted = [each.probability(batch.observation, batch.allowed, batch.action) for each in self.loggers]
            batch = replace(batch, probability=np.stack(acted, axis=1) @ np.array(self.shares))
        weights, effective, refused = support(policy, batch, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        return estimate(weights * batch.reward, batch, self.confidence, effective)
