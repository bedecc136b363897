"""Noise of noisy networks, in JAX: a layer's weights are μ + σ·ε with fresh ε."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def factored_noise(key: Array, inputs: int, outputs: int) -> tuple[Array, Array]:
    """ε of weights `[inputs, outputs]` and of biases `[outputs]` from inputs + outputs normal draws.

    ε^w_ij = f(ε_i)·f(ε_j), ε^b_j = f(ε_j), f(x) = sign(x)·√|x| (Fortunato et al. 2018, equations 10 and 11; arXiv
    1706.10295).
    """
    draws = jax.random.normal(key, (inputs + outputs,))
    rooted = jnp.sign(draws) * jnp.sqrt(jnp.abs(draws))
    return jnp.outer(rooted[:inputs], rooted[inputs:]), rooted[inputs:]
