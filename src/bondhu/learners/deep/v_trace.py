"""The actor-critic of IMPALA (Espeholt et al. 2018; arXiv 1802.01561): it learns from what older policies did, since
every row counts by how much likelier the present policy makes its action.

What comes may be stale by some updates, or be looked at several times (`passes`): the probability that was logged says
how far the policy has moved since, and V-trace corrects for it. Ratios are cut off at `ratio_limit`, so the values
are those of a policy between the one that acted and the present one. Metrics: `_policy_gradients`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations.advantages import v_trace
from bondhu.learners import _actors, _optimiser, _policy_gradients
from bondhu.learners._actors import ActorCritic
from bondhu.learners._optimiser import Moments
from bondhu.learners._policy_gradients import Learned
from bondhu.types import Batch, Beliefs, Metrics, Policy, Spec


@dataclass(frozen=True)
class VTrace:
    """v_t = V(x_t) + Σ_k γ^k·(c_t … c_{t+k-1})·ρ_{t+k}·δ_{t+k}; A_t = ρ_t·(r_t + γ·v_{t+1} - V(x_t)); V follows v."""

    learning_rate: float = 2e-3  # of RMSProp
    anneal_steps: int = 0  # environment steps over which the learning rate falls to 0; 0: it stays
    discount: float = 0.99  # γ
    trace_decay: float = 0.95  # λ of the traces c = λ·ρ: 0 one step, 1 all steps that were played
    ratio_limit: float = 1.0  # ρ = min(this, π/μ), μ the policy that acted
    passes: int = 2  # gradient steps on each batch
    entropy_bonus: float = 0.0
    value_weight: float = 0.5
    gradient_limit: float = 0.5  # on the norm of all gradients together
    normalise_observations: bool = False  # by what was seen so far
    hidden: tuple[int, ...] = (64, 64)  # width of each layer, of the actor and of the critic
    activation: str = "tanh"  # or "relu", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Learned]] = Learned
    probes: ClassVar[tuple[str, ...]] = ("planes", "one_hot_trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "trace_decay")
        require(self, 0.0, math.inf, "ratio_limit", "entropy_bonus", "value_weight", "anneal_steps")
        require(self, 1e-6, math.inf, "gradient_limit")
        require(self, 1, math.inf, "passes")

    def estimated(self, rows: dict[str, Any]) -> tuple[Any, Any]:
        """Advantages and targets of the values, `[T]` each."""
        target, advantage = v_trace(
            rows["log_ratio"],
            rows["reward"],
            rows["continuing"],
            rows["linked"],
            rows["value"],
            rows["next_value"],
            self.ratio_limit,
            self.trace_decay,
        )
        return advantage, target

    def moved(
        self, parameters: ActorCritic, gradients: ActorCritic, moments: Moments[ActorCritic], rate: Any
    ) -> tuple[ActorCritic, Moments[ActorCritic]]:
        """One step of RMSProp."""
        return _optimiser.rmsprop(parameters, gradients, moments, rate)

    def init(self, spec: Spec, rng: np.random.Generator) -> Learned:
        return _policy_gradients.begun(self, spec, rng)

    def update(self, state: Learned, batch: Batch, rng: np.random.Generator) -> tuple[Learned, Metrics]:  # noqa: ARG002  nothing is drawn
        if not len(batch):
            return state, {}
        return _policy_gradients.learned(self, state, batch, partial(_policy_gradients.at_once, passes=self.passes))

    def policy(self, state: Learned, *, explore: bool = False) -> Policy:
        return _actors.policy_of(state.parameters, state.known, self.activation, explore=explore)

    def beliefs(self, state: Learned) -> Beliefs:
        return _actors.beliefs_of(state.parameters, state.known, self.activation)
