"""Marginalised importance sampling: weights of where the policy comes to, not of the ways there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.evaluate.fitted import balanced_terms
from bondhu.evaluate.state_values import weighed
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
class Marginalised:
    """`V = Σ_x d(x) Σ_t∈x w_t r_t / Σ_t∈x w_t`, with the visits `d = d_0 + γ P' d` of the policy, P of weighted moves.

    Nothing multiplies along a session, and no action is modelled; but x must hold all that the future depends on. Liu
    et al. (2018); by step Xie, Ma & Wang (2019); linear weights of states where there is no table (Uehara, Huang &
    Jiang 2020).
    """

    name: ClassVar[str] = "marginalised"
    scope: ClassVar[str] = "session"
    adaptive: ClassVar[bool] = False

    discount: float = 1.0  # of a reward, for each decision that it comes later
    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SESSIONS  # sessions; refuses below
    by_step: bool = False  # whether what follows a state may depend on how many decisions came before it

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = trajectories(policy, batch, self.discount)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        model = weighed(policy, batch, self.discount, found, self.by_step)
        refused = modelled(found, model.missing, model.visits)
        if refused:
            return refusal(refused, float("nan"))
        effective, few = model_effective(found, model.ratio, self.minimum_effective_samples)
        refused = few or rare(found, batch, self.discount, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        return estimate(balanced_terms(model, batch.reward, found.where, self.discount), self.confidence, effective)
