"""Planning on a model that is known or was counted: Bellman's equations, for one policy and for the best one.

Dense models hold the chance `[N, A, N]` that s' follows and the session goes on, so that rows sum to less than 1 where
it may end, and the mean reward `[N, A]`. Sparse ones hold only what was seen (`Outcomes`): their sweeps are plain loops
that change values in place, to be compiled. Everywhere γ is `factor`; γ = 1 wants sessions that end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.types import Booleans, Floats, Integers


def action_values(transition: Floats, reward: Floats, values: Floats, factor: float) -> Floats:
    """Q(s, a) = r(s, a) + γ·Σ p(s'|s, a)·V(s'): `[N, A, N], [N, A], [N] -> [N, A]` (Sutton & Barto 2018, 4.6)."""
    return reward + factor * (transition @ values)


def policy_values(transition: Floats, reward: Floats, policy: Floats, factor: float) -> Floats:
    """V = r_π + γ·P_π·V, solved: what a policy `[N, A]` is worth in each state, `[N]` (Sutton & Barto 2018, 4.4)."""
    moves = np.einsum("sa,sap->sp", policy, transition)
    values: Floats = np.linalg.solve(np.eye(len(moves)) - factor * moves, (policy * reward).sum(axis=1))
    return values


def values_within(transition: Floats, reward: Floats, policy: Floats, limit: int, factor: float = 1.0) -> Floats:
    """What a policy `[N, A]` earns in its next `limit` decisions, `[N]`: backward induction."""
    moves, gains = np.einsum("sa,sap->sp", policy, transition), (policy * reward).sum(axis=1)
    values = np.zeros(len(gains))
    for _ in range(limit):
        values = gains + factor * (moves @ values)
    return values


def best_within(transition: Floats, reward: Floats, limit: int, factor: float = 1.0) -> Floats:
    """The most that can be earned in `limit` decisions, by who counts them, `[N]` (Puterman 1994, section 4.5)."""
    values = np.zeros(len(reward))
    for _ in range(limit):
        values = action_values(transition, reward, values, factor).max(axis=1)
    return values


def lowest_return(reward: float, states: int, factor: float) -> float:
    """No return is lower where no reward is below `reward`: its geometric sum, or γ = 1, once for each state.

    The latter holds where a session that does its best need not come back to a state; never above 0.
    """
    longest = min(1.0 / (1.0 - factor), states) if factor < 1.0 else states
    return min(reward, 0.0) * longest


class Outcomes(NamedTuple):
    """What followed what was tried. A cell is a state and an action; cells lie by state, outcomes by cell."""

    state: Integers  # [R] the states that have cells
    cells: Integers  # [R + 1] cells[i] to cells[i + 1] are those of state[i]
    allowed: Booleans  # [C] whether the cell's action may be chosen
    rest: Floats  # [R] worth of the best action of the state that has no cell; -inf where every action has one
    tries: Floats  # [C]
    reward: Floats  # [C] mean
    penalty: Floats  # [C] what the value of a cell is lowered by, for how little is known of it
    first: Integers  # [C + 1] first[c] to first[c + 1] are the outcomes of cell c
    following: Integers  # [K] states
    chance: Floats  # [K] share of the cell's tries; what is missing to 1 ended


def cell_values(outcomes: Outcomes, best: Floats, factor: float, floor: float, sharing: float = 0.0) -> Floats:
    """max(floor, r + γ·Σ p·V(s') - penalty) of each cell: `[C]`, from `best [N]`, the value of each state.

    With `sharing`, r + γ·Σ p·V(s') is first averaged with its mean over all tries of the state, which counts as so many
    tries: of many actions tried a few times each, the luckiest is not the best (Efron & Morris 1973, on shrinkage).
    """
    lengths, sizes = np.diff(outcomes.first), np.diff(outcomes.cells)
    cell = np.repeat(np.arange(len(lengths)), lengths)
    ahead = np.bincount(cell, outcomes.chance * best[outcomes.following], len(lengths))
    values: Floats = outcomes.reward + factor * ahead
    if sharing > 0 and len(values):
        weighted, starts = outcomes.tries * values, outcomes.cells[:-1]
        means = np.add.reduceat(weighted, starts) / np.add.reduceat(outcomes.tries, starts)
        mean = np.repeat(means, sizes)
        values = mean + (values - mean) * outcomes.tries / (outcomes.tries + sharing)
    return np.maximum(values - outcomes.penalty, floor)


def best_cells(outcomes: Outcomes, values: Floats) -> Integers:
    """The first best allowed cell of each state with cells, -1 where `rest` is better than all: `[C] -> [R]`."""
    if len(values) == 0:
        return np.empty(0, np.int64)
    within = np.where(outcomes.allowed, values, -np.inf)
    highest = np.maximum.reduceat(within, outcomes.cells[:-1])
    candidates = np.flatnonzero(within == np.repeat(highest, np.diff(outcomes.cells)))
    first = candidates[np.searchsorted(candidates, outcomes.cells[:-1])]
    return np.where((highest >= outcomes.rest) & (highest > -np.inf), first, -1)


def sweep_best(
    best: Floats, values: Floats, outcomes: Outcomes, step: tuple[float, float, float], backwards: bool
) -> float:
    """V(s) ← max_a Q(s, a) with the Q of `cell_values`, state after state, in place: the largest change of V.

    `step` is γ, floor and sharing; `values [C]` receives Q. Value iteration in place, as Gauss and Seidel would
    (Bertsekas 2012, section 2.2); sweeps in turn forwards and backwards carry values both ways.
    """
    factor, floor, sharing = step
    changed = 0.0
    count = len(outcomes.state)
    for turn in range(count):
        i = count - 1 - turn if backwards else turn
        total = tries = 0.0
        for c in range(outcomes.cells[i], outcomes.cells[i + 1]):
            ahead = 0.0
            for k in range(outcomes.first[c], outcomes.first[c + 1]):
                ahead += outcomes.chance[k] * best[outcomes.following[k]]
            values[c] = outcomes.reward[c] + factor * ahead
            total += outcomes.tries[c] * values[c]
            tries += outcomes.tries[c]
        mean, highest = total / tries, outcomes.rest[i]
        for c in range(outcomes.cells[i], outcomes.cells[i + 1]):
            if sharing > 0.0:
                values[c] = mean + (values[c] - mean) * outcomes.tries[c] / (outcomes.tries[c] + sharing)
            values[c] = max(values[c] - outcomes.penalty[c], floor)
            if outcomes.allowed[c]:
                highest = max(highest, values[c])
        s = outcomes.state[i]
        changed = max(changed, abs(highest - best[s]))
        best[s] = highest
    return changed


def sweep_policy(
    best: Floats, outcomes: Outcomes, chosen: Integers, step: tuple[float, float], backwards: bool
) -> float:
    """V(s) ← max(floor, r + γ·Σ p·V(s') - penalty) of the cell `chosen [R]` in each state, or `rest` for -1, in place.

    `step` is γ and floor. Returns the largest change: policy evaluation in place (Sutton & Barto 2018, section 4.1).
    """
    factor, floor = step
    changed = 0.0
    count = len(outcomes.state)
    for turn in range(count):
        i = count - 1 - turn if backwards else turn
        s, c = outcomes.state[i], chosen[i]
        value = outcomes.rest[i]
        if c >= 0:
            ahead = 0.0
            for k in range(outcomes.first[c], outcomes.first[c + 1]):
                ahead += outcomes.chance[k] * best[outcomes.following[k]]
            value = max(outcomes.reward[c] + factor * ahead - outcomes.penalty[c], floor)
        changed = max(changed, abs(value - best[s]))
        best[s] = value
    return changed
