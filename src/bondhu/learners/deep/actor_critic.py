"""One-step actor-critic, the actor and the critic apart (Sutton & Barto 2018, section 13.5):

    θ ← θ + α·∇θ log π(a|s)·[r + γV(s') - V(s)]

Every row stands alone, so a log is learned from in any order, in minibatches and several times. Rows that another
policy logged count by how much likelier the present one makes them, up to `ratio_limit` times (off-policy actor-critic,
Degris, White & Sutton 2012; arXiv 1205.4839). Metrics: `_policy_gradients`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.learners import _actors, _columns, _optimiser, _policy_gradients
from bondhu.learners._optimiser import Moments
from bondhu.learners._policy_gradients import Learned
from bondhu.types import Batch, Beliefs, Integers, Metrics, Policy, Spec


@dataclass(frozen=True)
class ActorCritic:
    """δ = r + γ·V(s') - V(s); ρ = min(ratio_limit, π(a|s) / μ(a|s)), μ as logged; A = ρ·δ; V(s) follows V(s) + ρ·δ."""

    learning_rate: float = 1e-3  # of Adam
    anneal_steps: int = 0  # rows over which the learning rate falls to 0; 0: it stays
    discount: float = 0.95  # γ
    ratio_limit: float = 2.0  # how often a row may count that the present policy makes likelier than it was
    passes: int = 10  # over each batch
    minibatch: int = 64  # rows of a gradient step
    entropy_bonus: float = 0.1  # without it one action for everybody wins before the context is heeded
    value_weight: float = 0.5
    gradient_limit: float = 0.5  # on the norm of all gradients together
    normalise_observations: bool = False  # by what was seen so far
    hidden: tuple[int, ...] = (128, 64)  # width of each layer, of the actor and of the critic
    activation: str = "relu"  # or "tanh", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Learned]] = Learned
    probes: ClassVar[tuple[str, ...]] = ("planes", "one_hot_trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount")
        require(self, 0.0, math.inf, "ratio_limit", "entropy_bonus", "value_weight", "anneal_steps")
        require(self, 1e-6, math.inf, "gradient_limit")
        require(self, 1, math.inf, "passes", "minibatch")

    def estimated(self, rows: dict[str, Any]) -> tuple[Any, Any]:
        """Advantages and targets of the values, `[T]` each."""
        ratio = jnp.minimum(jnp.exp(jnp.minimum(rows["log_ratio"], 20.0)), self.ratio_limit)
        error = ratio * (rows["reward"] + rows["continuing"] * rows["next_value"] - rows["value"])
        return error, rows["value"] + error

    def moved(
        self, parameters: _actors.ActorCritic, gradients: _actors.ActorCritic, moments: Moments[Any], rate: Any
    ) -> tuple[_actors.ActorCritic, Moments[Any]]:
        """One step of Adam."""
        return _optimiser.adam(parameters, gradients, moments, rate)

    def init(self, spec: Spec, rng: np.random.Generator) -> Learned:
        return _policy_gradients.begun(self, spec, rng)

    def update(self, state: Learned, batch: Batch, rng: np.random.Generator) -> tuple[Learned, Metrics]:
        if not len(batch):
            return state, {}
        length = _columns.whole(len(batch), self.minibatch)
        return _policy_gradients.learned(self, state, batch, partial(self._order, rng=rng), length)

    def _order(self, length: int, rng: np.random.Generator) -> Integers:
        return _columns.shuffled(length, self.minibatch, self.passes, rng).reshape(-1, self.minibatch)

    def policy(self, state: Learned, *, explore: bool = False) -> Policy:
        return _actors.policy_of(state.parameters, state.known, self.activation, explore=explore)

    def beliefs(self, state: Learned) -> Beliefs:
        return _actors.beliefs_of(state.parameters, state.known, self.activation)
