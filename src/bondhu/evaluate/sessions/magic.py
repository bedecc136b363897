"""MAGIC: weights for the first decisions, a model for the rest; where to change over is chosen by estimated error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bondhu.equations.intervals import student
from bondhu.equations.trajectories import (
    Layout,
    blend,
    mean_weights,
    normalised_terms,
    session_sums,
    temporal_errors,
)
from bondhu.evaluate.action_values import fitted
from bondhu.evaluate.fitted import Fitted
from bondhu.evaluate.support import refusal
from bondhu.evaluate.trajectories import (
    MINIMUM_EFFECTIVE_SESSIONS,
    Trajectories,
    estimate,
    modelled,
    trajectories,
    unseen_ends,
    whole_sessions,
)
from bondhu.types import Batch, Estimate, Floats, Integers, Policy

RETURNS = 12  # partial returns that are blended
FEWEST = 3  # sessions that have a spread


@dataclass(frozen=True)
class Magic:
    """`V = Σ_j x_j g_j`: g_j corrects the model's return in the first j decisions as `weighted_dr` does, x is the
    mixture of least estimated mean squared error. Thomas & Brunskill (2016), section 6.

    The bias of g_j is taken as its distance from an interval around weighted DR, and what is left of it widens the
    interval of V. The terms hold the model's own error as well: its errors at each row, times the visits that the
    policy makes there after its first j decisions. More than a few sessions that were cut are refused.
    """

    name: ClassVar[str] = "magic"
    scope: ClassVar[str] = "session"
    adaptive: ClassVar[bool] = False

    discount: float = 1.0  # of a reward, for each decision that it comes later
    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SESSIONS  # sessions; refuses below
    near: float = 0.1  # confidence of the interval around weighted DR inside which a partial return counts as unbiased
    model: Callable[[Policy, Batch, float], Fitted] = fitted  # of the returns

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = trajectories(policy, batch, self.discount)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        if found.where.sessions < FEWEST:
            return refusal(f"{found.where.sessions} sessions say nothing of their own spread. Collect more.", np.nan)
        model = self.model(policy, batch, self.discount)
        values = model.values
        errors = temporal_errors(batch.reward, values.following, values.chosen, self.discount)
        effective, refused = whole_sessions(found, errors, self.discount, self.minimum_effective_samples)
        refused = refused or modelled(found, model.missing, model.visits) or unseen_ends(found)
        if refused:
            return refusal(refused, effective)
        returns = np.array([_partial(found, model, errors, self.discount, each) for each in _lengths(found.where)])
        shares, bias = self._shares(returns)
        plain = estimate(shares @ returns, self.confidence, effective)
        return Estimate(plain.value, plain.low - bias, plain.high + bias, effective, plain.terms)

    def _shares(self, returns: Floats) -> tuple[Floats, float]:
        """The mixture `[J]` of the partial returns `[J, N]`, and the bias that is left in it."""
        low, high = student(returns[-1], self.near)
        mean = returns.mean(1)
        bias = mean - np.clip(mean, low, high)
        shares = blend(np.atleast_2d(np.cov(returns)) / returns.shape[1], bias)
        return shares, abs(float(shares @ bias))


def _partial(found: Trajectories, model: Fitted, errors: Floats, factor: float, length: int) -> Floats:
    """Terms `[N]` of the return that weights correct in the first `length` decisions, and a model gives after them."""
    where = found.where
    head = normalised_terms(np.where(where.step < length, errors, 0.0), found.cumulative, where, factor)
    rows = np.flatnonzero(where.step == length)
    start = np.zeros(len(errors))
    start[rows] = factor**length * (found.cumulative[rows - 1] if length else 1.0)
    if length and len(rows):
        start /= mean_weights(found.cumulative, where)[length - 1]
    tail = session_sums(model.ratio_from(start) * model.left_out * errors, where, 1.0)
    return np.asarray(model.values.value[where.first] + head + tail - tail.mean())


def _lengths(where: Layout) -> Integers:
    """After how many decisions to change over: never weighed, then by equal numbers of rows, to the end."""
    rows = np.linspace(0, len(where.order) - 1, RETURNS - 1).astype(np.int64)
    return np.unique(np.concatenate([[0, where.steps], where.step[where.order[rows]]]))
