"""Watkins's Q(λ) on a table (Watkins 1989; Sutton & Barto 2018, section 12.10), incremental over batches of decisions.

Each error reaches back to the cells that the session has passed, fading by γλ a step, but not past an action that the
values did not call for when its row came up: what follows such an action says nothing of the best one. Actions of equal
value are all called for. Traces stop where a session stops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

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
from bondhu.learners._traces import KINDS, Traces, credit, follow, require_kind
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.types import Batch, Beliefs, Exploration, Floats, Integers, Metrics, Policy, Spec


@dataclass(frozen=True)
class QLambda:
    """δ = r + γ·discount·max_a' Q(s', a') - Q(s, a), then Q ← Q + α·δ·e for the trace e of each cell; a' is allowed."""

    trace_decay: float = 0.8  # λ, in [0, 1]: 0 is Q-learning
    trace: str = "replacing"  # what a second visit does: "replacing", "accumulating" or "dutch"
    learning_rate: float = 0.1  # α, in (0, 1]
    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]
    initial_value: float = 0.0  # Q of what was never tried; above the likely returns it invites exploration
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.995, minimum=0.05)  # a round is a session that truly ended
    step_power: float = 0.0  # the step is α / tries^power: 0 constant, 1 the mean of what was seen
    dense_limit: int = 1_000_000  # states above which the table is hashed
    hashed_rows: int = 2**20  # rows of a hashed table; states that share a row share its values

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Cells]] = Cells
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy", "corridor", "cut", "trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "step_power", "trace_decay")
        require(self, 1, math.inf, "dense_limit", "hashed_rows")
        require(self, -math.inf, math.inf, "initial_value")
        require_kind(self)

    def init(self, spec: Spec, rng: np.random.Generator) -> Cells:  # noqa: ARG002  # the table starts the same for all
        return untouched(spec, self.initial_value, self.dense_limit, self.hashed_rows)

    def update(self, state: Cells, batch: Batch, rng: np.random.Generator) -> tuple[Cells, Metrics]:  # noqa: ARG002
        rows, tables = rows_of(state, batch, self.discount), tables_of(state, "values", "visits")
        step = (self.learning_rate, self.step_power, self.trace_decay, *KINDS[self.trace])
        run, traces = fast(sweep, step_size, best_action, follow, credit), Traces.room_for(len(batch))
        errors = run(tables["values"], tables["visits"], traces, rows, step)
        return learned(state, tables, batch, rows, errors)

    def policy(self, state: Cells, *, explore: bool = False) -> Policy:
        return acting(state, self.exploration if explore else None)

    def beliefs(self, state: Cells) -> Beliefs:
        return believed(state)


def sweep(values: Floats, visits: Integers, traces: Traces, rows: Rows, step: tuple[float, ...]) -> Floats:
    """One pass over T rows, in order, in place; returns δ of each, `[T]`.

    `step`: α, the power, λ, and what a trace keeps.
    """
    row, action, reward, discount, linked, next_row, allowed = rows
    rate, power, decay, keep, less = step
    errors, length = np.empty(len(row)), 0
    for t in range(len(row)):
        s, a, n = row[t], action[t], next_row[t]
        if t == 0 or not linked[t - 1] or values[s, a] < values[s, best_action(values[s], allowed, t - 1)]:
            length = 0  # a new session, or an action that the values did not call for
        ahead = values[n, best_action(values[n], allowed, t)] if discount[t] > 0.0 else 0.0
        errors[t] = reward[t] + discount[t] * ahead - values[s, a]
        visits[s, a] += 1
        fade, kept = discount[t - 1] * decay, keep - less * step_size((rate, power), visits[s, a])
        length = follow(traces, length, (s, a), fade, kept)
        credit(values, visits, traces, length, (rate, power), errors[t])
    return errors
