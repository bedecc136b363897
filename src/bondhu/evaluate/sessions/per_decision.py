"""Per-decision importance sampling: a reward counts by the decisions that led to it, not by those that followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.trajectories import session_sums
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
class PerDecision:
    """`V = mean_i(Σ_k γ^k ρ_ik r_ik)`, `ρ_ik = w_i0 … w_ik`. Unbiased, narrower than weighing whole sessions.

    Precup, Sutton & Singh (2000). Sessions that were cut count as ended; more than a few are refused.
    """

    name: ClassVar[str] = "per_decision"
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
        return estimate(
            session_sums(found.cumulative * batch.reward, found.where, self.discount), self.confidence, effective
        )
