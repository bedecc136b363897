"""Values of a policy as linear functions of features, where states are too many for a table: solved, not iterated."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bondhu.equations import regression
from bondhu.equations.projection import Sums, action_sums, added, narrowed, solve_both, state_sums
from bondhu.evaluate.fitted import Fitted, Values
from bondhu.types import Batch, Booleans, Floats, Integers, Policy

WIDEST = 1_000  # coefficients of all actions together


class Design(NamedTuple):
    """The log as features."""

    features: Floats  # [T + cuts, F] of the rows, then of what cut sessions would have gone on from
    target: Floats  # [T + cuts, A]
    following: Integers  # [T] row of `features` that came next; -1: the session ended
    first: Integers  # [N]


def design(policy: Policy, batch: Batch, widest: int) -> Design:
    """Features of at most `widest` columns."""
    actions = batch.allowed.shape[1]
    cut = np.flatnonzero((batch.discount > 0) & ~batch.has_next)
    observation = np.concatenate([batch.observation, batch.next_observation[cut]])
    allowed = np.concatenate([batch.allowed, batch.next_allowed[cut]])
    features = narrowed(regression.features(observation, actions), widest)
    following = np.where(batch.has_next, np.arange(1, len(batch) + 1), -1)
    following[cut] = len(batch) + np.arange(len(cut))
    first = np.flatnonzero(np.append(True, batch.session[1:] != batch.session[:-1]))
    return Design(features, policy.distribution(observation, allowed), following, first)


def fitted(policy: Policy, batch: Batch, factor: float) -> Fitted:
    """Least squares of temporal differences over states and actions (Lagoudakis & Parr 2003): fitted Q evaluation at
    its fixed point, and the visits that solve the transposed system."""
    log = of_actions(policy, batch)
    sums = _sums(log, batch, factor, np.ones(len(batch), bool))
    theta, eta = solve_both(sums)
    here = log.features[: len(batch)]

    def ratio_from(start: Floats) -> Floats:
        begins = ((start[:, None] * log.target[: len(batch)]).T @ here).ravel()
        return of_rows(solve_both(sums._replace(start=begins))[1])

    def of_rows(solution: Floats) -> Floats:
        return np.asarray(np.einsum("tf,tf->t", here, _by_action(solution, log)[batch.action]))

    return _fitted(said(log, batch, theta, np.arange(len(batch))), of_rows(eta), ratio_from, log)


def cross_fitted(policy: Policy, batch: Batch, factor: float) -> Values:
    """The same, each session's values from the other folds' sessions."""
    log, fold = of_actions(policy, batch), regression.folds(batch.session)
    parts = [_sums(log, batch, factor, fold == each) for each in range(regression.FOLDS)]
    found = Values(*(np.empty(len(batch)) for _ in Values._fields))
    for each in range(regression.FOLDS):
        rows = np.flatnonzero(fold == each)
        theta, _ = solve_both(added([part for number, part in enumerate(parts) if number != each]))
        for column, new in zip(found, said(log, batch, theta, rows), strict=True):
            column[rows] = new
    return found


def state_fitted(policy: Policy, batch: Batch, factor: float, weights: Floats) -> Fitted:
    """Values of states alone: what the log did counts by its importance weight (Uehara et al. 2020, section 4)."""
    log = design(policy, batch, WIDEST // 4)
    here = log.features[: len(batch)]
    sums = state_sums(log.features, log.following, (weights, batch.reward), log.first, factor)
    theta, eta = solve_both(sums)
    value = here @ theta
    known = log.following >= 0
    following = np.where(known, log.features[log.following] @ theta, 0.0)

    def ratio_from(start: Floats) -> Floats:
        return weights * (here @ solve_both(sums._replace(start=start @ here))[1])

    return _fitted(Values(value, value, following), weights * (here @ eta), ratio_from, log)


def _fitted(values: Values, ratio: Floats, ratio_from: Callable[[Floats], Floats], log: Design) -> Fitted:
    return Fitted(values, ratio, ratio_from, np.ones(len(ratio)), 0.0, float(ratio.sum()) / len(log.first))


def of_actions(policy: Policy, batch: Batch) -> Design:
    """Features for a model with coefficients for each action."""
    return design(policy, batch, max(WIDEST // batch.allowed.shape[1], 8))


def _sums(log: Design, batch: Batch, factor: float, inside: Booleans) -> Sums:
    rows = np.flatnonzero(inside)
    first = log.first[inside[log.first]]
    return action_sums((log.features, log.target), log.following, (batch.action, batch.reward), (rows, first), factor)


def _by_action(coefficients: Floats, log: Design) -> Floats:
    return coefficients.reshape(log.target.shape[1], -1)


def said(log: Design, batch: Batch, theta: Floats, rows: Integers) -> Values:
    """Values at these rows."""
    coefficients = _by_action(theta, log)
    chosen = np.einsum("tf,tf->t", log.features[rows], coefficients[batch.action[rows]])
    value = _worth(log, coefficients, rows)
    following = np.zeros(len(rows))
    going = log.following[rows] >= 0
    following[going] = _worth(log, coefficients, log.following[rows[going]])
    return Values(chosen, value, following)


def _worth(log: Design, coefficients: Floats, rows: Integers) -> Floats:
    return np.asarray((log.target[rows] * (log.features[rows] @ coefficients.T)).sum(1))
