"""Importance sampling of whole sessions: a session's return counts for as often as the policy would have gone so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.trajectories import session_sums
from bondhu.evaluate.support import refusal
from bondhu.evaluate.trajectories import (
    MINIMUM_EFFECTIVE_SESSIONS,
    estimate,
    of_sessions,
    rare,
    trajectories,
    unseen_ends,
)
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class TrajectoryImportance:
    """`V = mean_i(ρ_i Σ_k γ^k r_ik)`, ρ_i the product of all weights of session i. Unbiased, very wide.

    Precup, Sutton & Singh (2000). Sessions that were cut count as ended; more than a few are refused.
    """

    name: ClassVar[str] = "trajectory_is"
    scope: ClassVar[str] = "session"
    adaptive: ClassVar[bool] = False

    discount: float = 1.0  # of a reward, for each decision that it comes later
    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SESSIONS  # sessions; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = trajectories(policy, batch, self.discount)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        weight = found.cumulative[found.where.last]
        effective, refused = of_sessions(found, weight, self.minimum_effective_samples)
        refused = refused or unseen_ends(found) or rare(found, batch, self.discount, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        return estimate(weight * session_sums(batch.reward, found.where, self.discount), self.confidence, effective)
