"""Rewards what one's own doing leads to unexpectedly: the intrinsic curiosity module (Pathak et al. 2017; 1705.05363).

Features φ of observations are learned so that φ(s), φ(s') tell which action was taken (inverse model): what no action
can influence leaves no trace in them. A forward model predicts φ(s') from φ(s) and the action; its squared error is the
intrinsic reward, in running deviations of its discounted return, which keeps its weight the same between environments.
The features learn from the inverse model alone, the forward model takes them as they are: otherwise they would become
constant, which is easily predicted. A row that truly ends is not learned from and earns nothing. Actions are counted.
Metrics beside the inner learner's: `intrinsic_reward` paid on average, `forward_loss`, `inverse_loss`, `reward_signal`
what the environment paid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import categorical, losses
from bondhu.learners import _columns, _memory, _networks, _novelty, _optimiser
from bondhu.learners._columns import Actions
from bondhu.learners._networks import Layer, Network
from bondhu.learners._novelty import Embedding, embedded, embedding
from bondhu.learners._optimiser import Moments
from bondhu.learners._scales import Scale, unscaled
from bondhu.types import Array, Batch, Beliefs, Learner, Metrics, PerAction, Policy, Spec


class Forward(eqx.Module):
    """From φ(s) and an action to φ(s')."""

    seen: Layer  # [K, H]
    taken: Annotated[Array, PerAction(0)]  # [A, H] what each action adds
    head: Layer  # [H, K]


class Model(eqx.Module):
    """How the world answers."""

    features: Embedding  # φ
    inverse: Network  # φ(s), φ(s') to logits [A, 1]
    forward: Forward


class Curiosity(eqx.Module):
    """What makes an answer of the world new."""

    model: Model
    moments: Moments[Model]
    returns: Scale  # of discounted intrinsic returns, [] each


@dataclass(frozen=True)
class Wondering:
    """What was learned, and what is known already."""

    inner: Any  # state of the inner learner
    curiosity: Curiosity


@dataclass(frozen=True)
class Icm:
    """Reward r + weight·½‖φ̂(s') - φ(s')‖² / (running deviation of its return)."""

    inner: Learner[Any] = field(default_factory=_novelty.proximal)  # what learns
    weight: float = 0.1  # of the intrinsic reward
    discount: float = 0.99  # γ of the intrinsic returns that are measured and, where not episodic, go on
    episodic: bool = False  # whether novelty stops at a true end; if not, an end is paid what is expected to follow
    learning_rate: float = 1e-3  # of Adam, for both models
    epochs: int = 8  # passes over each batch: features that lag behind keep everything new
    minibatch: int = 256  # rows
    embedding: int = 32  # features
    hidden: tuple[int, ...] = (64,)  # width of each layer of the features' network; the last also of both models
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
        actions = _columns.counted(spec.action, "motivation.icm")
        shape = _memory.shape_without(_columns.seen_by(spec), _memory.remembered_by(self.inner))
        inner, width, wide = self.inner.init(spec, rng), self.embedding, self.hidden[-1:] or (self.embedding,)
        model = Model(
            embedding(rng, shape, self.hidden, width),
            _networks.network(rng, (2 * width,), wide, (actions, 1), gain=0.01),
            _forward_model(rng, width, wide[0], actions),
        )
        return Wondering(inner, Curiosity(model, _optimiser.begun(model), unscaled(())))

    def update(self, state: Wondering, batch: Batch, rng: np.random.Generator) -> tuple[Wondering, Metrics]:
        if not len(batch):
            return state, {}
        known = state.curiosity
        actions = Actions((len(known.model.forward.taken),), 0)
        _columns.check(batch, actions, batch.observation.shape[1:])
        columns = _columns.columns(batch, discount=1.0)
        shown = _memory.without(batch, _memory.remembered_by(self.inner))
        seen = {name: getattr(shown, name) for name in ("observation", "next_observation")}
        columns |= {name: each if each.dtype == np.uint8 else each.astype(np.float32) for name, each in seen.items()}
        rows, order = _novelty.arranged(columns, self.minibatch, self.epochs, rng)
        rate = np.float32(self.learning_rate)
        error, model, moments, losses_ = _phase(self.activation, rate, known.model, known.moments, rows, order)
        novelty = np.asarray(error, np.float64)[: len(batch)]
        extra, returns = _novelty.scaled(known.returns, novelty, batch, self.discount)
        if not self.episodic:
            extra = _novelty.beyond_ends(extra, batch, self.discount)
        rewarded, told = _novelty.paid(batch, self.weight * extra, _columns.reported(losses_))
        inner, metrics = self.inner.update(state.inner, rewarded, rng)
        return Wondering(inner, Curiosity(model, moments, returns)), {**metrics, **told}

    def policy(self, state: Wondering, *, explore: bool = False) -> Policy:
        return self.inner.policy(state.inner, explore=explore)

    def beliefs(self, state: Wondering) -> Beliefs:
        return self.inner.beliefs(state.inner)


def _forward_model(rng: np.random.Generator, width: int, hidden: int, actions: int) -> Forward:
    weight = _networks.orthogonal(rng, (width + actions, hidden), math.sqrt(2.0))
    head = Layer(_networks.orthogonal(rng, (hidden, width), 1.0), np.zeros(width, np.float32))
    return Forward(Layer(weight[:width], np.zeros(hidden, np.float32)), weight[width:], head)


def predicted(model: Model, rows: Any, activation: str) -> tuple[Any, Any]:
    """log p(a | φ(s), φ(s')) of the action taken, and ½‖φ̂(s') - φ(s')‖²: `[T]` each."""
    before, after = (embedded(model.features, rows[each], activation) for each in ("observation", "next_observation"))
    logits = _networks.outputs(model.inverse, jnp.concatenate([before, after], axis=1), activation)[:, :, 0]
    log = categorical.log_probability(categorical.log_softmax(logits, rows["allowed"]), rows["action"])
    fixed, wanted = jax.lax.stop_gradient((before, after))
    forward, bend = model.forward, _networks.ACTIVATIONS[activation][0]
    hidden = bend(fixed @ forward.seen.weight + forward.taken[rows["action"]] + forward.seen.bias)
    guess = hidden @ forward.head.weight + forward.head.bias
    return log, 0.5 * jnp.sum((guess - wanted) ** 2, axis=1)


def loss(model: Model, rows: Any, activation: str) -> tuple[Any, dict[str, Any]]:
    """-log p + forward error, over the rows after which something was seen."""
    log, error = predicted(model, rows, activation)
    weight = rows["weight"] * (rows["continuing"] > 0)
    inverse, forward = losses.mean(-log, weight), losses.mean(error, weight)
    return inverse + forward, {"inverse_loss": inverse, "forward_loss": forward}


@partial(jax.jit, static_argnums=0)
def _phase(
    activation: str, rate: Any, model: Model, moments: Moments[Model], rows: Any, order: Any
) -> tuple[Any, Model, Moments[Model], dict[str, Any]]:
    """The forward model's errors, and then the training of all: one call."""

    def step(carry: tuple[Model, Moments[Model]], index: Any) -> tuple[Any, Any]:
        part = {name: column[index] for name, column in rows.items()}
        (_, told), gradients = jax.value_and_grad(loss, has_aux=True)(carry[0], part, activation)
        return _optimiser.adam(carry[0], gradients, carry[1], rate), told

    error = predicted(model, rows, activation)[1] * (rows["continuing"] > 0)
    (model, moments), told = jax.lax.scan(step, (model, moments), order)
    return error, model, moments, {name: jnp.mean(each) for name, each in told.items()}
