"""What the policy-gradient methods share that take one gradient step after another, and none twice from one advantage:

    L = -log π(a|x)·A + value_weight·(V(x) - target)² - entropy_bonus·entropy

A method says what the advantage A and the target of a row are, by which rule the parameters follow the gradient, and
which rows each step looks at. Metrics: `loss`, `policy_loss`, `value_loss`, `entropy`, `explained_variance` and
`value_estimation` of the critic before each step, `gradient_norm` before it is limited (all of them means over the
steps), `reward_signal` mean reward, `confidence` mean probability of the actions taken, `learning_rate`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from bondhu.equations import losses
from bondhu.equations.advantages import explained_variance
from bondhu.learners import _actors, _columns, _optimiser
from bondhu.learners._actors import ActorCritic, Experience
from bondhu.learners._columns import Actions
from bondhu.learners._optimiser import Moments
from bondhu.learners._scales import scaling
from bondhu.types import Batch, Integers, Metrics, Spec


class Learned(eqx.Module):
    """What was learned."""

    parameters: ActorCritic
    moments: Moments[ActorCritic]
    known: Experience


class Method(Protocol):
    """A method's hyper-parameters and its two equations. Equal methods share their compiled code."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def anneal_steps(self) -> int: ...
    @property
    def discount(self) -> float: ...
    @property
    def entropy_bonus(self) -> float: ...
    @property
    def value_weight(self) -> float: ...
    @property
    def gradient_limit(self) -> float: ...
    @property
    def normalise_observations(self) -> bool: ...
    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def activation(self) -> str: ...

    def estimated(self, rows: dict[str, Any]) -> tuple[Any, Any]:
        """Advantages and targets, `[T]` each, from columns of the batch and `value`, `next_value` and `log_ratio`:
        log π(a|x) now, less that of the policy that acted."""

    def moved(
        self, parameters: ActorCritic, gradients: ActorCritic, moments: Moments[ActorCritic], rate: Any
    ) -> tuple[ActorCritic, Moments[ActorCritic]]:
        """One step of the optimiser."""


def begun(method: Method, spec: Spec, rng: np.random.Generator) -> Learned:
    """The state before any feedback."""
    parameters, known = _actors.begun(spec, _actors.Shape(method.hidden, method.activation), rng)
    return Learned(parameters, _optimiser.begun(parameters), known)


def at_once(length: int, passes: int = 1) -> Integers:
    """Every gradient step looks at all rows: `[passes, length]`."""
    return np.tile(np.arange(length, dtype=np.int32), (passes, 1))


def learned(method: Method, state: Learned, batch: Batch, order: Any, length: int = 0) -> tuple[Learned, Metrics]:
    """The state after the gradient steps that `order(length)` names, `[steps, rows]` each; `length` is that of the
    batch with its padding, the nearest of few where 0 is given. Raises InvalidInput for rows that would spoil it."""
    actions = _actors.actions_known(state.known)
    known, rows = read(method, state.known, batch, length)
    carry, told = _phase(
        method,
        actions,
        (state.parameters, state.moments),
        rows,
        order(len(rows["weight"])),
        np.float32(state.known.rows),
    )
    metrics = reported(told, rows, batch)
    return Learned(carry[0], carry[1], replace(known, noise=np.asarray(metrics["value_loss"]))), metrics


def read(method: Method, known: Experience, batch: Batch, length: int = 0) -> tuple[Experience, dict[str, Any]]:
    """What is known with this batch, and its columns as the losses look at them, padded."""
    actions = _actors.actions_known(known)
    _columns.check(batch, actions, np.shape(known.scale.mean) or batch.observation.shape[1:])
    after = _actors.experienced(known, batch, normalise=method.normalise_observations)
    look, columns = scaling(_actors.as_played(known, after).scale), _columns.columns(batch, method.discount)
    columns["observation"], columns["next_observation"] = look(batch.observation), look(batch.next_observation)
    columns["old_log"] = _actors.behaviour(batch, actions)
    return after, _columns.padded(columns, length or _columns.bucket(max(len(batch), _columns.FEWEST)))


def reported(told: Any, rows: dict[str, Any], batch: Batch) -> Metrics:
    """The metrics of an update, fetched from the device."""
    confidence = np.exp(np.minimum(rows["old_log"][: len(batch)], 0.0)).mean()
    return _columns.reported(told | {"reward_signal": batch.reward.mean(), "confidence": confidence})


Carry = tuple[ActorCritic, Moments[ActorCritic]]


@partial(jax.jit, static_argnums=(0, 1))
def _phase(
    method: Method, actions: Actions, carry: Carry, rows: Any, order: Any, before: Any
) -> tuple[Carry, dict[str, Any]]:
    """All gradient steps of an update, on the device; none where all rows are padding."""

    def step(carry: Carry, index: Any) -> tuple[Carry, Any]:
        part = {name: column[index] for name, column in rows.items()}
        found, told = slope(method, actions, carry[0], part)
        parameters, moments, rate = follow(method, carry[0], carry[1], found, before)
        real = part["weight"].sum() > 0
        after = jax.tree.map(lambda new, old: jnp.where(real, new, old), (parameters, moments), carry)
        return after, (told | {"learning_rate": rate}, 1.0 * real)

    carry, (told, counted) = jax.lax.scan(step, carry, order)
    return carry, {name: losses.mean(each, counted) for name, each in told.items()}


def slope(method: Method, actions: Actions, parameters: ActorCritic, rows: Any) -> tuple[ActorCritic, dict[str, Any]]:
    """The gradient of the loss of these rows, limited in its norm, and what it was made of."""
    (_, told), found = jax.value_and_grad(_loss, argnums=1, has_aux=True)(method, parameters, actions, rows)
    limited, norm = _optimiser.limited(found, method.gradient_limit)
    return limited, told | {"gradient_norm": norm}


def follow(
    method: Method, parameters: ActorCritic, moments: Moments[ActorCritic], gradients: ActorCritic, before: Any
) -> tuple[ActorCritic, Moments[ActorCritic], Any]:
    """One step along a gradient, `before` environment steps having been learned from; and the learning rate of it."""
    rate = _optimiser.falling(method.learning_rate, before, method.anneal_steps)
    return *method.moved(parameters, gradients, moments, rate), rate


def _loss(method: Method, parameters: ActorCritic, actions: Actions, rows: Any) -> tuple[Any, dict[str, Any]]:
    weight = rows["weight"]
    log, entropy = _actors.likelihood(parameters, actions, rows, method.activation)
    value = _actors.judged(parameters, rows["observation"], method.activation)
    following = _actors.judged(parameters, rows["next_observation"], method.activation)
    seen = {"value": value, "next_value": following, "log_ratio": log - rows["old_log"]}
    advantage, target = stop_gradient(method.estimated(rows | stop_gradient(seen)))
    policy_loss = losses.mean(losses.policy_gradient(log, advantage), weight)
    value_loss, spread = losses.mean((value - target) ** 2, weight), losses.mean(entropy, weight)
    loss = policy_loss + method.value_weight * value_loss - method.entropy_bonus * spread
    return loss, {
        "loss": loss,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": spread,
        "explained_variance": explained_variance(value, target, weight),
        "value_estimation": losses.mean(value, weight),
    }
