"""Expected Sarsa on a table (van Seijen et al. 2009; Sutton & Barto 2018, section 6.6), incremental over batches.

π is the learner's own policy, exploration included, by whatever rule it explores and whoever acted in the log. It is
asked again every 1,024 rows, so that within a long log it keeps up with the values that it leads to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.types import Batch, Beliefs, Exploration, Floats, Integers, Metrics, Policy, Spec

BLOCK = 1_024  # rows between asking the policy again


@dataclass(frozen=True)
class ExpectedSarsa:
    """Q(s, a) ← Q(s, a) + α·[r + γ·discount·Σ_a' π(a'|s')·Q(s', a') - Q(s, a)], row after row in time order."""

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
        require(self, 0.0, 1.0, "learning_rate", "discount", "step_power")
        require(self, 1, math.inf, "dense_limit", "hashed_rows")
        require(self, -math.inf, math.inf, "initial_value")

    def init(self, spec: Spec, rng: np.random.Generator) -> Cells:  # noqa: ARG002  # the table starts the same for all
        return untouched(spec, self.initial_value, self.dense_limit, self.hashed_rows)

    def update(self, state: Cells, batch: Batch, rng: np.random.Generator) -> tuple[Cells, Metrics]:  # noqa: ARG002
        rows, tables = rows_of(state, batch, self.discount), tables_of(state, "values", "visits")
        exploring = self.policy(replace(state, **tables), explore=True)  # it sees the values change
        run, step = fast(sweep, step_size, expectation), (self.learning_rate, self.step_power)
        errors, going_on = np.empty(len(batch)), rows.going_on
        for start in range(0, len(batch), BLOCK):
            stop = min(start + BLOCK, len(batch))
            first, last = np.searchsorted(going_on, (start, stop))
            following = what_follows(exploring, batch, going_on[first:last])
            errors[start:stop] = run(tables["values"], tables["visits"], rows, (start, stop), following, step)
        return learned(state, tables, batch, rows, errors)

    def policy(self, state: Cells, *, explore: bool = False) -> Policy:
        return acting(state, self.exploration if explore else None)

    def beliefs(self, state: Cells) -> Beliefs:
        return believed(state)


def sweep(
    values: Floats, visits: Integers, rows: Rows, block: tuple[int, int], following: Floats, step: tuple[float, float]
) -> Floats:
    """One pass over the rows of a block, in order, in place; returns δ of each.

    `following`: π of the next state, `[K, A]`, for each of the K rows of the block that something follows.
    """
    row, action, reward, discount, _, next_row, _ = rows
    start, stop = block
    errors, k = np.empty(stop - start), 0
    for t in range(start, stop):
        s, a, ahead = row[t], action[t], 0.0
        if discount[t] > 0.0:
            ahead = expectation(following[k], values[next_row[t]])
            k += 1
        error = reward[t] + discount[t] * ahead - values[s, a]
        visits[s, a] += 1
        values[s, a] += step_size(step, visits[s, a]) * error
        errors[t - start] = error
    return errors
