"""Q-learning on a table (Watkins 1989; Sutton & Barto 2018, section 6.5), incremental over batches of logged decisions.

Metrics: `td_error` mean |δ|; `largest_value` the largest |Q| written by this update (it grows without bound where the
step or the discount is too large); `reward` mean reward of a decision; `updates` cells written by this update;
`states` and `cells` ever tried; `epsilon` after this update.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete, Space

from bondhu.errors import InvalidInput
from bondhu.policies.by_value import ByValue
from bondhu.policies.epsilon_greedy import epsilon_greedy
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Booleans, Floats, Integers, Metrics, Policy, Spec

AHEAD = 32  # rows between asking for a cell and using it: long enough for main memory, short enough for the cache


@dataclass(frozen=True)
class Table:
    """What was learned. A row is a state, or where the table is hashed, all states that share it."""

    values: Floats  # [rows, A] Q
    visits: Integers  # [rows, A] logged tries of the action
    best: Floats  # [rows] max_a Q, kept up to date so that looking ahead reads one number, not A
    sizes: Integers  # [F] codes of each observation column
    epsilon: float
    updates: int  # cells written so far
    states: int  # rows tried so far
    cells: int  # cells tried so far

    @classmethod
    def of(cls, values: Floats, visits: Integers, sizes: Integers, epsilon: float) -> Table:
        """A table from its cells alone, such as one read from a file."""
        tried, updates = visits > 0, int(visits.sum())
        states, cells = np.count_nonzero(tried.any(axis=1)), np.count_nonzero(tried)
        return cls(values, visits, values.max(axis=1), sizes, epsilon, updates, int(states), int(cells))


@dataclass(frozen=True)
class QLearning:
    """Q(s, a) ← Q(s, a) + α·[r + γ·discount·max_a' Q(s', a') - Q(s, a)], row after row in time order; a' is allowed."""

    learning_rate: float = 0.1  # α, in (0, 1]
    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]
    initial_value: float = 0.0  # Q of what was never tried; above the likely returns it invites exploration
    epsilon: float = 0.3  # share of random actions before any feedback, when exploring
    epsilon_decay: float = 0.995  # factor on epsilon for each session that truly ended
    minimum_epsilon: float = 0.05  # epsilon decays no further
    step_power: float = 0.0  # the step is α / tries^power: 0 constant, 1 the mean of what was seen
    pessimism: float = 0.0  # when acting, a value counts as Q - pessimism / √tries: what was seen once is not trusted
    passes: int = 1  # times that an update goes through its batch
    dense_limit: int = 1_000_000  # states above which the table is hashed
    hashed_rows: int = 2**20  # rows of a hashed table; states that share a row share its values

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Table]] = Table

    def __post_init__(self) -> None:
        shares = ("learning_rate", "discount", "epsilon", "epsilon_decay", "minimum_epsilon", "step_power")
        for name in shares:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise _refused(name, getattr(self, name), "It must be from 0 to 1.")
        for name, least in {"pessimism": 0, "passes": 1, "dense_limit": 1, "hashed_rows": 1}.items():
            if getattr(self, name) < least:
                raise _refused(name, getattr(self, name), f"It must be at least {least}.")
        if not math.isfinite(self.initial_value):
            raise _refused("initial_value", self.initial_value, "It must be a number.")

    def init(self, spec: Spec, rng: np.random.Generator) -> Table:  # noqa: ARG002  # the table starts the same for all
        sizes = _sizes(spec.observation)
        if not isinstance(spec.action, Discrete):
            raise _refused("action", spec.action, "Q-learning needs a Discrete action space.")
        states = math.prod(sizes.tolist())
        shape = (states if states <= self.dense_limit else self.hashed_rows, int(spec.action.n))
        start = self.initial_value
        values, visits, best = np.full(shape, start), np.full(shape, 0, np.int32), np.full(shape[0], start)
        return Table(values, visits, best, sizes, self.epsilon, updates=0, states=0, cells=0)

    def update(self, state: Table, batch: Batch, rng: np.random.Generator) -> tuple[Table, Metrics]:  # noqa: ARG002
        _check(state, batch)
        # A stored version is read-only and stays as it is: writing starts on a copy.
        table = {name: np.require(getattr(state, name), None, ["C", "W"]) for name in ("values", "visits", "best")}
        rows, step = prepared(state, batch, self.discount), (self.learning_rate, self.step_power)
        error, largest, cells, states = compiled_sweep()(tuple(table.values()), rows, step, True)
        for _ in range(1, self.passes):
            error, largest, _, _ = compiled_sweep()(tuple(table.values()), rows, step, False)
        if not math.isfinite(error + largest):
            raise _refused("reward", largest, "Values are no longer finite: scale the rewards down.")
        epsilon = state.epsilon * self.epsilon_decay ** np.count_nonzero(batch.discount == 0)
        learned = replace(
            state,
            **table,
            epsilon=float(max(min(state.epsilon, self.minimum_epsilon), epsilon)),
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
            "epsilon": learned.epsilon,
        }

    def policy(self, state: Table, *, explore: bool = False) -> Policy:
        rule = partial(epsilon_greedy, epsilon=state.epsilon) if explore else greedy
        return ByValue(self._values(state), rule)

    def _values(self, state: Table) -> Callable[[Array], Floats]:
        """What the policy looks up: `[T, F]` to `[T, A]`."""
        row_of, values, visits = row_finder(state.sizes, len(state.values)), state.values, state.visits
        if self.pessimism == 0:
            return lambda observation: values.take(row_of(observation), 0)

        def lower_bounds(observation: Array) -> Floats:
            """Jin et al. 2021, "Is pessimism provably efficient for offline RL?"; never tried counts as half a try."""
            row = row_of(observation)
            bounds: Floats = values[row] - self.pessimism / np.sqrt(np.maximum(visits[row], 0.5))
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
) -> tuple[float, float, int, int]:
    """One pass over T rows, in order, in place: sum of |δ|, largest |Q| written, cells and rows first tried.

    `rows`: row, action, reward, γ·discount, next row, each `[T]`, and the next allowed actions, `[T, A]` or `[1, A]`.
    Tries are counted in the first pass over a batch only. Plain Python, compiled by Numba when an update first runs.
    """
    values, visits, best = table
    row, action, reward, discount, next_row, allowed = rows
    rate, power = step
    free, stride = allowed.all(), 1 if len(allowed) > 1 else 0
    total = largest = 0.0
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
        largest = max(largest, abs(new))
    return total, largest, cells, states


def fetch(table: Array, row: int, column: int) -> None:
    """Have table[row, column] brought near, where compiled code can ask for that; otherwise nothing."""


@cache
def compiled_sweep() -> Callable[..., tuple[float, float, int, int]]:
    """`sweep`, compiled on first use: half a second that a server which only acts need not spend."""
    from numba import njit
    from numba.extending import overload

    from bondhu.learners import _prefetch

    overload(fetch)(_prefetch.compiled)
    compiled: Callable[..., tuple[float, float, int, int]] = njit(cache=True, nogil=True)(sweep)
    return compiled


def row_finder(sizes: Integers, rows: int) -> Callable[[Array], Integers]:
    """From codes `[T, F]` or `[T]` to rows of the table `[T]`: mixed radix where each state has its row, else hashed.

    Hashing is multilinear with odd multipliers, then the finaliser of splitmix64 (Steele et al. 2014), modulo `rows`:
    S states tried in R rows share theirs with about S/R others each.
    """
    if math.prod(sizes.tolist()) == rows:
        strides = np.cumprod([1, *sizes[:0:-1]])[::-1].astype(np.int64)

        def ranked(observation: Array) -> Integers:
            row: Integers = observation.reshape(-1, len(sizes)).dot(strides)
            return row

        return ranked
    multipliers = np.random.Generator(np.random.PCG64(0)).integers(2**63, size=len(sizes), dtype=np.uint64) * 2 + 1

    def hashed(observation: Array) -> Integers:
        codes = observation.reshape(-1, len(sizes)).astype(np.uint64)
        mixed: Array = codes @ multipliers
        mixed = (mixed ^ (mixed >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> 27)) * np.uint64(0x94D049BB133111EB)
        row: Integers = ((mixed ^ (mixed >> 31)) % np.uint64(rows)).astype(np.int64)
        return row

    return hashed


def _sizes(space: Space[Any]) -> Integers:
    """How many codes each observation column has: `[F]`."""
    if isinstance(space, Discrete) and space.start == 0:
        return np.array([space.n], np.int64)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        return space.nvec.astype(np.int64)
    raise _refused("observation", space, "Q-learning needs codes from 0: a Discrete or a flat MultiDiscrete space.")


def _check(state: Table, batch: Batch) -> None:
    """Refuse what would write outside the table or spoil it; nothing has been written yet."""
    going_on = batch.discount > 0
    for name, codes in (("observation", batch.observation), ("next_observation", batch.next_observation)):
        flat = codes.reshape(-1, len(state.sizes))
        outside = (flat < 0) | (flat >= state.sizes)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            fix = f"Column {column} has the codes 0 to {state.sizes[column] - 1}."
            raise _refused(name, flat[row, column], fix)
    actions = state.values.shape[1]
    unknown = (batch.action < 0) | (batch.action >= actions)
    if unknown.any():
        raise _refused("action", batch.action[unknown][0], f"There are the actions 0 to {actions - 1}.")
    finite = np.isfinite(batch.reward) & np.isfinite(batch.discount)
    if not finite.all():
        raise _refused("reward", batch.reward[~finite][0], f"Row {int(finite.argmin())} needs a number.")
    _check_next(batch.next_allowed, going_on)


def _check_next(allowed: Booleans, going_on: Booleans) -> None:
    possible = allowed[:1].any(axis=1) if allowed.strides[0] == 0 else allowed.any(axis=1)
    stuck = going_on & ~possible
    if stuck.any():
        raise _refused("next_allowed", None, f"Row {int(stuck.argmax())} goes on but allows no next action.")


def _refused(field: str, value: Any, fix: str) -> InvalidInput:
    return InvalidInput(f"Q-learning got {field} = {value}.", field=field, value=value, fix=fix)
