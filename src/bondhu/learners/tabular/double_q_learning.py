"""Double Q-learning on a table (van Hasselt 2010; Sutton & Barto 2018, section 6.7), incremental over batches.

The largest of several noisy values is too large on average. Here one table says which next action is best and the other
what it is worth; a coin for each row says which table moves. Acting looks at the mean of both. A cell takes 36 bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.learners._cells import (
    Cells,
    Rows,
    acting,
    believed,
    best_action,
    fast,
    learned,
    rows_of,
    step_size,
    tables_of,
    untouched,
)
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
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


@dataclass(frozen=True)
class Pair(Cells):
    """What was learned: `values` is the mean of two tables, `visits` the sum."""

    both: Annotated[Floats, PerAction(2)]  # [2, rows, A] Q of each table
    tries: Annotated[Integers, PerAction(2)]  # [2, rows, A] targets that stand behind each


@dataclass(frozen=True)
class DoubleQLearning:
    """Q₁(s, a) ← Q₁(s, a) + α·[r + γ·discount·Q₂(s', argmax_a' Q₁(s', a')) - Q₁(s, a)], or with 1 and 2 exchanged."""

    learning_rate: float = 0.1  # α, in (0, 1]
    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]
    initial_value: float = 0.0  # Q of what was never tried; above the likely returns it invites exploration
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.995, minimum=0.05)  # a round is a session that truly ended
    step_power: float = 0.0  # the step is α / tries^power: 0 constant, 1 the mean of what was seen
    dense_limit: int = 1_000_000  # states above which the table is hashed
    hashed_rows: int = 2**20  # rows of a hashed table; states that share a row share its values

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Pair]] = Pair
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy", "corridor", "cut", "trap", "maximisation_bias")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "step_power")
        require(self, 1, math.inf, "dense_limit", "hashed_rows")
        require(self, -math.inf, math.inf, "initial_value")

    def init(self, spec: Spec, rng: np.random.Generator) -> Pair:  # noqa: ARG002  # the tables start the same for all
        cells = untouched(spec, self.initial_value, self.dense_limit, self.hashed_rows)
        return Pair(**vars(cells), both=np.stack([cells.values] * 2), tries=np.stack([cells.visits] * 2))

    def update(self, state: Pair, batch: Batch, rng: np.random.Generator) -> tuple[Pair, Metrics]:
        rows, tables = rows_of(state, batch, self.discount), tables_of(state, "values", "visits", "both", "tries")
        run, step = fast(sweep, step_size, best_action), (self.learning_rate, self.step_power)
        errors = run(tuple(tables.values()), rows, rng.random(len(batch)) < 0.5, step)
        return learned(state, tables, batch, rows, errors)

    def policy(self, state: Pair, *, explore: bool = False) -> Policy:
        return acting(state, self.exploration if explore else None)

    def beliefs(self, state: Pair) -> Beliefs:
        return believed(state)


def sweep(tables: tuple[Array, ...], rows: Rows, heads: Booleans, step: tuple[float, float]) -> Floats:
    """One pass over T rows, in order, in place; returns δ of each, `[T]`. On `heads` the second table moves."""
    values, visits, both, tries = tables
    row, action, reward, discount, _, next_row, allowed = rows
    errors = np.empty(len(row))
    for t in range(len(row)):
        s, a, n = row[t], action[t], next_row[t]
        moving, judging = (both[1], both[0]) if heads[t] else (both[0], both[1])
        ahead = judging[n, best_action(moving[n], allowed, t)] if discount[t] > 0.0 else 0.0
        errors[t] = reward[t] + discount[t] * ahead - moving[s, a]
        tries[int(heads[t]), s, a] += 1
        visits[s, a] += 1
        moving[s, a] += step_size(step, tries[int(heads[t]), s, a]) * errors[t]
        values[s, a] = 0.5 * (both[0, s, a] + both[1, s, a])
    return errors
