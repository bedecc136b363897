"""Dyna-Q: Q-learning that goes over what it remembers after every decision (Sutton 1990; Sutton & Barto 2018, 8.2).

The model is the last outcomes of each action in each state; `planning` simulated updates follow each real one, drawn
from what was visited. With `curiosity` it is Dyna-Q+ (section 8.3): planning adds κ·√τ to the reward of what was not
tried for τ decisions, and looks at all actions of the states it visited; one never tried leads back for nothing. That
wants an update every few decisions: within a batch the policy stays, and with it where its curiosity leads.

Metrics: `td_error` mean |δ| of real updates; `largest_value` the largest |Q| of the cells of this batch; `reward` mean
reward of a decision; `updates` real ones; `simulated` the others; `rounds` sessions that truly ended.
Memory: 21 bytes for each state and action and 12 for each outcome it may remember; tables are never hashed. An update
costs `planning` look-ups a row, and one pass over the table to find what was visited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

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
)
from bondhu.learners._model import dense_shape, note_masks
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.types import Batch, Beliefs, Booleans, Exploration, Floats, Integers, Metrics, PerAction, Policy, Spec

DRAWS = 1 << 20  # uniform numbers drawn at a time: 8 MB
ENDED = -1  # in the place of a state that follows


@dataclass(frozen=True)
class Remembered(Cells):
    """Values, and the last outcomes of each cell: outcome number n lies in place n modulo B."""

    reward: Annotated[Floats, PerAction(1)]  # [rows, A, B]
    following: Annotated[Integers, PerAction(1)]  # [rows, A, B] row of the state that followed, or ENDED
    allowed: Annotated[Booleans, PerAction(1)]  # [rows, A] as the state was seen last; all, where it never was
    last: Annotated[Integers, PerAction(1)]  # [rows, A] number of the decision of the last try


@dataclass(frozen=True)
class DynaQ:
    """Q(s, a) ← Q(s, a) + α·[r + κ·√τ + γ·discount·max_a' Q(s', a') - Q(s, a)], of what happens and what did before."""

    learning_rate: float = 0.1  # α, in (0, 1]
    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]
    initial_value: float = 0.0  # Q of what was never tried; above the likely returns it invites exploration
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.995, minimum=0.05)  # a round is a session that truly ended
    step_power: float = 0.0  # the step is α / tries^power, where a simulated try does not count
    planning: int = 10  # simulated updates after each decision
    remembered: int = 1  # last outcomes of each action in each state that are drawn from; more where chance plays
    curiosity: float = 0.0  # κ: planning adds κ·√τ to the reward of what was not tried for τ decisions (Dyna-Q+)
    largest_table: int = 10_000_000  # states times actions above which the table is refused

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Remembered]] = Remembered
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "corridor", "cut", "trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "step_power")
        require(self, 0.0, math.inf, "planning", "curiosity")
        require(self, 1, math.inf, "remembered", "largest_table")
        require(self, -math.inf, math.inf, "initial_value")

    def init(self, spec: Spec, rng: np.random.Generator) -> Remembered:  # noqa: ARG002  # it starts the same for all
        sizes, *shape = dense_shape(spec, self.largest_table)
        return Remembered(
            values=np.full(shape, self.initial_value),
            visits=np.zeros(shape, np.int32),
            sizes=sizes,
            rounds=0,
            noise=1.0,
            updates=0,
            reward=np.zeros((*shape, self.remembered)),
            following=np.full((*shape, self.remembered), ENDED, np.int32),
            allowed=np.ones(shape, np.bool_),
            last=np.zeros(shape, np.int64),
        )

    def update(self, state: Remembered, batch: Batch, rng: np.random.Generator) -> tuple[Remembered, Metrics]:
        rows, tables = rows_of(state, batch, self.discount), tables_of(state, *Memory._fields)
        memory, errors = Memory(**tables), np.zeros(len(batch))
        note_masks(memory.allowed, rows.row, rows.next_row, batch)
        tried = np.flatnonzero(memory.visits.any(axis=1) if self.curiosity else memory.visits)
        visited, count = np.concatenate([tried, np.empty(len(batch), np.int64)]), len(tried)
        run = fast(sweep, step_size, best_action, remember, imagine, move)
        step = Step((self.learning_rate, self.step_power), self.discount, self.curiosity)
        chunk = max(DRAWS // max(self.planning, 1), 1)
        for start in range(0, len(batch), chunk):
            uniform = rng.random((min(chunk, len(batch) - start), self.planning))
            count = run(memory, rows, errors, (visited, count), (start, state.updates, uniform), step)
        after, metrics = learned(state, tables, batch, rows, errors)
        return after, {**metrics, "simulated": float(len(batch) * self.planning)}

    def policy(self, state: Remembered, *, explore: bool = False) -> Policy:
        return acting(state, self.exploration if explore else None)

    def beliefs(self, state: Remembered) -> Beliefs:
        return believed(state)


# -------------------------------------------------------------------------- plain Python, compiled when it is first run


class Memory(NamedTuple):
    """The arrays of the state that an update writes to."""

    values: Floats
    visits: Integers
    reward: Floats
    following: Integers
    allowed: Booleans
    last: Integers


class Step(NamedTuple):
    """How an update is made."""

    size: tuple[float, float]  # α and the power of the tries by which it falls
    factor: float  # γ
    curiosity: float  # κ


def sweep(
    memory: Memory,
    rows: Rows,
    errors: Floats,
    visited: tuple[Integers, int],
    draws: tuple[int, int, Floats],
    step: Step,
) -> int:
    """K real updates and P simulated ones after each, in order, in place; δ of the real ones goes to `errors [T]`.

    `visited`: where to draw from, cells or with curiosity states, and how many; returns how many there are then.
    `draws`: the first row, the decisions before the batch, and uniform numbers `[K, P]`.
    """
    (places, count), (start, before, uniform) = visited, draws
    values, visits, actions = memory.values, memory.visits, memory.values.shape[1]
    for t in range(start, start + len(uniform)):
        s, a, n = rows.row[t], rows.action[t], rows.next_row[t]
        new = not visits[s].any() if step.curiosity > 0.0 else visits[s, a] == 0
        if new:
            places[count] = s if step.curiosity > 0.0 else s * actions + a
            count += 1
        target = rows.reward[t]
        if rows.discount[t] > 0.0:
            target += rows.discount[t] * values[n, best_action(values[n], rows.next_allowed, t)]
        remember(memory, rows, t, before + t)
        errors[t] = move(memory, s, a, target, step)
        for uniform_number in uniform[t - start]:
            imagine(memory, places, uniform_number * count, before + t, step)
    return count


def remember(memory: Memory, rows: Rows, t: int, now: int) -> None:
    """Row t in the place of the oldest outcome of its cell."""
    s, a = rows.row[t], rows.action[t]
    place = memory.visits[s, a] % memory.reward.shape[2]
    memory.reward[s, a, place] = rows.reward[t]
    memory.following[s, a, place] = rows.next_row[t] if rows.discount[t] > 0.0 else ENDED
    memory.visits[s, a] += 1
    memory.last[s, a] = now


def imagine(memory: Memory, places: Integers, drawn: float, now: int, step: Step) -> None:
    """One simulated update: the whole part of `drawn` says where, its fraction which action or outcome of it."""
    number = int(drawn)
    share, s = drawn - number, places[number]
    if step.curiosity > 0.0:
        share *= memory.values.shape[1]
        a = int(share)
        share -= a
    else:
        s, a = s // memory.values.shape[1], s % memory.values.shape[1]
    tries, target, n = memory.visits[s, a], 0.0, s  # what was never tried leads back for nothing
    if tries > 0:
        outcome = int(share * min(tries, memory.reward.shape[2]))
        target, n = memory.reward[s, a, outcome], memory.following[s, a, outcome]
    if n != ENDED:
        target += step.factor * memory.values[n, best_action(memory.values[n], memory.allowed, n)]
    if step.curiosity > 0.0:
        target += step.curiosity * math.sqrt(now - memory.last[s, a])
    if memory.allowed[s, a]:
        move(memory, s, a, target, step)


def move(memory: Memory, s: int, a: int, target: float, step: Step) -> float:
    """Q(s, a) ← Q(s, a) + α·δ; returns δ."""
    error: float = target - memory.values[s, a]
    memory.values[s, a] += step_size(step.size, max(memory.visits[s, a], 1)) * error
    return error
