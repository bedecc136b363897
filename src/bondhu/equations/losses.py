"""Losses of policies and values, row by row, in JAX: the caller weights the rows and takes their mean.

A loss holds its targets, advantages and old values constant: no gradient flows through them.
`log_ratio` is log π(a|x) - log π_old(a|x), with rows drawn by π_old.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient

LARGEST_LOG_RATIO = 20.0  # e^20 = 5e8: beyond it a ratio would overflow, and 0 · ∞ is not a number


def clipped_policy(log_ratio: Array, advantage: Array, clip: float | Array) -> Array:
    """-min(ρ·A, clamp(ρ, 1 - clip, 1 + clip)·A), ρ = e^log_ratio: `[T]` (Schulman et al. 2017, equation 7)."""
    ratio = jnp.exp(jnp.clip(log_ratio, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
    constant = stop_gradient(advantage)
    return -jnp.minimum(ratio * constant, jnp.clip(ratio, 1 - clip, 1 + clip) * constant)


def clipped_value(value: Array, old_value: Array, target: Array, clip: float | Array) -> Array:
    """½·max((v - G)², (v_old + clamp(v - v_old, -clip, clip) - G)²): `[T]` (Huang et al. 2022, detail 9 of PPO)."""
    old, constant = stop_gradient(old_value), stop_gradient(target)
    near = old + jnp.clip(value - old, -clip, clip)
    return 0.5 * jnp.maximum((value - constant) ** 2, (near - constant) ** 2)


def policy_gradient(log_probability: Array, advantage: Array) -> Array:
    """-log π(a|x)·A: `[T]` (Williams 1992; Sutton & Barto 2018, section 13.4)."""
    return -log_probability * stop_gradient(advantage)


def huber(error: Array, limit: float | Array = 1.0) -> Array:
    """½·e² where |e| <= limit, else limit·(|e| - ½·limit): `[...]` (Huber 1964)."""
    size = jnp.abs(error)
    inside = jnp.minimum(size, limit)
    return inside * (size - 0.5 * inside)


def kl_k1(log_ratio: Array) -> Array:
    """-log ρ: `[T]`, whose mean is KL(π_old ‖ π) without bias; single rows may be negative (Schulman 2020, k1)."""
    return -log_ratio


def kl_k3(log_ratio: Array) -> Array:
    """(ρ - 1) - log ρ: `[T]`, never negative, without bias and of less variance than k1 (Schulman 2020, k3).

    log ρ counts as LARGEST_LOG_RATIO at most, up and down, so that the mean and the gradient stay finite.
    """
    near = jnp.clip(log_ratio, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    return jnp.expm1(near) - near


def mean(values: Array, weight: Array) -> Array:
    """Σ w·x / Σ w over all rows: `[T]` to a number; 0 where no row has weight."""
    total = jnp.sum(weight)
    return jnp.sum(values * weight) / jnp.where(total > 0, total, 1.0)


def standardised(values: Array, weight: Array) -> Array:
    """(x - mean) / √(variance + 1e-8), both weighted, the variance over Σ w: `[T]`.

    The small number stands inside the root, so that the gradient is finite where all values are equal.
    """
    centred = values - mean(values, weight)
    centred = centred - mean(centred, weight)  # once more, for the rounding of the first mean
    return centred / jnp.sqrt(mean(centred**2, weight) + 1e-8)
