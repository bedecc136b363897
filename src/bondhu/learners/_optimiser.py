"""How parameters follow their gradients: Optax's rules, over states that can be stored by name."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from bondhu.types import Array

P = TypeVar("P")  # the parameters: a record of arrays


class Moments(eqx.Module, Generic[P]):
    """What an optimiser remembers of the gradients."""

    first: P  # running means
    second: P  # running means of squares
    steps: Array  # [] taken


def begun(parameters: P) -> Moments[P]:
    """Nothing seen yet."""
    nothing = jax.tree.map(np.zeros_like, parameters)
    return Moments(nothing, jax.tree.map(np.zeros_like, parameters), np.zeros((), np.int32))


def adam(parameters: P, gradients: P, moments: Moments[P], rate: Any, epsilon: float = 1e-8) -> tuple[P, Moments[P]]:
    """One step of Adam (Kingma & Ba 2015) at this learning rate."""
    rule = optax.scale_by_adam(eps=epsilon)
    before = optax.ScaleByAdamState(moments.steps, moments.first, moments.second)
    updates, after = rule.update(gradients, before)
    return _moved(parameters, updates, rate), Moments(after.mu, after.nu, after.count)


def rmsprop(
    parameters: P, gradients: P, moments: Moments[P], rate: Any, decay: float = 0.99, epsilon: float = 1e-5
) -> tuple[P, Moments[P]]:
    """One step of RMSProp with ε under the root (Tieleman & Hinton 2012), as A2C's published results used it."""
    second = jax.tree.map(lambda nu, g: decay * nu + (1 - decay) * g * g, moments.second, gradients)
    updates = jax.tree.map(lambda g, nu: g / jnp.sqrt(nu + epsilon), gradients, second)
    return _moved(parameters, updates, rate), Moments(moments.first, second, moments.steps + 1)


def _moved(parameters: P, updates: Any, rate: Any) -> P:
    moved: P = jax.tree.map(lambda p, u: p - rate * u, parameters, updates)
    return moved


def limited(gradients: P, limit: float) -> tuple[P, Any]:
    """The gradients, shortened to a common norm of at most `limit`, and their norm before (Pascanu et al. 2013)."""
    norm = optax.tree.norm(gradients)
    factor = jnp.minimum(1.0, limit / jnp.maximum(norm, 1e-12))
    return jax.tree.map(lambda g: g * factor, gradients), norm


def falling(rate: float, steps: Any, horizon: int) -> Any:
    """The learning rate after so many environment steps: it falls in a line to 0 at the horizon; of 0, never."""
    return rate * jnp.maximum(0.0, 1.0 - steps / horizon) if horizon else jnp.asarray(rate)
