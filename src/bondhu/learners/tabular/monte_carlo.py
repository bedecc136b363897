"""Monte-Carlo control on a table (Sutton & Barto 2018, sections 5.4 to 5.7), incremental over batches of decisions.

On-policy, the targets are the returns of the policy that acted. Off-policy, each return is weighted by how much more
likely the greedy policy was to act so than the policy that did, which `batch.probability` tells; a session counts from
its last action that the greedy policy would not take.

Where a session was cut, or the batch stops, nobody saw the rest of the return. There the value of the next state stands
for it: the mean of Q over the policy that explores (off-policy: over the greedy one), as it stood before the batch. To
leave such sessions out instead would favour the short ones. A cell takes 20 bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.errors import InvalidInput
from bondhu.learners._cells import (
    Cells,
    Rows,
    acting,
    believed,
    best_action,
    expectation,
    fast,
    learned,
    masks,
    ready,
    rows_of,
    tables_of,
    untouched,
    what_follows,
)
from bondhu.learners._table import refused
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

HEAVIEST = 1e12  # no return weighs more: weights grow with the length of a session, and must stay numbers


@dataclass(frozen=True)
class Returns(Cells):
    """What was learned; `visits` counts the returns behind each value."""

    weights: Annotated[Floats, PerAction(1)]  # [rows, A] sum of the weights of these returns; on-policy each weighs 1


@dataclass(frozen=True)
class MonteCarlo:
    """Q(s, a) is the mean of the returns r_1 + γ·r_2 + γ²·r_3 + … of the sessions that passed there."""

    first_visit: bool = True  # a session counts once for a cell, from its first visit; otherwise for each visit
    off_policy: bool = False  # learn of the greedy policy from what another did; otherwise of the policy that acted
    learning_rate: float = 1.0  # α, in (0, 1]
    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]
    initial_value: float = 0.0  # Q of what was never tried; above the likely returns it invites exploration
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.995, minimum=0.05)  # a round is a session that truly ended
    step_power: float = 1.0  # the step is α / tries^power: 0 constant, 1 the mean of what was seen
    dense_limit: int = 1_000_000  # states above which the table is hashed
    hashed_rows: int = 2**20  # rows of a hashed table; states that share a row share its values

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Returns]] = Returns
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy", "corridor", "cut", "trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "step_power")
        require(self, 1, math.inf, "dense_limit", "hashed_rows")
        require(self, -math.inf, math.inf, "initial_value")
        if self.off_policy and self.step_power != 1.0:
            fix = "Off-policy the step is weight / sum of weights: leave it at 1."
            raise InvalidInput(
                f"'step_power' got {self.step_power!r}.", field="step_power", value=self.step_power, fix=fix
            )

    def init(self, spec: Spec, rng: np.random.Generator) -> Returns:  # noqa: ARG002  # the table starts the same for all
        cells = untouched(spec, self.initial_value, self.dense_limit, self.hashed_rows)
        return Returns(**vars(cells), weights=np.zeros(cells.values.shape))

    def update(self, state: Returns, batch: Batch, rng: np.random.Generator) -> tuple[Returns, Metrics]:  # noqa: ARG002
        rows, acted = rows_of(state, batch, self.discount), as_acted(batch, self.off_policy)
        counted = first_visits(rows, *state.values.shape) if self.first_visit else np.ones(len(batch), np.bool_)
        unseen = what_follows(self.policy(state, explore=not self.off_policy), batch, rows.cuts)
        tables, step = tables_of(state, "values", "visits", "weights"), (self.learning_rate, self.step_power)
        run = fast(sweep, best_action, expectation, greedy_share)
        errors = run(tuple(tables.values()), rows, counted, acted, unseen, step)
        return learned(state, tables, batch, rows, errors)

    def policy(self, state: Returns, *, explore: bool = False) -> Policy:
        return acting(state, self.exploration if explore else None)

    def beliefs(self, state: Returns) -> Beliefs:
        return believed(state)


def as_acted(batch: Batch, off_policy: bool) -> tuple[Floats, Booleans]:
    """The probability of each logged action, `[T]`, and the masks it was chosen under; on-policy there are none."""
    if not off_policy:
        return np.empty(0), np.empty((0, batch.allowed.shape[1]), np.bool_)
    possible = (batch.probability > 0) & (batch.probability <= 1 + 1e-9)
    if not possible.all():
        row = int(possible.argmin())
        raise refused("probability", batch.probability[row], f"Row {row} needs a number above 0, up to 1.")
    return ready(batch.probability, np.float64), masks(batch.allowed)


def first_visits(rows: Rows, states: int, actions: int) -> Booleans:
    """Whether a row is the first of its session with this state and action: `[T]`."""
    session: Integers = np.cumsum(~rows.linked) - ~rows.linked
    first = np.zeros(len(session), np.bool_)
    first[np.unique((session * states + rows.row) * actions + rows.action, return_index=True)[1]] = True
    return first


def sweep(
    tables: tuple[Array, ...],
    rows: Rows,
    counted: Booleans,
    acted: tuple[Floats, Booleans],
    unseen: Floats,
    step: tuple[float, float],
) -> Floats:
    """One session after the other, each from its last row to its first, in place: return - value where it was compared.

    `unseen`: probabilities of the next action after each of the K cuts, `[K, A]`. `acted` is empty on-policy.
    """
    values, visits, weights = tables
    row, action, reward, discount, linked, next_row, _ = rows
    probability, allowed = acted
    errors, compared, cut, start = np.empty(len(row)), 0, 0, 0
    for end in range(len(row)):
        if linked[end]:
            continue
        total, weight = 0.0, 1.0
        if discount[end] > 0.0:
            total = expectation(unseen[cut], values[next_row[end]])
            cut += 1
        for t in range(end, start - 1, -1):
            s, a = row[t], action[t]
            total = reward[t] + discount[t] * total
            if counted[t]:
                errors[compared] = total - values[s, a]
                visits[s, a] += 1
                weights[s, a] += weight
                values[s, a] += step[0] * (weight / weights[s, a]) ** step[1] * errors[compared]
                compared += 1
            if len(probability):
                weight = min(weight * greedy_share(values[s], allowed, t, a) / probability[t], HEAVIEST)
                if weight == 0.0:
                    break
        start = end + 1
    return errors[:compared]


def greedy_share(values: Floats, allowed: Booleans, t: int, action: int) -> float:
    """π(action) of the greedy policy, equal values taken equally often: `[A]` values and the masks to a number."""
    mask, best, equals = allowed[min(t, len(allowed) - 1)], values[best_action(values, allowed, t)], 0
    if not mask[action] or values[action] < best:
        return 0.0
    for each in range(len(values)):
        equals += mask[each] and values[each] == best
    return 1.0 / equals
