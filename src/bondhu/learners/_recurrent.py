"""A memory for what is no longer seen: a gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), whose output stands
beside the observation before the networks that act and judge.

Nothing is kept between two calls. What a policy observes has F + M columns: the last M are the memory before the row is
seen, zeros where an episode begins; its memo's last M are the memory after, to be shown to it with the next row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bondhu.equations.rows import product
from bondhu.learners._networks import orthogonal
from bondhu.types import Array, Floats

KEEPS = 1.0  # first bias of the gate that keeps: e times likelier to keep than to forget (Jozefowicz et al. 2015)


class Cell(eqx.Module):
    """How M numbers follow from F that are seen and M that are remembered: keeping, resetting, and what is new."""

    seen: Array  # [F, 3M]
    kept: Array  # [M, 3M]
    bias: Array  # [3M]


def cell(rng: np.random.Generator, features: int, memory: int) -> Cell:
    """Each of its six matrices orthogonal with gain 1, the biases 0 but for the gate that keeps."""
    seen, kept = (
        np.concatenate([orthogonal(rng, (inputs, memory), 1.0) for _ in range(3)], axis=1)
        for inputs in (features, memory)
    )
    bias = np.zeros(3 * memory, np.float32)
    bias[:memory] = KEEPS
    return Cell(seen, kept, bias)


def after(cell: Cell, observation: Any) -> Any:
    """What is seen with the memory after it instead of before, in JAX: `[T, F + M]` to `[T, F + M]`."""
    features = cell.seen.shape[0]
    seen, before = observation[..., :features], observation[..., features:]
    memory = _next(seen @ cell.seen + cell.bias, before @ cell.kept, before, jnp.tanh)
    return jnp.concatenate([seen, memory], axis=-1)


def through(cell: Cell, observation: Any, opens: Any) -> Any:
    """The same along N sequences of L rows, in JAX: `[N, L, F + M]` to `[N, L, F + M]`. Where `opens`, `[N, L]`, the
    row's own memory counts; elsewhere what the cell makes of the row before, and gradients flow back through it."""
    features = cell.seen.shape[0]
    seen, stored = observation[..., :features], observation[..., features:]
    fed = seen @ cell.seen + cell.bias  # of all rows at once

    def step(memory: Any, row: Any) -> tuple[Any, Any]:
        fed, stored, opens = row
        before = jnp.where(opens[:, None], stored, memory)
        memory = _next(fed, before @ cell.kept, before, jnp.tanh)
        return memory, memory

    in_time = tuple(jnp.moveaxis(each, 1, 0) for each in (fed, stored, opens))
    _, memory = jax.lax.scan(step, jnp.zeros_like(stored[:, 0]), in_time)
    return jnp.concatenate([seen, jnp.moveaxis(memory, 0, 1)], axis=-1)


def remembering(cell: Cell) -> Callable[[Array], Floats]:
    """`after` by NumPy, each row by itself to the last bit."""
    seen_by, kept_by, bias = (np.ascontiguousarray(each, np.float32) for each in (cell.seen, cell.kept, cell.bias))
    features = len(seen_by)

    def recall(observation: Array) -> Floats:
        seen = np.ascontiguousarray(observation[:, :features], np.float32)
        before = np.ascontiguousarray(observation[:, features:], np.float32)
        memory = _next(product(seen, seen_by) + bias, product(before, kept_by), before, np.tanh)
        return np.concatenate([seen, memory], axis=1)

    return recall


def _next(fed: Any, recurrent: Any, before: Any, tanh: Callable[[Any], Any]) -> Any:
    """z·h + (1 - z)·tanh(x_n + r·h_n), the gates z and r being σ(x + h): `[..., 3M]` twice and `[..., M]`."""
    size = before.shape[-1]
    gates = 0.5 + 0.5 * tanh(0.5 * (fed[..., : 2 * size] + recurrent[..., : 2 * size]))  # σ, without overflow
    keep, reset = gates[..., :size], gates[..., size:]
    new = tanh(fed[..., 2 * size :] + reset * recurrent[..., 2 * size :])
    return keep * before + (1 - keep) * new
