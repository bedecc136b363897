"""Q-learning on a table (Watkins 1989; Sutton & Barto 2018, section 6.5), incremental over batches of logged decisions.

Metrics: `td_error` mean |δ|; `largest_value` the largest |Q| written by this update (it grows without bound where the
step or the discount is too large); `reward` mean reward of a decision; `updates` cells written by this update;
`states` and `cells` ever tried; `rounds` sessions that truly ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.compiled import compiled
from bondhu.learners._table import UNTRIED, beliefs_of, blended, check, refused, row_finder, shape_of, writable
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.types import (
    Array,
    Batch,
    Beliefs,
    Derived,
    Exploration,
    Floats,
    Integers,
    Metrics,
    PerAction,
    Policy,
    Spec,
)

AHEAD = 32  # rows between asking for a cell and using it: long enough for main memory, short enough for the cache


def highest(values: Floats) -> Floats:
    """max_a Q of each row: `[rows, A]` to `[rows]`."""
    best: Floats = values.max(axis=1)
    return best


@dataclass(frozen=True)
class Table:
    """What was learned. A row is a state, or where the table is hashed, all states that share it."""

    values: Annotated[Floats, PerAction(1)]  # [rows, A] Q
    visits: Annotated[Integers, PerAction(1)]  # [rows, A] logged tries of the action
    best: Annotated[Floats, Derived("values", highest)]  # [rows] max_a Q, so that looking ahead reads one number, not A
    sizes: Integers  # [F] codes of each observation column
    rounds: int  # sessions that truly ended; what exploration counts
    noise: float  # mean squared error of a prediction
    updates: int  # cells written so far
    states: int  # rows tried so far
    cells: int  # cells tried so far

    @classmethod
    def of(cls, values: Floats, visits: Integers, sizes: Integers) -> Table:
        """A table from its cells alone, such as one read from a file."""
        tried, updates = visits > 0, int(visits.sum())
        states, cells = np.count_nonzero(tried.any(axis=1)), np.count_nonzero(tried)
        best = highest(values)
        return cls(values, visits, best, sizes, 0, 1.0, updates, int(states), int(cells))


@dataclass(frozen=True)
class QLearning:
    """Q(s, a) ← Q(s, a) + α·[r + γ·discount·max_a' Q(s', a') - Q(s, a)], row after row in time order; a' is allowed."""

    learning_rate: float = 0.1  # α, in (0, 1]
    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]
    initial_value: float = 0.0  # Q of what was never tried; above the likely returns it invites exploration
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.995, minimum=0.05)  # a round is a session that truly ended
    step_power: float = 0.0  # the step is α / tries^power: 0 constant, 1 the mean of what was seen
    pessimism: float = 0.0  # when acting, a value counts as Q - pessimism / √tries: what was seen once is not trusted
    passes: int = 1  # times that an update goes through its batch
    dense_limit: int = 1_000_000  # states above which the table is hashed
    hashed_rows: int = 2**20  # rows of a hashed table; states that share a row share its values

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Table]] = Table
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy", "corridor", "cut", "trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "step_power")
        require(self, 0.0, math.inf, "pessimism")
        require(self, 1, math.inf, "passes", "dense_limit", "hashed_rows")
        require(self, -math.inf, math.inf, "initial_value")

    def init(self, spec: Spec, rng: np.random.Generator) -> Table:  # noqa: ARG002  # the table starts the same for all
        sizes, *shape = shape_of(spec, self.dense_limit, self.hashed_rows)
        values, best = np.full(shape, self.initial_value), np.full(shape[0], self.initial_value)
        return Table(values, np.zeros(shape, np.int32), best, sizes, rounds=0, noise=1.0, updates=0, states=0, cells=0)

    def update(self, state: Table, batch: Batch, rng: np.random.Generator) -> tuple[Table, Metrics]:  # noqa: ARG002
        check(batch, state.sizes, state.values.shape[1])
        table = {name: writable(getattr(state, name)) for name in ("values", "visits", "best")}
        rows, step = prepared(state, batch, self.discount), (self.learning_rate, self.step_power)
        error, squares, largest, cells, states = compiled_sweep()(tuple(table.values()), rows, step, True)
        for _ in range(1, self.passes):
            error, squares, largest, _, _ = compiled_sweep()(tuple(table.values()), rows, step, False)
        if not math.isfinite(error + largest):
            raise refused("reward", largest, "Values are no longer finite: scale the rewards down.")
        learned = replace(
            state,
            **table,
            rounds=state.rounds + int(np.count_nonzero(batch.discount == 0)),
            noise=blended(state.noise, squares, len(batch), state.updates),
            updates=state.updates + len(batch) * self.passes,
            states=state.states + states,
            cells=state.cells + cells,
        )
        return learned, {
            "td_error": error / max(len(batch), 1),
            "largest_value": largest,
            "reward": float(batch.reward.sum()) / max(len(batch), 1),
            "updates": float(len(batch) * self.passes),
            "states": float(learned.states),
            "cells": float(learned.cells),
            "rounds": float(learned.rounds),
        }

    def policy(self, state: Table, *, explore: bool = False) -> Policy:
        return Exploring(self.beliefs(state), self.exploration) if explore else ByValue(self._values(state), greedy)

    def beliefs(self, state: Table) -> Beliefs:
        return beliefs_of(state.values, state.visits, state.sizes, state.noise, state.rounds)

    def _values(self, state: Table) -> Callable[[Array], Floats]:
        """What the policy looks up: `[T, F]` to `[T, A]`."""
        row_of, values, visits = row_finder(state.sizes, len(state.values)), state.values, state.visits
        if self.pessimism == 0:
            return lambda observation: values.take(row_of(observation), 0)

        def lower_bounds(observation: Array) -> Floats:
            """Jin et al. 2021, "Is pessimism provably efficient for offline RL?"; never tried counts as half a try."""
            row = row_of(observation)
            bounds: Floats = values[row] - self.pessimism / np.sqrt(np.maximum(visits[row], UNTRIED))
            return bounds

        return lower_bounds


def prepared(state: Table, batch: Batch, factor: float) -> tuple[Array, ...]:
    """The batch as `sweep` reads it; `factor` is γ."""
    row_of = row_finder(state.sizes, len(state.values))
    allowed = batch.next_allowed
    shared = allowed.strides[0] == 0  # one row broadcast over all: looking at it once is enough
    return (
        row_of(batch.observation),
        np.ascontiguousarray(batch.action, np.int64),
        np.ascontiguousarray(batch.reward, np.float64),
        np.ascontiguousarray(batch.discount, np.float64) * factor,
        row_of(batch.next_observation),
        np.ascontiguousarray(allowed[:1] if shared else allowed),
    )


def sweep(
    table: tuple[Floats, Integers, Floats], rows: tuple[Array, ...], step: tuple[float, float], counting: bool
) -> tuple[float, float, float, int, int]:
    """One pass over T rows, in order, in place: sums of |δ| and δ², largest |Q| written, cells and rows first tried.

    `rows`: row, action, reward, γ·discount, next row, each `[T]`, and the next allowed actions, `[T, A]` or `[1, A]`.
    Tries are counted in the first pass over a batch only. Plain Python, compiled by Numba when an update first runs.
    """
    values, visits, best = table
    row, action, reward, discount, next_row, allowed = rows
    rate, power = step
    free, stride = allowed.all(), 1 if len(allowed) > 1 else 0
    total = squares = largest = 0.0
    cells = states = 0
    for t in range(len(row)):
        later = min(t + AHEAD, len(row) - 1)
        fetch(values, row[later], action[later])
        fetch(visits, row[later], action[later])
        s, a, n = row[t], action[t], next_row[t]
        target = reward[t]
        if discount[t] > 0.0:
            ahead = best[n] if free else -np.inf
            if not free:
                for b in range(values.shape[1]):
                    ahead = max(ahead, values[n, b] if allowed[t * stride, b] else -np.inf)
            target += discount[t] * ahead
        if counting:
            if visits[s, a] == 0:
                cells += 1
                states += not visits[s].any()
            visits[s, a] += 1
        old = values[s, a]
        error = target - old
        new = old + (rate if power == 0.0 else rate / visits[s, a] ** power) * error
        values[s, a] = new
        if new >= best[s]:
            best[s] = new
        elif old == best[s]:
            best[s] = values[s].max()
        total += abs(error)
        squares += error * error
        largest = max(largest, abs(new))
    return total, squares, largest, cells, states


def fetch(table: Array, row: int, column: int) -> None:
    """Have table[row, column] brought near, where compiled code can ask for that; otherwise nothing."""


@cache
def compiled_sweep() -> Callable[..., tuple[float, float, float, int, int]]:
    """`sweep`, compiled on first use: half a second that a server which only acts need not spend."""
    from numba.extending import overload

    from bondhu.learners import _prefetch

    overload(fetch)(_prefetch.compiled)
    return compiled(sweep)
