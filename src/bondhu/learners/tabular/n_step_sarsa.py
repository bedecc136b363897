"""n-step Sarsa on a table (Sutton & Barto 2018, section 7.2), incremental over batches of decisions; on-policy.

The sum of rewards stops where the session ends, and after a true end nothing is added. Where a session was cut, or the
batch stops, fewer than n rewards are summed, and Q after the last of them is its mean over the policy that explores, as
it stood before the batch. A decision costs n steps.
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
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.types import Batch, Beliefs, Exploration, Floats, Integers, Metrics, Policy, Spec


@dataclass(frozen=True)
class NStepSarsa:
    """Q(s, a) ← Q(s, a) + α·[r_1 + γ·r_2 + … + γ^(n-1)·r_n + γ^n·Q(s_n, a_n) - Q(s, a)], row after row in order."""

    n: int = 4  # rewards that are summed before looking ahead; 1 is Sarsa, as many as a session has is Monte Carlo
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
        require(self, 1, math.inf, "n", "dense_limit", "hashed_rows")
        require(self, -math.inf, math.inf, "initial_value")

    def init(self, spec: Spec, rng: np.random.Generator) -> Cells:  # noqa: ARG002  # the table starts the same for all
        return untouched(spec, self.initial_value, self.dense_limit, self.hashed_rows)

    def update(self, state: Cells, batch: Batch, rng: np.random.Generator) -> tuple[Cells, Metrics]:  # noqa: ARG002
        rows, tables = rows_of(state, batch, self.discount), tables_of(state, "values", "visits")
        unseen = what_follows(self.policy(state, explore=True), batch, rows.cuts)
        run, step = fast(sweep, step_size, expectation), (self.learning_rate, self.step_power)
        errors = run(tables["values"], tables["visits"], rows, unseen, self.n, step)
        return learned(state, tables, batch, rows, errors)

    def policy(self, state: Cells, *, explore: bool = False) -> Policy:
        return acting(state, self.exploration if explore else None)

    def beliefs(self, state: Cells) -> Beliefs:
        return believed(state)


def sweep(values: Floats, visits: Integers, rows: Rows, unseen: Floats, n: int, step: tuple[float, float]) -> Floats:
    """One pass over T rows, in order, in place; returns target - value of each, `[T]`.

    `unseen`: probabilities of the next action after each of the K cuts, `[K, A]`. All rows of a session look at the
    same cut, the one that stops it.
    """
    row, action, reward, discount, linked, next_row, _ = rows
    errors, cut = np.empty(len(row)), 0
    for t in range(len(row)):
        s, a, ahead = row[t], action[t], 0.0
        total, weight, last = reward[t], discount[t], t
        while linked[last] and last - t < n - 1:
            last += 1
            total += weight * reward[last]
            weight *= discount[last]
        if linked[last]:
            ahead = values[row[last + 1], action[last + 1]]
        elif discount[last] > 0.0:
            ahead = expectation(unseen[cut], values[next_row[last]])
        cut += discount[t] > 0.0 and not linked[t]
        errors[t] = total + weight * ahead - values[s, a]
        visits[s, a] += 1
        values[s, a] += step_size(step, visits[s, a]) * errors[t]
    return errors
