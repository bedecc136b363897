"""Stationary distribution correction: how often the policy would come to each state and action, for once in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bondhu.equations.trajectories import session_sums
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
class DualDice:
    """`V = mean_i Σ_t ω(x_t, a_t) r_t`, where ω makes the log's moves balance: what flows into a state flows out of it.

    `Σ_t ω_t [q(x_t, a_t) - γ Σ_b π(b | x'_t) q(x'_t, b)] = Σ_i Σ_a π(a | x_i0) q(x_i0, a)` for every q of the class,
    solved in closed form: Nachum et al. (2019), DualDICE; Uehara, Huang & Jiang (2020), minimax weights. No logged
    probability enters the value. In a table it equals `fqe`, whose dual it is; with features it is wrong in other
    places.
    """

    name: ClassVar[str] = "dual_dice"
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
        value = session_sums(model.ratio * batch.reward, found.where, 1.0).mean()
        spread = balanced_terms(model, batch.reward, found.where, self.discount)
        return estimate(spread - spread.mean() + value, self.confidence, effective)
