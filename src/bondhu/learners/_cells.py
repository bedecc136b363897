"""What learners that move one cell of a table at a time share: their state, a batch as compiled loops read it, and what
an update reports.

Metrics: `td_error` mean |target - value|; `largest_value` the largest |Q| of the cells of this batch (it grows without
bound where the step or the discount is too large); `reward` mean reward of a decision; `updates` predictions that were
compared with a target; `rounds` sessions that truly ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from bondhu.compiled import compiled
from bondhu.learners._table import beliefs_of, blended, check, refused, row_finder, shape_of, writable
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.greedy import greedy
from bondhu.types import (
    Array,
    Batch,
    Beliefs,
    Booleans,
    Exploration,
    Floats,
    Integers,
    Metrics,
    PerAction,
    Policy,
    Spec,
)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Cells:
    """What was learned; 12 bytes a cell. A row is a state, or where the table is hashed, all states that share it."""

    values: Annotated[Floats, PerAction(1)]  # [rows, A] Q
    visits: Annotated[Integers, PerAction(1)]  # [rows, A] targets that stand behind each value
    sizes: Integers  # [F] codes of each observation column
    rounds: int  # sessions that truly ended; what exploration counts
    noise: float  # mean squared error of a prediction
    updates: int  # predictions compared with a target so far


C = TypeVar("C", bound=Cells)


class Rows(NamedTuple):
    """A batch as compiled loops read it."""

    row: Integers  # [T] of the table
    action: Integers  # [T]
    reward: Floats  # [T]
    discount: Floats  # [T] γ·discount
    linked: Booleans  # [T] row t + 1 is what followed; False at ends, at cuts and where the batch stops
    next_row: Integers  # [T] of the table
    next_allowed: Booleans  # [T, A], or [1, A] where one mask holds for all

    @property
    def going_on(self) -> Integers:
        """The rows after which something follows."""
        return np.flatnonzero(self.discount > 0)

    @property
    def cuts(self) -> Integers:
        """The rows after which something follows that is not in the batch: `[K]`, ascending."""
        return np.flatnonzero((self.discount > 0) & ~self.linked)


def untouched(spec: Spec, initial_value: float, dense_limit: int, hashed_rows: int) -> Cells:
    """The cells before any feedback."""
    sizes, *shape = shape_of(spec, dense_limit, hashed_rows)
    return Cells(np.full(shape, initial_value), np.zeros(shape, np.int32), sizes, rounds=0, noise=1.0, updates=0)


def rows_of(state: Cells, batch: Batch, factor: float) -> Rows:
    """The batch as loops read it, or a refusal of what would spoil the table; `factor` is γ."""
    check(batch, state.sizes, state.values.shape[1])
    row_of = row_finder(state.sizes, len(state.values))
    linked = batch.has_next & (batch.discount > 0)
    linked[-1:] = False
    return Rows(
        row_of(batch.observation),
        ready(batch.action, np.int64),
        ready(batch.reward, np.float64),
        ready(batch.discount, np.float64) * factor,
        linked,
        row_of(batch.next_observation),
        masks(batch.next_allowed),
    )


def ready(column: Array, kind: type[np.generic]) -> Array:
    """The column in the one form that loops are compiled for: contiguous and writable, though nobody writes to it."""
    return np.require(column, kind, ["C", "W"])


def masks(allowed: Booleans) -> Booleans:
    """`[T, A]`, or `[1, A]` where one mask is broadcast over all rows."""
    return ready(allowed[:1] if allowed.strides[0] == 0 else allowed, np.bool_)


def what_follows(policy: Policy, batch: Batch, rows: Integers) -> Floats:
    """What a policy does after these K rows: probabilities of the next action, `[K, A]`."""
    if not len(rows):
        return np.empty((0, batch.next_allowed.shape[1]))
    return np.array(policy.distribution(batch.next_observation[rows], batch.next_allowed[rows]), np.float64)


def tables_of(state: Cells, *names: str) -> dict[str, Any]:
    """These arrays of the state, to be written to."""
    return {name: writable(getattr(state, name)) for name in names}


def learned(state: C, tables: dict[str, Any], batch: Batch, rows: Rows, errors: Floats) -> tuple[C, Metrics]:
    """The state with these tables, and the metrics; `errors`: target - value of each prediction."""
    largest = float(np.abs(tables["values"][rows.row, rows.action]).max(initial=0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float(np.square(errors).sum())
    if not math.isfinite(largest + squares):
        raise refused("reward", largest, "Values are no longer finite: scale the rewards down.")
    after = replace(
        state,
        **tables,
        rounds=state.rounds + int(np.count_nonzero(batch.discount == 0)),
        noise=blended(state.noise, squares, len(errors), state.updates),
        updates=state.updates + len(errors),
    )
    return after, {
        "td_error": float(np.abs(errors).sum()) / max(len(errors), 1),
        "largest_value": largest,
        "reward": float(batch.reward.sum()) / max(len(batch), 1),
        "updates": float(len(errors)),
        "rounds": float(after.rounds),
    }


def acting(state: Cells, exploration: Exploration | None) -> Policy:
    """Greedy on the values, or with a rule of exploration."""
    if exploration is not None:
        return Exploring(believed(state), exploration)
    row_of, values = row_finder(state.sizes, len(state.values)), state.values
    return ByValue(lambda observation: values.take(row_of(observation), 0), greedy)


def believed(state: Cells) -> Beliefs:
    """What the cells tell of every action."""
    return beliefs_of(state.values, state.visits, state.sizes, state.noise, state.rounds)


# ---------------------------------------------------------------------------------------------- inside compiled loops


def fast(sweep: Callable[P, R], *helpers: Callable[..., Any]) -> Callable[P, R]:
    """`sweep` compiled when it first runs, and with it the plain functions that it calls.

    The compiled form is kept, and made anew when a source changes (`bondhu.compiled`).
    """
    for helper in helpers:
        _within_reach(helper)
    return compiled(sweep)


@cache
def _within_reach(helper: Callable[..., Any]) -> None:
    from numba.extending import register_jitable

    register_jitable(helper)


def step_size(step: tuple[float, float], tries: int) -> float:
    """α / tries^power of `step` = (α, power)."""
    rate, power = step
    return rate if power == 0.0 else rate / tries**power


def expectation(probabilities: Floats, values: Floats) -> float:
    """Σ_a π(a)·Q(a): `[A]`, `[A]` to a number."""
    total = 0.0
    for action in range(len(values)):
        total += probabilities[action] * values[action]
    return total


def best_action(values: Floats, allowed: Booleans, t: int) -> int:
    """The first action of the highest value `[A]` among those that row t of the masks allows; -1 if it allows none."""
    mask, best = allowed[min(t, len(allowed) - 1)], -1
    for action in range(len(values)):
        if mask[action] and (best < 0 or values[action] > values[best]):
            best = action
    return best
