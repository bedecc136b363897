"""Parallelised Q-learning (Gallici et al. 2024, "Simplifying deep temporal difference learning"; arXiv 2407.04811):
Q(λ) on what was just done, without a replay and without a target network. Layers whose sums are normalised take their
place: with them, learning from one's own values is stable.

Every update expects some thousand rows of the present policy from many environments side by side. λ-returns run along
each trajectory, bootstrap at cuts and not at ends, and look at allowed actions only.
Metrics: `loss`, `td_error` mean |δ|, `gradient_norm` before it is limited, `value_estimation` mean value of the actions
taken before the update, `explained_variance` of the returns by it, `reward_signal` mean reward, `exploration_rate` ε,
`confidence` mean probability of the actions taken, `learning_rate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import losses
from bondhu.equations.action_values import taken
from bondhu.equations.advantages import explained_variance, lambda_returns
from bondhu.learners import _action_values, _columns, _networks, _optimiser
from bondhu.learners._action_values import Known
from bondhu.learners._columns import Actions
from bondhu.learners._networks import Network
from bondhu.learners._optimiser import Moments
from bondhu.learners._scales import scaling
from bondhu.types import Array, Batch, Beliefs, Floats, Metrics, Policy, Spec


class Learned(eqx.Module):
    """What was learned."""

    parameters: Network
    moments: Moments[Network]
    known: Known


@dataclass(frozen=True)
class Pqn:
    """L = ½·(Q(x, a) - G^λ)², in minibatches, `epochs` times; G^λ from max_a' Q(x', a') before the update."""

    learning_rate: float = 1e-3  # of Adam
    anneal_steps: int = 0  # environment steps over which the learning rate falls to 0; 0: it stays
    discount: float = 0.99  # γ
    trace_decay: float = 0.95  # λ of the returns: 0 one step, 1 the whole trajectory
    epochs: int = 4  # passes over each batch
    minibatch: int = 128  # rows
    gradient_limit: float = 10.0  # on the norm of all gradients together
    normalise_layers: bool = True  # the sums of every layer, to mean 0 and variance 1
    normalise_observations: bool = False  # by what was seen so far
    hidden: tuple[int, ...] = (128, 128)  # width of each layer
    activation: str = "relu"  # or "tanh", "silu"
    first_epsilon: float = 1.0  # ε, the share of random actions
    last_epsilon: float = 0.05
    exploration_steps: int = 10_000  # environment steps in which ε falls, in a line

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Learned]] = Learned
    probes: ClassVar[tuple[str, ...]] = ("one_hot_cut", "one_hot_trap", "planes")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "trace_decay", "first_epsilon", "last_epsilon")
        require(self, 0.0, math.inf, "anneal_steps", "exploration_steps")
        require(self, 1e-6, math.inf, "gradient_limit")
        require(self, 1, math.inf, "epochs", "minibatch")

    def init(self, spec: Spec, rng: np.random.Generator) -> Learned:
        actions, seen = _columns.counted(spec.action, "deep.pqn"), _columns.seen_by(spec)
        _networks.known_activation(self.activation)
        parameters = _networks.network(rng, seen, self.hidden, (actions, 1), gain=0.1)
        return Learned(parameters, _optimiser.begun(parameters), _action_values.unknown(seen, actions))

    def update(self, state: Learned, batch: Batch, rng: np.random.Generator) -> tuple[Learned, Metrics]:
        if not len(batch):
            return state, {}
        seen = np.shape(state.known.scale.mean)
        _columns.check(
            batch, Actions((len(state.known.tries),), 0), seen if seen != (0,) else batch.observation.shape[1:]
        )
        known = _action_values.experienced(state.known, batch, normalise=self.normalise_observations)
        rows = self._rows(known, batch)
        order = _columns.shuffled(len(rows["weight"]), self.minibatch, self.epochs, rng)
        parameters, moments, metrics = _phase(
            self, state.parameters, state.moments, rows, order, np.float32(known.rows)
        )
        told = dict(_columns.reported(metrics))
        known = _action_values.erring(known, told.pop("squared_error"), len(batch))
        told |= {"exploration_rate": self._epsilon(known), "confidence": float(batch.probability.mean())}
        return Learned(parameters, moments, known), told

    def _rows(self, known: Known, batch: Batch) -> dict[str, Array]:
        look, columns = scaling(known.scale), _columns.columns(batch, self.discount)
        columns["observation"], columns["next_observation"] = look(batch.observation), look(batch.next_observation)
        return _columns.padded(columns, _columns.whole(len(batch), self.minibatch))

    def policy(self, state: Learned, *, explore: bool = False) -> Policy:
        return _action_values.acting(self._values(state), self._epsilon(state.known) if explore else 0.0)

    def beliefs(self, state: Learned) -> Beliefs:
        return _action_values.beliefs_of(self._values(state), state.known)

    def _epsilon(self, known: Known) -> float:
        steps = float(known.rows)
        return _action_values.share_of_chance(self.first_epsilon, self.last_epsilon, self.exploration_steps, steps)

    def _values(self, state: Learned) -> Callable[[Array], Floats]:
        ask = _networks.asked(state.parameters, self.activation, self.normalise_layers)
        look = scaling(state.known.scale)
        return lambda seen: ask(look(seen))[:, :, 0]


