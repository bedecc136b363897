"""Doubly robust estimation of sessions: a model's return, corrected step by step by the weighted errors it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.trajectories import session_sums, temporal_errors
from bondhu.evaluate.action_values import Model, cross_fitted
from bondhu.evaluate.support import refusal
from bondhu.evaluate.trajectories import (
    MINIMUM_EFFECTIVE_SESSIONS,
    estimate,
    trajectories,
    unseen_ends,
    whole_sessions,
)
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class SessionDoublyRobust:
    """`V = mean_i[v(x_i0) + Σ_k γ^k ρ_ik (r_ik + γ v(x_i,k+1) - q(x_ik, a_ik))]`.

    Unbiased with any q that has not seen session i, and narrower than per-decision weights where q is good. Jiang & Li
    (2016), whose recursion `V_k = v + w_k (r_k + γ V_{k+1} - q)` this sums up. Where a session was cut, v stands for
    the rest of it; the interval does not know how wrong v is there, so that more than a few are refused.
    """

    name: ClassVar[str] = "session_dr"
    scope: ClassVar[str] = "session"
    adaptive: ClassVar[bool] = False

    discount: float = 1.0  # of a reward, for each decision that it comes later
    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SESSIONS  # sessions; refuses below
    model: Model = cross_fitted  # of the returns, made without the row's own session

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = trajectories(policy, batch, self.discount)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        said = self.model(policy, batch, self.discount)
        errors = temporal_errors(batch.reward, said.following, said.chosen, self.discount)
        effective, refused = whole_sessions(found, errors, self.discount, self.minimum_effective_samples)
        refused = refused or unseen_ends(found)
        if refused:
            return refusal(refused, effective)
        corrections = session_sums(found.cumulative * errors, found.where, self.discount)
        return estimate(said.value[found.where.first] + corrections, self.confidence, effective)
