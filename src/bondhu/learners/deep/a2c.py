"""Advantage actor-critic, synchronous (Mnih et al. 2016): one gradient step on what the present policy just did.

It is proximal policy optimisation with one pass, one minibatch, λ = 1 and RMSProp in Adam's place (Huang et al. 2022,
"A2C is a special case of PPO"; arXiv 2205.09123). Every update expects a few steps of several environments, played by
the policy of this very state; values are bootstrapped at cuts and not at ends. Metrics: `_policy_gradients`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import losses
from bondhu.equations.advantages import generalized_advantages
from bondhu.learners import _actors, _optimiser, _policy_gradients
from bondhu.learners._actors import ActorCritic
from bondhu.learners._optimiser import Moments
from bondhu.learners._policy_gradients import Learned
from bondhu.types import Batch, Beliefs, Metrics, Policy, Spec


@dataclass(frozen=True)
class A2C:
    """A_t = Σ_k (γλ)^k·δ_{t+k} to the end of what was played, δ = r + γ·V(x') - V(x); V(x) follows A + V(x)."""

    learning_rate: float = 2e-3  # of RMSProp
    anneal_steps: int = 0  # environment steps over which the learning rate falls to 0; 0: it stays
    discount: float = 0.99  # γ
    trace_decay: float = 1.0  # λ of the advantages: 0 one step, 1 all steps that were played
    entropy_bonus: float = 0.0
    value_weight: float = 0.5
    gradient_limit: float = 0.5  # on the norm of all gradients together
    normalise_advantages: bool = False  # to mean 0 and deviation 1 in each batch
    normalise_observations: bool = False  # by what was seen so far
    hidden: tuple[int, ...] = (64, 64)  # width of each layer, of the actor and of the critic
    activation: str = "tanh"  # or "relu", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Learned]] = Learned
    probes: ClassVar[tuple[str, ...]] = ("planes", "one_hot_trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "trace_decay")
        require(self, 0.0, math.inf, "entropy_bonus", "value_weight", "anneal_steps")
        require(self, 1e-6, math.inf, "gradient_limit")

    def estimated(self, rows: dict[str, Any]) -> tuple[Any, Any]:
        """Advantages and targets of the values, `[T]` each."""
        advantage = generalized_advantages(
            rows["reward"], rows["continuing"], rows["linked"], rows["value"], rows["next_value"], self.trace_decay
        )
        target = advantage + rows["value"]
        if self.normalise_advantages:
            advantage = losses.standardised(advantage, rows["weight"])
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
        return _policy_gradients.learned(self, state, batch, _policy_gradients.at_once)

    def policy(self, state: Learned, *, explore: bool = False) -> Policy:
        return _actors.policy_of(state.parameters, state.known, self.activation, explore=explore)

    def beliefs(self, state: Learned) -> Beliefs:
        return _actors.beliefs_of(state.parameters, state.known, self.activation)
