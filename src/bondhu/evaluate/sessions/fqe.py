"""Fitted Q evaluation: learn what sessions return under the policy, and ask what they return from their beginnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.evaluate.action_values import fitted
from bondhu.evaluate.fitted import balanced_terms
from bondhu.evaluate.support import refusal
from bondhu.evaluate.trajectories import (
    MINIMUM_EFFECTIVE_SESSIONS,
    estimate,
    model_effective,
    modelled,
    rare,
    trajectories,
)
from bondhu.types import Batch, Estimate, Policy


@dataclass(frozen=True)
class FittedQEvaluation:
    """`V = mean_i Σ_a π(a | x_i0) q(x_i0, a)`, where q solves `q(x, a) = E[r + γ Σ_b π(b | x') q(x', b)]` in the log.

    Le, Voloshin & Yue (2019), at its fixed point: a table where codes are few, else a ridge regression, whose shrinkage
    the terms undo. No weights multiply, so long sessions do not matter; but x must hold all that the future depends on,
    and no interval shows where it does not. The interval is that of `v(x_i0) + Σ_t ω_t δ_t`, ω the visits of the policy
    for each of the log (Kallus & Uehara 2022).
    """

    name: ClassVar[str] = "fqe"
    scope: ClassVar[str] = "session"
    adaptive: ClassVar[bool] = False

    discount: float = 1.0  # of a reward, for each decision that it comes later
    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SESSIONS  # sessions; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = trajectories(policy, batch, self.discount)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        model = fitted(policy, batch, self.discount)
        refused = modelled(found, model.missing, model.visits)
        if refused:
            return refusal(refused, float("nan"))
        effective, few = model_effective(found, model.ratio, self.minimum_effective_samples)
        refused = few or rare(found, batch, self.discount, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        return estimate(balanced_terms(model, batch.reward, found.where, self.discount), self.confidence, effective)
