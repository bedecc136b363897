"""What each turn of a conversation was worth: discounted returns, values, and the advantage by both of its definitions.

Values are means of the returns that were seen (Monte Carlo), so that they are right for the policy that was logged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.equations.returns import advantage, advantage_over_previous, returns_to_go, state_values
from bondhu.errors import InvalidInput
from bondhu.types import Array, Batch, Floats, Integers


class Credit(NamedTuple):
    """The columns of a batch's turns."""

    turn: Integers  # [T] number of the turn in its conversation, from 0
    returned: Floats  # [T] G_t = Σ_k γ^k r_{t+k} to the end of the conversation
    action_value: Floats  # [T] Q(x_t, a_t): mean return of all turns in this state with this action
    state_value: Floats  # [T] V(x_t): mean return of all turns in this state
    advantage: Floats  # [T] Q(x_t, a_t) - V(x_t)
    advantage_over_previous: Floats  # [T] Q(x_t, a_t) - Q(x_{t-1}, a_{t-1}), for where V is unknown; NaN at first turns


def credited(batch: Batch, factor: float, state: Integers | None = None, next_value: Floats | float = 0.0) -> Credit:
    """What each turn was worth, with γ = `factor`.

    `state` numbers the state of each turn from 0, `[T]`; by default, turns that observe the same are in the same one.
    `next_value` stands for what nobody saw where a conversation was cut. Raises InvalidInput for actions that are no
    single numbers.
    """
    if batch.action.ndim != 1 or batch.action.dtype.kind not in "iu":
        what = f"The actions have the shape {batch.action.shape} and the type {batch.action.dtype}."
        raise InvalidInput(what, field="action", fix="Turns are credited for one action each, by its number.")
    if not 0.0 <= factor <= 1.0:
        raise InvalidInput(f"factor got {factor}.", field="factor", value=factor, fix="Give a number from 0 to 1.")
    state = _numbered(batch.observation) if state is None else state
    returned = returns_to_go(batch.reward, batch.discount, batch.has_next, factor, next_value)
    q, v = _means(_numbered(np.stack([state, batch.action], axis=1)), returned), _means(_numbered(state), returned)
    turn = _turns(batch)
    over = np.full(len(batch), np.nan)
    over[1:] = advantage_over_previous(q)
    over[turn == 0] = np.nan
    return Credit(turn, returned, q, v, advantage(q, v), over)


def _numbered(rows: Array) -> Integers:
    """The same number for the same rows: `[T, ...]` to `[T]`."""
    if not len(rows):
        return np.zeros(0, np.int64)
    number: Integers = np.unique(rows.reshape(len(rows), -1), axis=0, return_inverse=True)[1].reshape(-1)
    return number


def _means(number: Integers, returned: Floats) -> Floats:
    means: Floats = state_values(number, returned, int(number.max(initial=-1)) + 1)[number]
    return means


def _turns(batch: Batch) -> Integers:
    rows = np.arange(len(batch))
    first = np.ones(len(batch), bool)
    first[1:] = ~batch.has_next[:-1]
    return rows - np.maximum.accumulate(np.where(first, rows, 0)) if len(rows) else rows
