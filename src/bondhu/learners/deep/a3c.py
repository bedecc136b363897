"""Asynchronous advantage actor-critic (Mnih et al. 2016; arXiv 1602.01783): workers play and compute gradients with the
newest parameters they have, and whoever owns the parameters applies each gradient as it arrives.

`train.asynchronous` runs the workers. `update` is one worker that waits for nobody: its gradient is applied at once, to
the parameters it was computed with. Metrics: `_policy_gradients`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations.advantages import generalized_advantages
from bondhu.learners import _actors, _optimiser, _policy_gradients
from bondhu.learners._actors import ActorCritic
from bondhu.learners._columns import Actions
from bondhu.learners._optimiser import Moments
from bondhu.learners._policy_gradients import Learned
from bondhu.types import Batch, Beliefs, Metrics, Policy, Spec


@dataclass(frozen=True)
class A3C:
    """A_t = Σ_k (γλ)^k·δ_{t+k} to the end of a worker's rollout, δ = r + γ·V(x') - V(x); V(x) follows A + V(x)."""

    learning_rate: float = 2e-3  # of RMSProp, whose moments all workers share
    anneal_steps: int = 0  # environment steps over which the learning rate falls to 0; 0: it stays
    rollout: int = 16  # steps that a worker plays in each of its environments for one gradient
    discount: float = 0.99  # γ
    trace_decay: float = 1.0  # λ of the advantages: 0 one step, 1 the whole rollout
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
        require(self, 0.0, math.inf, "entropy_bonus", "value_weight", "anneal_steps")
        require(self, 1e-6, math.inf, "gradient_limit")
        require(self, 1, math.inf, "rollout")

    def estimated(self, rows: dict[str, Any]) -> tuple[Any, Any]:
        """Advantages and targets of the values, `[T]` each."""
        advantage = generalized_advantages(
            rows["reward"], rows["continuing"], rows["linked"], rows["value"], rows["next_value"], self.trace_decay
        )
        return advantage, advantage + rows["value"]

    def moved(
        self, parameters: ActorCritic, gradients: ActorCritic, moments: Moments[ActorCritic], rate: Any
    ) -> tuple[ActorCritic, Moments[ActorCritic]]:
        """One step of RMSProp."""
        return _optimiser.rmsprop(parameters, gradients, moments, rate)

    def init(self, spec: Spec, rng: np.random.Generator) -> Learned:
        return _policy_gradients.begun(self, spec, rng)

    def gradients(self, state: Learned, batch: Batch) -> tuple[ActorCritic, Metrics]:
        """What a worker sends: the gradient of its rollout at the parameters it played with, as NumPy arrays."""
        known, rows = _policy_gradients.read(self, state.known, batch)
        found, told = _slope(self, _actors.actions_known(known), state.parameters, rows)
        return jax.device_get(found), _policy_gradients.reported(told, rows, batch)

    def applied(
        self, state: Learned, gradients: ActorCritic, metrics: Metrics, batch: Batch
    ) -> tuple[Learned, Metrics]:
        """What the owner does with it, whatever has changed meanwhile."""
        known = _actors.experienced(state.known, batch, normalise=self.normalise_observations)
        known = replace(known, noise=np.asarray(metrics["value_loss"]))
        before = np.float32(state.known.rows)
        parameters, moments, rate = _follow(self, state.parameters, state.moments, gradients, before)
        return Learned(parameters, moments, known), {**metrics, "learning_rate": float(rate)}

    def update(self, state: Learned, batch: Batch, rng: np.random.Generator) -> tuple[Learned, Metrics]:  # noqa: ARG002  nothing is drawn
        if not len(batch):
            return state, {}
        return self.applied(state, *self.gradients(state, batch), batch)

    def policy(self, state: Learned, *, explore: bool = False) -> Policy:
        return _actors.policy_of(state.parameters, state.known, self.activation, explore=explore)

    def beliefs(self, state: Learned) -> Beliefs:
        return _actors.beliefs_of(state.parameters, state.known, self.activation)


@partial(jax.jit, static_argnums=(0, 1))
def _slope(a3c: A3C, actions: Actions, parameters: ActorCritic, rows: Any) -> tuple[ActorCritic, dict[str, Any]]:
    return _policy_gradients.slope(a3c, actions, parameters, rows)


@partial(jax.jit, static_argnums=0)
def _follow(
    a3c: A3C, parameters: ActorCritic, moments: Moments[ActorCritic], gradients: ActorCritic, before: Any
) -> tuple[ActorCritic, Moments[ActorCritic], Any]:
    return _policy_gradients.follow(a3c, parameters, moments, gradients, before)
