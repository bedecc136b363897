"""Targets and losses of action values, in JAX: Q-learning, double, dueling, and the two ways to learn a distribution.

B rows, A actions, K atoms or quantiles. `continuing` = γ·discount of each row (γ^n of n steps): 0 after a true end.
`allowed` is True where an action may be taken; a state with no allowed action is worth 0. The two distributional losses
hold their targets constant; no other function stops a gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient

from bondhu.equations.losses import huber


def taken(values: Array, action: Array) -> Array:
    """The value of the action that was taken: `[B, A]`, `[B]` to `[B]`; `[B, A, K]` to `[B, K]`."""
    index = action.reshape(action.shape + (1,) * (values.ndim - 1))
    return jnp.take_along_axis(values, index, axis=1).squeeze(1)


def q_target(reward: Array, continuing: Array, next_values: Array, allowed: Array | None = None) -> Array:
    """r + continuing·max_a q(x', a): `[B]`, values `[B, A]` (Mnih et al. 2015)."""
    return double_q_target(reward, continuing, next_values, next_values, allowed)


def double_q_target(
    reward: Array,
    continuing: Array,
    next_values_online: Array,
    next_values_target: Array,
    allowed: Array | None = None,
) -> Array:
    """r + continuing·q_target(x', argmax_a q_online(x', a)): `[B]`, values `[B, A]` (van Hasselt et al. 2016)."""
    if allowed is None:
        return reward + continuing * taken(next_values_target, jnp.argmax(next_values_online, axis=1))
    best = jnp.argmax(jnp.where(allowed, next_values_online, -jnp.inf), axis=1)
    worth = jnp.where(jnp.any(allowed, axis=1), taken(next_values_target, best), 0.0)
    return reward + continuing * worth


def dueling(value: Array, advantage: Array) -> Array:
    """v + A - mean over actions of A: `[B, 1, K]`, `[B, A, K]` to `[B, A, K]` (Wang et al. 2016, equation 9)."""
    return value + advantage - jnp.mean(advantage, axis=1, keepdims=True)


def categorical_projection(probabilities: Array, reward: Array, continuing: Array, support: Array) -> Array:
    """The distribution of r + continuing·Z on the atoms of `support`: `[B, K]`, each row sums to 1.

    Z has `probabilities` `[B, K]` on `support` `[K]`, evenly spaced and rising. Mass between two atoms is shared by
    nearness; mass beyond an end goes to that end (Bellemare et al. 2017, equation 7; arXiv 1707.06887).
    """
    moved = jnp.clip(reward[:, None] + continuing[:, None] * support, support[0], support[-1])
    spacing = (support[-1] - support[0]) / (support.shape[0] - 1)
    distance = jnp.abs(moved[:, None, :] - support[None, :, None]) / spacing  # [B, atom that receives, atom that moved]
    return jnp.sum(jnp.clip(1 - distance, 0, 1) * probabilities[:, None, :], axis=2)


def categorical_loss(logits: Array, target: Array) -> Array:
    """-Σ_k target_k·log softmax(logits)_k: `[B, K]`, `[B, K]` to `[B]` (Bellemare et al. 2017, algorithm 1)."""
    return -jnp.sum(stop_gradient(target) * jax.nn.log_softmax(logits, axis=-1), axis=-1)


def quantile_loss(quantiles: Array, targets: Array, limit: float = 1.0) -> Array:
    """Σ_i mean_j |τ_i - 1{u_ij < 0}|·L(u_ij), u_ij = target_j - quantile_i: `[B, K]`, `[B, J]` to `[B]`.

    τ_i = (i + ½)/K, i from 0. L is Huber's loss of `limit`, or |u| where `limit` is 0 (Dabney et al. 2018, equation
    10; arXiv 1710.10044).
    """
    count = quantiles.shape[1]
    level = (jnp.arange(count, dtype=quantiles.dtype) + 0.5) / count
    error = stop_gradient(targets)[:, None, :] - quantiles[:, :, None]
    tilt = jnp.abs(level[:, None] - (error < 0))
    size = huber(error, limit) if limit else jnp.abs(error)
    return jnp.sum(jnp.mean(tilt * size, axis=2), axis=1)
