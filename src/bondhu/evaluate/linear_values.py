"""Values of a policy as linear functions of features, where states are too many for a table: solved, not iterated."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bondhu.equations import regression
from bondhu.equations.projection import Sums, action_sums, added, narrowed, solve_both, state_sums, unseen
from bondhu.evaluate.fitted import Fitted, Values
from bondhu.types import Batch, Booleans, Floats, Integers, Policy

WIDEST = 1_000  # coefficients of all actions together


class Design(NamedTuple):
    """The log as features."""

    features: Floats  # [T + cuts, F] of the rows, then of what cut sessions would have gone on from
    target: Floats  # [T + cuts, A] shared out among actions of which the log says something, where any is wanted
    dark: Booleans  # [T + cuts, A] the others that are wanted
    missing: Floats  # [T + cuts] share of the policy's own choice in them
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
    target = policy.distribution(observation, allowed)
    return Design(features, target, np.zeros(target.shape, bool), np.zeros(len(target)), following, first)


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

    values = said(log, batch, theta, np.arange(len(batch)))
    return _fitted(values, of_rows(eta), ratio_from, log, factor)


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

    log = log._replace(missing=unseen(log.features, here, weights) * 1.0)
    return _fitted(Values(value, value, following), weights * (here @ eta), ratio_from, log, factor)


def _fitted(
    values: Values, ratio: Floats, ratio_from: Callable[[Floats], Floats], log: Design, factor: float
) -> Fitted:
    """What is missing, in the views that the policy comes to: first ones, then what follows a row as often as the
    policy comes to that row."""
    going = log.following >= 0
    onwards = factor * ratio[going].clip(0.0)
    came = len(log.first) + float(onwards.sum())
    missing = (float(log.missing[log.first].sum()) + float(onwards @ log.missing[log.following[going]])) / came
    return Fitted(values, ratio, ratio_from, np.ones(len(ratio)), missing, float(ratio.sum()) / len(log.first))


def of_actions(policy: Policy, batch: Batch) -> Design:
    """Features for a model with coefficients for each action, which says nothing of what an action never showed."""
    log = design(policy, batch, max(WIDEST // batch.allowed.shape[1], 8))
    dark = log.dark.copy()
    for action in range(dark.shape[1]):
        wanted, rows = np.flatnonzero(log.target[:, action] > 0), np.flatnonzero(batch.action == action)
        known = log.features[rows]
        dark[wanted, action] = unseen(log.features[wanted], known, np.ones(len(rows)))
    missing = (log.target * dark).sum(1)
    dark[missing > 1 - 1e-12] = False
    left = np.where(dark, 0.0, log.target)
    return log._replace(target=left / left.sum(1, keepdims=True), dark=dark, missing=missing)


def _sums(log: Design, batch: Batch, factor: float, inside: Booleans) -> Sums:
    rows = np.flatnonzero(inside)
    first = log.first[inside[log.first]]
    return action_sums((log.features, log.target), log.following, (batch.action, batch.reward), (rows, first), factor)


def _by_action(coefficients: Floats, log: Design) -> Floats:
    return coefficients.reshape(log.target.shape[1], -1)


def said(log: Design, batch: Batch, theta: Floats, rows: Integers) -> Values:
    """Values at these rows; of an action of which the log says nothing, that of the others."""
    coefficients = _by_action(theta, log)
    chosen = np.einsum("tf,tf->t", log.features[rows], coefficients[batch.action[rows]])
    value = _worth(log, coefficients, rows)
    chosen = np.where(log.dark[rows, batch.action[rows]], value, chosen)
    following = np.zeros(len(rows))
    going = log.following[rows] >= 0
    following[going] = _worth(log, coefficients, log.following[rows[going]])
    return Values(chosen, value, following)


def _worth(log: Design, coefficients: Floats, rows: Integers) -> Floats:
    return np.asarray((log.target[rows] * (log.features[rows] @ coefficients.T)).sum(1))
