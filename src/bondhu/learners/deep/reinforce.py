"""REINFORCE with a baseline (Williams 1992; Sutton & Barto 2018, section 13.4): what followed an action, to the end of
its session, less what the critic expected there.

Every update expects whole sessions, played by the policy of this very state, and takes one gradient step on all of
them. A session that was cut (a time limit, or the end of what was played) counts with the critic's value of what would
have followed. To leave it out would keep the short sessions and drop the long ones, which is to learn from a choice of
outcomes. As is usual, rows are not weighted by γ^t. Metrics: `_policy_gradients`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import losses
from bondhu.equations.advantages import lambda_returns
from bondhu.learners import _actors, _optimiser, _policy_gradients
from bondhu.learners._actors import ActorCritic
from bondhu.learners._optimiser import Moments
from bondhu.learners._policy_gradients import Learned
from bondhu.types import Batch, Beliefs, Metrics, Policy, Spec


@dataclass(frozen=True)
class Reinforce:
    """G_t = r_t + γ·G_{t+1}, and γ·V(x') beyond a cut; A_t = G_t - V(x_t); V(x) follows G."""

    learning_rate: float = 5e-3  # of Adam
    anneal_steps: int = 0  # environment steps over which the learning rate falls to 0; 0: it stays
    discount: float = 0.99  # γ
    entropy_bonus: float = 0.0
    value_weight: float = 0.5
    gradient_limit: float = 0.5  # on the norm of all gradients together
    normalise_advantages: bool = True  # to mean 0 and deviation 1 in each batch
    normalise_observations: bool = False  # by what was seen so far
    hidden: tuple[int, ...] = (64, 64)  # width of each layer, of the actor and of the critic
    activation: str = "tanh"  # or "relu", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Learned]] = Learned
    probes: ClassVar[tuple[str, ...]] = ("planes", "one_hot_trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount")
        require(self, 0.0, math.inf, "entropy_bonus", "value_weight", "anneal_steps")
        require(self, 1e-6, math.inf, "gradient_limit")

    def estimated(self, rows: dict[str, Any]) -> tuple[Any, Any]:
        """Advantages and targets of the values, `[T]` each."""
        earned = lambda_returns(rows["reward"], rows["continuing"], rows["linked"], rows["next_value"], 1.0)
        advantage = earned - rows["value"]
        if self.normalise_advantages:
            advantage = losses.standardised(advantage, rows["weight"])
        return advantage, earned

    def moved(
        self, parameters: ActorCritic, gradients: ActorCritic, moments: Moments[ActorCritic], rate: Any
    ) -> tuple[ActorCritic, Moments[ActorCritic]]:
        """One step of Adam."""
        return _optimiser.adam(parameters, gradients, moments, rate)

    def init(self, spec: Spec, rng: np.random.Generator) -> Learned:
        return _policy_gradients.begun(self, spec, rng)

    def update(self, state: Learned, batch: Batch, rng: np.random.Generator) -> tuple[Learned, Metrics]:  # noqa: ARG002  nothing is drawn
        if not len(batch):
            return state, {}
        return _policy_gradients.learned(self, state, batch, _policy_gradients.at_once)

    def policy(self, state: Learned, *, explore: bool = False) -> Policy:
        return _actors.policy_of(state.parameters, state.known, self.activation, explore=explore)

    def beliefs(self, state: Learned) -> Beliefs:
        return _actors.beliefs_of(state.parameters, state.known, self.activation)
