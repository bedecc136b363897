"""Categorical distributions over actions some of which may not be taken, in JAX.

`allowed` is True where an action may be taken; None allows all. The mask comes before the softmax, and a disallowed
action keeps a finite log-probability, so that no gradient is NaN (Huang & Ontañón 2022; arXiv 2006.14171).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

DISALLOWED = -1e9  # the logit of an action that may not be taken: e^-1e9 is 0 in every precision


def log_softmax(logits: Array, allowed: Array | None = None) -> Array:
    """log π(a|x): `[B, A]`; about -1e9 where disallowed; uniform where nothing is allowed."""
    return jax.nn.log_softmax(logits if allowed is None else jnp.where(allowed, logits, DISALLOWED), axis=-1)


def log_probability(log_probabilities: Array, action: Array) -> Array:
    """log π(a|x) of the action that was taken: `[B, A]`, `[B]` to `[B]`."""
    return jnp.take_along_axis(log_probabilities, action[..., None], axis=-1).squeeze(-1)


def entropy(log_probabilities: Array, allowed: Array | None = None) -> Array:
    """-Σ_a π(a|x)·log π(a|x) over allowed actions, in nats: `[B, A]` to `[B]`."""
    # The mask goes on before the product: NaN or infinity behind it would come back as NaN in the gradient.
    kept = log_probabilities if allowed is None else jnp.where(allowed, log_probabilities, 0.0)
    chance = jnp.exp(kept) if allowed is None else jnp.where(allowed, jnp.exp(kept), 0.0)
    return -jnp.sum(chance * kept, axis=-1)


def kl(log_probabilities: Array, others: Array) -> Array:
    """KL(π ‖ π') = Σ_a π(a)·(log π(a) - log π'(a)), in nats: `[B, A]`, `[B, A]` to `[B]`."""
    return jnp.sum(jnp.exp(log_probabilities) * (log_probabilities - others), axis=-1)
