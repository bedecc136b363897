"""Gaussian policies with a diagonal covariance, plain and squashed by tanh, in JAX: D action dimensions."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array


def log_density(action: Array, mean: Array, log_deviation: Array) -> Array:
    """Σ_d log N(a_d; mean_d, e^(2·log_deviation_d)): `[B, D]` to `[B]`; `log_deviation` `[D]` or `[B, D]`."""
    scaled = (action - mean) * jnp.exp(-log_deviation)
    return jnp.sum(-0.5 * scaled**2 - log_deviation - 0.5 * math.log(2 * math.pi), axis=-1)


def entropy(log_deviation: Array) -> Array:
    """Σ_d ½·log(2πe) + log_deviation_d, in nats: `[..., D]` to `[...]`."""
    return jnp.sum(log_deviation + 0.5 * math.log(2 * math.pi * math.e), axis=-1)


def squashed_log_density(raw: Array, mean: Array, log_deviation: Array) -> Array:
    """The log-density of tanh(raw) on (-1, 1)^D where raw is Gaussian: `[B, D]` to `[B]`.

    log N(raw) - Σ_d log(1 - tanh²(raw_d)) (Haarnoja et al. 2018, appendix C; arXiv 1812.05905), with
    log(1 - tanh² x) = 2·(log 2 - x - softplus(-2x)), which stays finite where 1 - tanh² x rounds to 0.
    """
    shrinking = 2 * (math.log(2) - raw - jax.nn.softplus(-2 * raw))
    return log_density(raw, mean, log_deviation) - jnp.sum(shrinking, axis=-1)


def squash(raw: Array, low: Array | float, high: Array | float) -> Array:
    """low + ½·(high - low)·(tanh(raw) + 1): `[B, D]`, the action an environment of bounds low and high takes."""
    return jnp.clip(low + 0.5 * (high - low) * (jnp.tanh(raw) + 1), low, high)
