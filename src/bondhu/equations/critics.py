"""Actor–critic with entropy and twin critics (SAC, TD3), in JAX. `continuing` = γ·discount: 0 after a true end."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Tree = TypeVar("Tree")


def soft_target(
    reward: Array,
    continuing: Array,
    next_value_1: Array,
    next_value_2: Array,
    next_log_probability: Array,
    temperature: float | Array,
) -> Array:
    """r + continuing·(min(q_1, q_2)(x', a') - α·log π(a'|x')), a' drawn from π now: `[B]`.

    `temperature` is α (Haarnoja et al. 2018, equations 3 and 5; arXiv 1812.05905).
    With α = 0 and the target policy's smoothed action it is the target of TD3 (Fujimoto et al. 2018, algorithm 1).
    """
    return reward + continuing * (jnp.minimum(next_value_1, next_value_2) - temperature * next_log_probability)


def temperature_loss(log_temperature: Array, log_probability: Array, target_entropy: float | Array) -> Array:
    """-α·(log π(a|x) + target entropy), α = e^log_temperature, π held constant: `[B]`.

    Its mean is least where the entropy of π is the target (Haarnoja et al. 2018, equation 18).
    """
    return -jnp.exp(log_temperature) * jax.lax.stop_gradient(log_probability + target_entropy)


def soft_state_value(
    probabilities: Array, values_min: Array, log_probabilities: Array, temperature: float | Array
) -> Array:
    """Σ_a π(a|x)·(min q(x, a) - α·log π(a|x)): `[B, A]` to `[B]` (Christodoulou 2019, equation 10)."""
    return jnp.sum(probabilities * (values_min - temperature * log_probabilities), axis=-1)


def smoothed_noise(noise: Array, deviation: float | Array, limit: float | Array) -> Array:
    """clamp(deviation·noise, -limit, limit), noise drawn from N(0, 1): `[B, D]` (Fujimoto et al. 2018, equation 15)."""
    return jnp.clip(deviation * noise, -limit, limit)


def polyak(target_tree: Tree, online_tree: Tree, rate: float | Array) -> Tree:
    """(1 - rate)·target + rate·online in every floating array of two trees of one shape.

    Other leaves (counters, activation functions) are the online tree's (Lillicrap et al. 2016, algorithm 1).
    """

    def mix(target: Any, online: Any) -> Any:
        floating = isinstance(online, (jax.Array, np.ndarray)) and jnp.issubdtype(online.dtype, jnp.floating)
        return (1 - rate) * target + rate * online if floating else online

    mixed: Tree = jax.tree.map(mix, target_tree, online_tree)
    return mixed
