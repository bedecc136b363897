"""Weighted per-decision importance sampling: at each step a weighted mean of the rewards of all sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.trajectories import normalised_terms
from bondhu.evaluate.support import refusal
from bondhu.evaluate.trajectories import (
    MINIMUM_EFFECTIVE_SESSIONS,
    estimate,
    rare,
    trajectories,
    unseen_ends,
    whole_sessions,
)
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class WeightedPerDecision:
    """`V = Σ_k γ^k Σ_i ρ_ik r_ik / Σ_i ρ_ik`: stays inside the rewards of each step; bias of order 1/N.

    A session that has ended keeps its last weight. Precup, Sutton & Singh (2000). Sessions that were cut count as
    ended; more than a few are refused.
    """

    name: ClassVar[str] = "weighted_per_decision"
    scope: ClassVar[str] = "session"
    adaptive: ClassVar[bool] = False

    discount: float = 1.0  # of a reward, for each decision that it comes later
    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SESSIONS  # sessions; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = trajectories(policy, batch, self.discount)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        effective, refused = whole_sessions(found, batch.reward, self.discount, self.minimum_effective_samples)
        refused = refused or unseen_ends(found) or rare(found, batch, self.discount, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        terms = normalised_terms(batch.reward, found.cumulative, found.where, self.discount)
        return estimate(terms, self.confidence, effective)
