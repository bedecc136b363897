"""Rewards what a network cannot yet predict: random network distillation (Burda et al. 2018; arXiv 1810.12894).

A network with random weights that never change embeds the next observation; a second one is trained to say the same.
Its squared error is large where little was seen. Observations are put in running deviations from their mean and clipped
at ±5, the error in running deviations of its discounted return: both as published. There the intrinsic return has a
critic of its own; here the inner learner sees one stream (`learners._novelty` says what that means, and what an end is
paid where `episodic` is off). Metrics beside the inner learner's: `intrinsic_reward` paid on average, `predictor_loss`,
`reward_signal` what the environment paid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import losses
from bondhu.learners import _columns, _memory, _networks, _novelty, _optimiser
from bondhu.learners._novelty import Embedding, embedded, embedding
from bondhu.learners._optimiser import Moments
from bondhu.learners._scales import Scale, including, scaling, unscaled
from bondhu.learners._table import check_size
from bondhu.types import Array, Batch, Beliefs, Floats, Learner, Metrics, Policy, Spec

FARTHEST = 5.0  # deviations at which an observation is clipped


class Curiosity(eqx.Module):
    """What makes an observation new."""

    target: Embedding  # random, and stays so
    predictor: Embedding
    moments: Moments[Embedding]
    seen: Scale  # of next observations
    returns: Scale  # of discounted intrinsic returns, [] each


@dataclass(frozen=True)
class Wondering:
    """What was learned, and what is known already."""

    inner: Any  # state of the inner learner
    curiosity: Curiosity


@dataclass(frozen=True)
class Rnd:
    """Reward r + weight·‖f(s') - f_random(s')‖² / (running deviation of its return)."""

    inner: Learner[Any] = field(default_factory=_novelty.proximal)  # what learns
    weight: float = 0.1  # of the intrinsic reward
    discount: float = 0.99  # γ of the intrinsic returns that are measured and, where not episodic, go on
    episodic: bool = False  # whether novelty stops at a true end; if not, an end is paid what is expected to follow
    learning_rate: float = 1e-4  # of Adam, for the predictor
    epochs: int = 1  # passes over each batch
    minibatch: int = 256  # rows
    embedding: int = 32  # numbers that are predicted
    hidden: tuple[int, ...] = (64, 64)  # width of each layer of both networks
    activation: str = "relu"  # or "tanh", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Wondering]] = Wondering
    probes: ClassVar[tuple[str, ...]] = ("one_hot_trap",)

    def __post_init__(self) -> None:
        require(self, 0.0, math.inf, "weight")
        require(self, 0.0, 1.0, "learning_rate")
        require(self, 0.0, 0.9999, "discount")
        require(self, 1, math.inf, "epochs", "minibatch", "embedding")

    def init(self, spec: Spec, rng: np.random.Generator) -> Wondering:
        _networks.known_activation(self.activation)
        shape = _memory.shape_without(_columns.seen_by(spec), _memory.remembered_by(self.inner))
        inner = self.inner.init(spec, rng)
        target, predictor = (embedding(rng, shape, self.hidden, self.embedding) for _ in range(2))
        moments = _optimiser.begun(predictor)
        return Wondering(inner, Curiosity(target, predictor, moments, unscaled(shape), unscaled(())))

    def update(self, state: Wondering, batch: Batch, rng: np.random.Generator) -> tuple[Wondering, Metrics]:
        if not len(batch):
            return state, {}
        novelty, curiosity, loss = self._wondered(
            state.curiosity, _memory.without(batch, _memory.remembered_by(self.inner)), rng
        )
        extra, returns = _novelty.scaled(curiosity.returns, novelty, batch, self.discount)
        if not self.episodic:
            extra = _novelty.beyond_ends(extra, batch, self.discount)
        rewarded, told = _novelty.paid(batch, self.weight * extra, loss)
        inner, metrics = self.inner.update(state.inner, rewarded, rng)
        return Wondering(inner, replace(curiosity, returns=returns)), {**metrics, **told}

    def _wondered(self, known: Curiosity, batch: Batch, rng: np.random.Generator) -> tuple[Floats, Curiosity, Metrics]:
        """How new each row's next observation was, `[T]`, and the predictor that has seen them now."""
        going, novelty = _novelty.goes_on(batch), np.zeros(len(batch))
        if not going.any():
            return novelty, known, {"predictor_loss": 0.0}
        following = batch.next_observation[going].astype(np.float32)
        check_size("next_observation", following)
        seen = including(known.seen, following)
        rows, order = _novelty.arranged({"seen": looked_at(following, seen)}, self.minibatch, self.epochs, rng)
        rate = np.float32(self.learning_rate)
        error, predictor, moments, loss = _phase(
            self.activation, rate, known.target, known.predictor, known.moments, rows, order
        )
        novelty[going] = np.asarray(error)[: len(following)]
        learned = replace(known, predictor=predictor, moments=moments, seen=seen)
        return novelty, learned, {"predictor_loss": float(loss)}

    def policy(self, state: Wondering, *, explore: bool = False) -> Policy:
        return self.inner.policy(state.inner, explore=explore)

    def beliefs(self, state: Wondering) -> Beliefs:
        return self.inner.beliefs(state.inner)


def looked_at(seen: Array, scale: Scale) -> Floats:
    """Observations in deviations from their mean, clipped."""
    near: Floats = np.clip(scaling(scale)(seen), -FARTHEST, FARTHEST)
    return near


@partial(jax.jit, static_argnums=0)
def _phase(  # noqa: PLR0913, PLR0917  two networks and what their training needs
    activation: str,
    rate: Any,
    target: Embedding,
    predictor: Embedding,
    moments: Moments[Embedding],
    rows: Any,
    order: Any,
) -> tuple[Any, Embedding, Moments[Embedding], Any]:
    """The predictor's errors, and then its training: one call."""
    truth = embedded(target, rows["seen"], activation)

    def wrong(predictor: Embedding, seen: Any, truth: Any) -> Any:
        return jnp.mean((embedded(predictor, seen, activation) - truth) ** 2, axis=1)

    def step(carry: tuple[Embedding, Moments[Embedding]], index: Any) -> tuple[Any, Any]:
        def loss(predictor: Embedding) -> Any:
            return losses.mean(wrong(predictor, rows["seen"][index], truth[index]), rows["weight"][index])

        predictor, moments = carry
        value, gradients = jax.value_and_grad(loss)(predictor)
        return _optimiser.adam(predictor, gradients, moments, rate), value

    error = wrong(predictor, rows["seen"], truth)
    (predictor, moments), told = jax.lax.scan(step, (predictor, moments), order)
    return error, predictor, moments, jnp.mean(told)
