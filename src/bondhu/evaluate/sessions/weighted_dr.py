"""Weighted doubly robust estimation of sessions: the weights of each step are made to average 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.trajectories import normalised_terms, temporal_errors
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
class WeightedDoublyRobust:
    """`V = mean_i v(x_i0) + Σ_k γ^k Σ_i ρ_ik (r_ik + γ v(x_i,k+1) - q(x_ik, a_ik)) / Σ_i ρ_ik`.

    Far narrower than with plain weights in long sessions; bias of order 1/N. Thomas & Brunskill (2016), their sum
    sorted by errors. Where a session was cut, v stands for the rest of it; more than a few are refused.
    """

    name: ClassVar[str] = "weighted_dr"
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
        corrections = normalised_terms(errors, found.cumulative, found.where, self.discount)
        return estimate(said.value[found.where.first] + corrections, self.confidence, effective)