def _said(pqn: Pqn, network: Network, seen: Any) -> Any:
    """Values in JAX: `[T, A]`."""
    return _networks.outputs(network, seen, pqn.activation, pqn.normalise_layers)[:, :, 0]


@partial(jax.jit, static_argnums=0)
def _phase(
    pqn: Pqn, parameters: Network, moments: Moments[Network], rows: Any, order: Any, steps: Any
) -> tuple[Network, Moments[Network], dict[str, Any]]:
    """One update phase on the device: returns, then every minibatch of every epoch."""
    rate = _optimiser.falling(pqn.learning_rate, steps, pqn.anneal_steps)
    value = taken(_said(pqn, parameters, rows["observation"]), rows["action"])
    rows = rows | {"target": _returns(pqn, parameters, rows)}
    (parameters, moments), told = jax.lax.scan(
        partial(_minibatch, pqn, rows, rate), (parameters, moments), order.reshape(-1, order.shape[-1])
    )
    weight = rows["weight"]
    metrics = {name: jnp.mean(each) for name, each in told.items()}
    return (
        parameters,
        moments,
        metrics
        | {
            "explained_variance": explained_variance(value, rows["target"], weight),
            "value_estimation": losses.mean(value, weight),
            "reward_signal": losses.mean(rows["reward"], weight),
            "squared_error": losses.mean((value - rows["target"]) ** 2, weight),
            "learning_rate": rate,
        },
    )


def _returns(pqn: Pqn, parameters: Network, rows: Any) -> Any:
    """G^λ of the best allowed action ahead, 0 where none is allowed: `[T]`."""
    allowed = rows["next_allowed"]
    best = jnp.max(_said(pqn, parameters, rows["next_observation"]), axis=1, where=allowed, initial=-jnp.inf)
    best = jnp.where(jnp.any(allowed, axis=1), best, 0.0)
    return lambda_returns(rows["reward"], rows["continuing"], rows["linked"], best, pqn.trace_decay)


def _minibatch(pqn: Pqn, rows: Any, rate: Any, carry: tuple[Network, Moments[Network]], index: Any) -> Any:
    """One gradient step."""
    part, (parameters, moments) = {name: column[index] for name, column in rows.items()}, carry
    (_, told), gradients = jax.value_and_grad(_loss, argnums=1, has_aux=True)(pqn, parameters, part)
    gradients, norm = _optimiser.limited(gradients, pqn.gradient_limit)
    moved = _optimiser.adam(parameters, gradients, moments, rate)
    return moved, told | {"gradient_norm": norm}


def _loss(pqn: Pqn, parameters: Network, rows: Any) -> tuple[Any, dict[str, Any]]:
    error = taken(_said(pqn, parameters, rows["observation"]), rows["action"]) - rows["target"]
    loss = losses.mean(0.5 * error**2, rows["weight"])
    return loss, {"loss": loss, "td_error": losses.mean(jnp.abs(error), rows["weight"])}
