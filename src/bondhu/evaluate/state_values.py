"""Models of states alone, in which what was done counts by its importance weight: no action has to be modelled."""

from __future__ import annotations

import numpy as np

from bondhu.equations.chains import Falls, Rows
from bondhu.evaluate.action_values import ROWS_EACH, following_views, numbered, solved, states
from bondhu.evaluate.fitted import Fitted
from bondhu.evaluate.linear_values import state_fitted
from bondhu.evaluate.trajectories import Trajectories
from bondhu.types import Batch, Integers, Policy


def weighed(policy: Policy, batch: Batch, factor: float, found: Trajectories, by_step: bool) -> Fitted:
    """Visits of the policy to each state for those of the log, times the weight of what was done there."""
    numbers = states(batch)
    if numbers is None:
        return state_fitted(policy, batch, factor, found.weights)
    state, count = numbers.state, numbers.number
    if by_step:
        step = np.append(found.where.step, found.where.step[numbers.cut] + 1)
        state, count = numbered([state, step])
    if count * ROWS_EACH > len(batch):
        return state_fitted(policy, batch, factor, found.weights)
    return _tabled(state, count, batch, found, factor, numbers.cut)


def _tabled(state: Integers, count: int, batch: Batch, found: Trajectories, factor: float, cut: Integers) -> Fitted:
    here = state[: len(batch)]
    rows = Rows(here, here, following_views(state, batch, cut), batch.reward, found.where.first)
    each = np.arange(count)
    return solved(rows, Falls(each, each, np.ones(count), count, count), found.weights, factor)
