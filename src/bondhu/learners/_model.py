"""The model that planners keep of what was seen: how often each action was tried in each state, what it earned on the
average, and what followed how often.

Memory: 21 bytes for each state and action (tables are never hashed), 12 for each outcome that was ever seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import numpy as np

from bondhu.compiled import compiled
from bondhu.equations.planning import Outcomes, lowest_return
from bondhu.learners._table import UNTRIED, blended, check, refused, row_finder, shape_of, writable
from bondhu.types import Array, Batch, Belief, Beliefs, Booleans, Floats, Integers, Metrics, PerAction, Spec


@dataclass(frozen=True)
class Model:
    """What was seen, and the plan made of it. A row is a state."""

    values: Annotated[Floats, PerAction(1)]  # [rows, A] Q of what was tried, as planned last
    tries: Annotated[Integers, PerAction(1)]  # [rows, A]
    reward: Annotated[Floats, PerAction(1)]  # [rows, A] mean
    allowed: Annotated[Booleans, PerAction(1)]  # [rows, A] as the state was seen last; all, where it never was
    known: Annotated[Integers, PerAction(0)]  # [A] the number by which `outcome` knows an action; -1: it does not yet
    outcome: (
        Integers  # [K] (row·known actions + action)·rows + next row of what was seen to follow, once each, ascending
    )
    count: Integers  # [K] how often
    actions: int  # how many numbers `outcome` counts with
    sizes: Integers  # [F] codes of each observation column
    unknown: float  # what counts as the value of an action that was tried too little
    lowest: float  # the lowest reward seen, at most 0
    rounds: int  # sessions that truly ended; what exploration counts
    noise: float  # mean squared error of a prediction
    updates: int  # rows learned from


def dense_shape(spec: Spec, largest_table: int) -> tuple[Integers, int, int]:
    """Codes of each observation column, `[F]`, and states and actions, of a table that is not hashed; refuses one of
    more than `largest_table` states times actions."""
    sizes, rows, actions = shape_of(spec, dense_limit=largest_table, hashed_rows=largest_table + 1)
    if rows * actions > largest_table:
        fix = f"A model of {math.prod(sizes.tolist()):,} states x {actions} actions is larger than `largest_table`: "
        raise refused("observation", spec.observation, fix + "use fewer codes, or tabular.q_learning, which hashes.")
    return sizes, rows, actions


def note_masks(allowed: Booleans, row: Integers, following: Integers, batch: Batch) -> None:
    """Write down what is allowed in each state `[rows, A]` as these rows show it; what comes last stays."""
    going_on = batch.discount > 0
    for rows, masks in ((row, batch.allowed), (following[going_on], batch.next_allowed[going_on])):
        possible = masks.any(axis=1)  # a mask that allows nothing says nothing
        allowed[rows[possible]] = masks[possible]


def blank(spec: Spec, unknown: float, largest_table: int) -> Model:
    """Nothing was seen yet."""
    sizes, *shape = dense_shape(spec, largest_table)
    return Model(
        values=np.full(shape, unknown),
        tries=np.zeros(shape, np.int32),
        reward=np.zeros(shape),
        allowed=np.ones(shape, np.bool_),
        known=np.full(shape[1], -1),
        outcome=np.empty(0, np.int64),
        count=np.empty(0, np.int32),
        actions=shape[1],
        sizes=sizes,
        unknown=unknown,
        lowest=0.0,
        rounds=0,
        noise=1.0,
        updates=0,
    )


def seen(state: Model, batch: Batch) -> Model:
    """The model after these rows; its plan is still the old one. Nothing is written where a row is refused."""
    check(batch, state.sizes, state.tries.shape[1])
    state = _renumbered(state)
    tries, reward, allowed = (writable(each) for each in (state.tries, state.reward, state.allowed))
    row, following, going_on = *rows_of(state, batch), batch.discount > 0
    compiled(tally)(tries, reward, (row, batch.action.astype(np.int64), batch.reward.astype(np.float64)))
    note_masks(allowed, row, following, batch)
    cell = row[going_on] * state.actions + batch.action[going_on]
    outcome, count = _merged(state, cell * len(tries) + following[going_on])
    return replace(
        state,
        tries=tries,
        reward=reward,
        allowed=allowed,
        outcome=outcome,
        count=count,
        lowest=float(batch.reward.min(initial=state.lowest)),
        rounds=state.rounds + len(batch) - int(np.count_nonzero(going_on)),
        updates=state.updates + len(batch),
    )


def tally(tries: Integers, mean: Floats, rows: tuple[Integers, Integers, Floats]) -> None:
    """Tries and mean rewards `[rows, A]` with T more, in place. Plain Python, to be compiled."""
    row, action, reward = rows
    for t in range(len(row)):
        s, a = row[t], action[t]
        tries[s, a] += 1
        mean[s, a] += (reward[t] - mean[s, a]) / tries[s, a]


class Caution(NamedTuple):
    """How a planner takes what it knows little of."""

    known_after: int  # tries that make an action known; 0: one does, and an action without counts as the worst return
    initial_value: float  # worth of what is not known, where known_after > 0
    support: float  # share of a state's tries below which an action is not known either
    pessimism: float  # what a value is lowered by, times √(tries + sharing)
    sharing: float = 0.0  # tries that the mean of the state's actions counts as, in the estimate of each

    def known(self, tries: Integers) -> Booleans:
        """Which actions are: `[T, A] -> [T, A]`, from the tries of each in the state."""
        enough = tries >= max(self.known_after, 1)
        return enough if self.support == 0 else enough & (tries >= self.support * tries.sum(axis=1, keepdims=True))


class Plan(NamedTuple):
    """What a planner solves: `best` and `values` are changed in place, the rest stays."""

    outcomes: Outcomes  # of the cells that are known
    best: Floats  # [rows] value of each state, from where to go on
    values: Floats  # [C] value of each cell
    known: Booleans  # [rows, A]
    floor: float  # no return is lower
    unknown: float  # what counts as the value of what is not known


def plan_of(state: Model, factor: float, caution: Caution) -> Plan:
    """Where planning starts. γ < 1: from the values planned last. γ = 1: from below, for a loop that earns nothing
    would keep up any value that is too high."""
    known = caution.known(state.tries)
    floor = lowest_return(state.lowest, int(np.count_nonzero(known.any(axis=1))) + 1, factor)
    unknown = caution.initial_value if caution.known_after else floor
    outcomes = _outcomes(state, known, caution, unknown)
    best, rows = np.full(len(known), unknown), outcomes.state
    best[rows] = np.where(state.allowed[rows], state.values[rows], -np.inf).max(axis=1) if factor < 1.0 else floor
    return Plan(outcomes, best, np.full(len(outcomes.tries), floor), known, floor, unknown)


def _outcomes(state: Model, known: Booleans, caution: Caution, unknown: float) -> Outcomes:
    """What is known, as planning reads it."""
    row, action = np.nonzero(known)
    tries, allowed = state.tries[row, action].astype(np.float64), state.allowed[row, action]
    rows, cells = np.unique(row, return_index=True)
    options = np.add.reduceat(allowed, cells, dtype=np.int64) if len(rows) else cells
    rest = np.where(np.count_nonzero(state.allowed[rows], axis=1) > options, unknown, -np.inf)
    cell, following = np.divmod(state.outcome, len(known))
    kept = known[np.divmod(cell, state.actions)]
    place = np.searchsorted(row * state.actions + action, cell[kept])
    return Outcomes(
        state=rows,
        cells=np.append(cells, len(row)),
        allowed=allowed,
        rest=rest,
        tries=tries,
        reward=state.reward[row, action],
        penalty=caution.pessimism / np.sqrt(tries + caution.sharing),
        first=np.searchsorted(place, np.arange(len(row) + 1)),
        following=following[kept],
        chance=state.count[kept] / tries[place],
    )


def written(state: Model, batch: Batch, plan: Plan, factor: float) -> tuple[Model, Metrics]:
    """The model with what was planned, and how far the batch is from it."""
    largest = float(np.abs(plan.values).max(initial=0.0))
    if not math.isfinite(largest):
        raise refused("reward", largest, "Values are no longer finite: scale the rewards down.")
    table = writable(state.values)
    table[plan.known] = plan.values
    row, following = rows_of(state, batch)
    seen_next = np.where(batch.discount > 0, plan.best[following], 0.0)
    error = (batch.reward + factor * seen_next - table[row, batch.action])[plan.known[row, batch.action]]
    noise = blended(state.noise, float(error @ error), len(error), state.updates - len(batch))
    return replace(state, values=table, unknown=plan.unknown, noise=noise), {
        "td_error": float(np.abs(error).sum()) / max(len(error), 1),
        "largest_value": largest,
        "reward": float(batch.reward.mean()),
        "states": float(len(plan.outcomes.state)),
        "cells": float(len(plan.values)),
        "outcomes": float(len(state.outcome)),
        "rounds": float(state.rounds),
    }


def values_of(state: Model, caution: Caution) -> Callable[[Array], Floats]:
    """Observations `[T, F]` to planned values `[T, A]`."""
    row_of = row_finder(state.sizes, len(state.values))

    def planned(observation: Array) -> Floats:
        row = row_of(observation)
        return np.where(caution.known(state.tries.take(row, 0)), state.values.take(row, 0), state.unknown)

    return planned


def beliefs_of(state: Model, caution: Caution) -> Beliefs:
    """Planned values with the error σ / √tries, where σ² = `noise`."""
    row_of, deviation = row_finder(state.sizes, len(state.values)), math.sqrt(state.noise)
    planned = values_of(state, caution)

    def believed(observation: Array) -> Belief:
        tries = state.tries.take(row_of(observation), 0).astype(np.float64)
        return Belief(planned(observation), deviation / np.sqrt(np.maximum(tries, UNTRIED)), tries, state.rounds)

    return believed


def rows_of(state: Model, batch: Batch) -> tuple[Integers, Integers]:
    """Table rows of the states and of the states that follow, `[T]` each."""
    row_of = row_finder(state.sizes, len(state.tries))
    return row_of(batch.observation), row_of(batch.next_observation)


def _merged(state: Model, keys: Integers) -> tuple[Integers, Integers]:
    """Outcomes and their counts with these added: `[K]` each, K grown by the new ones."""
    new, times = np.unique(keys, return_counts=True)
    place = np.searchsorted(state.outcome, new)
    old = np.searchsorted(state.outcome, new, side="right") > place
    count = writable(state.count)
    count[place[old]] += times[old].astype(np.int32)
    return np.insert(state.outcome, place[~old], new[~old]), np.insert(count, place[~old], times[~old])


def _renumbered(state: Model) -> Model:
    """The model with outcomes numbered by where the actions stand now; those of actions that are gone are dropped."""
    actions = len(state.known)
    if state.actions == actions and (state.known == np.arange(actions)).all():
        return state
    number = np.full(state.actions, -1)
    number[state.known[state.known >= 0]] = np.flatnonzero(state.known >= 0)
    cell, following = np.divmod(state.outcome, len(state.tries))
    row, action = np.divmod(cell, state.actions)
    outcome = np.where(number[action] >= 0, (row * actions + number[action]) * len(state.tries) + following, -1)
    order = np.argsort(outcome)[np.count_nonzero(outcome < 0) :]
    return replace(state, known=np.arange(actions), actions=actions, outcome=outcome[order], count=state.count[order])
