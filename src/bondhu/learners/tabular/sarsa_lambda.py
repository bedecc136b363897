"""Sarsa(λ) on a table (Rummery & Niranjan 1994; Sutton & Barto 2018, section 12.7), incremental over batches.

On-policy: each error reaches back to all cells that the session has passed, fading by γλ a step, and no further.
Where it was cut, or the batch stops, nobody saw a next action: there Q(s', a') is its mean over the policy that
explores, as it stood before the batch.
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
    expectation,
    fast,
    learned,
    rows_of,
    step_size,
    tables_of,
    untouched,
    what_follows,
)
from bondhu.learners._traces import KINDS, Traces, credit, follow, require_kind
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.types import Batch, Beliefs, Exploration, Floats, Integers, Metrics, Policy, Spec


@dataclass(frozen=True)
class SarsaLambda:
    """δ = r + γ·discount·Q(s', a') - Q(s, a), then Q ← Q + α·δ·e for the trace e of each cell; a' was done next."""

    trace_decay: float = 0.8  # λ, in [0, 1]: 0 is Sarsa, 1 passes each error on to all of the session so far
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
        unseen = what_follows(self.policy(state, explore=True), batch, rows.cuts)
        step = (self.learning_rate, self.step_power, self.trace_decay, *KINDS[self.trace])
        run, traces = fast(sweep, step_size, expectation, follow, credit), Traces.room_for(len(batch))
        errors = run(tables["values"], tables["visits"], traces, rows, unseen, step)
        return learned(state, tables, batch, rows, errors)

    def policy(self, state: Cells, *, explore: bool = False) -> Policy:
        return acting(state, self.exploration if explore else None)

    def beliefs(self, state: Cells) -> Beliefs:
        return believed(state)


def sweep(
    values: Floats, visits: Integers, traces: Traces, rows: Rows, unseen: Floats, step: tuple[float, ...]
) -> Floats:
    """One pass over T rows, in order, in place; returns δ of each, `[T]`.

    `unseen`: probabilities of the next action after each of the K cuts, `[K, A]`. `step`: α, the power, λ, and what
    a trace keeps.
    """
    row, action, reward, discount, linked, next_row, _ = rows
    rate, power, decay, keep, less = step
    errors, cut, length = np.empty(len(row)), 0, 0
    for t in range(len(row)):
        s, a, ahead = row[t], action[t], 0.0
        if linked[t]:
            ahead = values[row[t + 1], action[t + 1]]
        elif discount[t] > 0.0:
            ahead = expectation(unseen[cut], values[next_row[t]])
            cut += 1
        errors[t] = reward[t] + discount[t] * ahead - values[s, a]
        visits[s, a] += 1
        if t == 0 or not linked[t - 1]:
            length = 0  # a new session
        fade, kept = discount[t - 1] * decay, keep - less * step_size((rate, power), visits[s, a])
        length = follow(traces, length, (s, a), fade, kept)
        credit(values, visits, traces, length, (rate, power), errors[t])
    return errors
