"""More robust doubly robust estimation: the model is fitted so that little variance is left to the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.trajectories import session_sums, temporal_errors
from bondhu.evaluate.robust_values import steadied
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
class MoreRobust:
    """`session_dr` with a q that is right where its errors would weigh most. Farajtabar, Chow & Ghavamzadeh (2018).

    Worth its while where the features cannot express the returns, so that a model must be wrong somewhere. More than a
    few sessions that were cut are refused.
    """

    name: ClassVar[str] = "mrdr"
    scope: ClassVar[str] = "session"
    adaptive: ClassVar[bool] = False

    discount: float = 1.0  # of a reward, for each decision that it comes later
    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SESSIONS  # sessions; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = trajectories(policy, batch, self.discount)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        said = steadied(policy, batch, self.discount, found)
        errors = temporal_errors(batch.reward, said.following, said.chosen, self.discount)
        effective, refused = whole_sessions(found, errors, self.discount, self.minimum_effective_samples)
        refused = refused or unseen_ends(found)
        if refused:
            return refusal(refused, effective)
        corrections = session_sums(found.cumulative * errors, found.where, self.discount)
        return estimate(said.value[found.where.first] + corrections, self.confidence, effective)
