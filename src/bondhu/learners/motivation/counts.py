"""Rewards what was seldom seen: another learner, paid weight / √N(s') on top, N how often s' was reached so far.

The bonus of model-based interval estimation (Strehl & Littman 2008) and of count-based exploration (Bellemare et al.
2016). Codes and images are told apart to the last bit; features by a SimHash, the signs of `bits` random projections
(Tang et al. 2017), or with `bits = 0` to the last bit as well. N counts the rows of the batch too, whatever their
order. What a recurrent inner learner remembers is no part of what is reached. A row that truly ends sees nothing
afterwards: it earns no bonus and is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from gymnasium.spaces import Space

from bondhu.catalogue import require
from bondhu.learners import _memory, _novelty
from bondhu.types import Array, Batch, Beliefs, Booleans, Floats, Integers, Learner, Metrics, Policy, Spec

BYTES = 8  # of a key: two of a million observations share one with a chance of 3e-8


class Table(eqx.Module):
    """How often each observation was reached."""

    keys: Integers  # [K] hashes, ascending
    counts: Integers  # [K]
    projection: Floats  # [F, bits] of the SimHash; [F, 0] where observations are told apart to the last bit


@dataclass(frozen=True)
class Visited:
    """What was learned, and what was counted."""

    inner: Any  # state of the inner learner
    table: Table


@dataclass(frozen=True)
class Counts:
    """Reward r + weight / √N(s')."""

    inner: Learner[Any] = field(default_factory=_novelty.proximal)  # what learns
    weight: float = 0.1  # β, what the first visit is worth
    bits: int = 32  # of the hash of features, up to 64; 0: every difference counts
    once: bool = False  # whether only the first visit in a session is paid (Zhang et al. 2021, section 3.2)

    State: ClassVar[type[Visited]] = Visited
    probes: ClassVar[tuple[str, ...]] = ("one_hot_trap",)

    def __post_init__(self) -> None:
        require(self, 0.0, math.inf, "weight")
        require(self, 0, 8 * BYTES, "bits")

    @property
    def observes(self) -> type[Space[Any]]:
        """What the inner learner observes."""
        return self.inner.observes

    def init(self, spec: Spec, rng: np.random.Generator) -> Visited:
        inner, kind = self.inner.init(spec, rng), spec.observation.dtype
        exact = self.bits == 0 or (kind is not None and kind.kind in "iu")
        shown = _memory.shape_without(spec.observation.shape or (1,), _memory.remembered_by(self.inner))
        shape = (int(np.prod(shown)), 0 if exact else self.bits)
        projection = rng.standard_normal(shape).astype(np.float32)
        return Visited(inner, Table(np.zeros(0, np.uint64), np.zeros(0, np.int64), projection))

    def update(self, state: Visited, batch: Batch, rng: np.random.Generator) -> tuple[Visited, Metrics]:
        if not len(batch):
            return state, {}
        going = _novelty.goes_on(batch)
        shown = _memory.without(batch, _memory.remembered_by(self.inner))
        keys = hashed(shown.next_observation, state.table.projection)
        table = counting(state.table, keys[going])
        bonus = np.zeros(len(batch))
        bonus[going] = self.weight / np.sqrt(table.counts[np.searchsorted(table.keys, keys[going])])
        if self.once:
            bonus *= first_visits(batch, keys, hashed(shown.observation, state.table.projection))
        rewarded, told = _novelty.paid(batch, bonus, {"distinct_observations": float(len(table.keys))})
        inner, metrics = self.inner.update(state.inner, rewarded, rng)
        return Visited(inner, table), {**metrics, **told}

    def policy(self, state: Visited, *, explore: bool = False) -> Policy:
        return self.inner.policy(state.inner, explore=explore)

    def beliefs(self, state: Visited) -> Beliefs:
        return self.inner.beliefs(state.inner)


def hashed(observation: Array, projection: Floats) -> Integers:
    """A number for each observation, `[T, ...]` to `[T]`: of the sides on which it lies, or of all its bytes."""
    flat = observation.reshape(len(observation), -1)
    if not projection.shape[1]:
        rows = np.ascontiguousarray(flat + flat.dtype.type(0))  # no difference between 0.0 and -0.0
        digests = b"".join(blake2b(row, digest_size=BYTES).digest() for row in rows)
        return np.frombuffer(digests, np.uint64)
    sides = flat.astype(np.float32) @ np.asarray(projection) > 0
    packed = np.packbits(np.pad(sides, ((0, 0), (0, 8 * BYTES - sides.shape[1]))), axis=1)
    return packed.view(np.uint64)[:, 0]


def counting(table: Table, keys: Integers) -> Table:
    """The table with these visits counted as well."""
    new, times = np.unique(keys, return_counts=True)
    both, place = np.unique(np.concatenate([table.keys, new]), return_inverse=True)
    counts = np.zeros(len(both), np.int64)
    np.add.at(counts, place, np.concatenate([table.counts, times]))
    return replace(table, keys=both, counts=counts)


def first_visits(batch: Batch, after: Integers, before: Integers) -> Booleans:
    """Which rows reach what their session has not seen yet, by the keys of what follows and of what was seen: `[T]`."""
    visits = np.stack([np.r_[batch.session, batch.session].astype(np.uint64), np.r_[before, after]], axis=1)
    time = np.r_[2 * np.arange(len(batch)), 2 * np.arange(len(batch)) + 1]
    order = np.argsort(time)
    _, first = np.unique(visits[order], axis=0, return_index=True)
    opens = np.zeros(2 * len(batch), bool)
    opens[order[first]] = True
    fresh: Booleans = opens[len(batch) :]
    return fresh
