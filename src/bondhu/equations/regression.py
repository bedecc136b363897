"""The expected reward of every action by ridge regression in closed form: one model all actions share, and for each
action its own deviation from it, shrunk towards none. Models are coefficients `[A, F]`; predictions `features @ c.T`.

Codes become indicators, which are counted; floats a matrix, which is multiplied. A function takes either as a design.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.compiled import compiled
from bondhu.equations.indicators import (
    Indicators,
    dense,
    grouped,
    in_threads,
    indicators,
    of_action,
    predictions,
    pulled,
)
from bondhu.types import Array, Floats, Integers

Design = Floats | Indicators  # [T, F]

PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # pseudo-rows of "this action is like the others" to choose from
FOLDS = 5
LARGE = 256  # columns from which blocks of a matrix pay
ENTRIES = 1 << 19  # at most this many numbers in the Gram matrices of all actions: 4 MB


class Moments(NamedTuple):
    """All that the regression needs to know of its rows; moments of disjoint rows add up."""

    gram: Floats  # [A, F, F] sum of x x' over the rows of each action
    cross: Floats  # [A, F] sum of x r


def features(observation: Array, actions: int) -> Floats:
    """Design matrix `[T, F]`, first column 1: codes one-hot, floats standardised, folded to a width that stays fast.

    The width is `sqrt(ENTRIES / actions)` columns. Indicators that need more share columns by a multiplicative hash and
    floats by a signed one (Weinberger et al. 2009); where they need fewer, the rest holds pairs of codes, hashed.
    """
    found = design(observation, actions)
    return dense(found) if isinstance(found, Indicators) else found


def design(observation: Array, actions: int) -> Design:
    """The same as `features`, with codes kept as the places of their ones."""
    width = max(int((ENTRIES / actions) ** 0.5) - 1, 8)
    observation = observation.reshape(len(observation), -1)  # features of each action side by side, where it has any
    if np.issubdtype(observation.dtype, np.integer):
        return indicators(observation, width)
    spread = observation.std(0)
    scaled = (observation - observation.mean(0)) / np.where(spread > 0, spread, 1.0)
    if scaled.shape[1] > width:
        column = np.arange(scaled.shape[1])
        fold = np.zeros((len(column), width))
        fold[column, column % width] = np.where(column // width % 2, -1.0, 1.0)
        scaled = scaled @ fold
    return np.hstack([np.ones((len(scaled), 1)), scaled])


def moments(design: Design, action: Integers, reward: Floats, actions: int, weight: Floats | None = None) -> Moments:
    """Gram matrix and cross moment of each action, rows weighted: `[T, F], [T], [T], [T] -> [A, F, F], [A, F]`."""
    order = np.argsort(action, kind="stable")
    bounds = np.searchsorted(action[order], np.arange(actions + 1))
    if isinstance(design, Indicators):
        return Moments(*grouped(design, reward, order, bounds, weight))
    gram = np.zeros((actions, design.shape[1], design.shape[1]))
    cross = np.zeros((actions, design.shape[1]))
    for each in range(actions):
        rows = order[bounds[each] : bounds[each + 1]]
        if len(rows):
            chosen = design[rows]
            weighted = chosen if weight is None else weight[rows, None] * chosen
            gram[each] = weighted.T @ chosen
            cross[each] = reward[rows] @ weighted
    return Moments(gram, cross)


def solve(sums: Moments, penalty: float, ridge: float = 1.0) -> Floats:
    """Coefficients `c_a = theta + gamma_a`, `[A, F]`, that minimise

    `sum_t (r_t - x_t' c_{a_t})^2 + ridge |theta|^2 + sum_a (penalty |gamma_a|^2)`

    where constants are nearly free: 1e-6 for the shared one, 1 for each action's. Hoerl & Kennard (1970); theta comes
    first, from the Schur complement `sum_a (D - D P_a^-1 D) + ridge` with `P_a = G_a + D`, `D = penalty I`.
    """
    actions, width = sums.cross.shape
    own = np.full(width, penalty)
    shared = np.full(width, ridge)
    own[0], shared[0] = 1.0, 1e-6
    inverse = inverses(sums.gram + np.diag(own))
    left = actions * np.diag(own) - own[:, None] * inverse.sum(0) * own
    theta = inverses((left + np.diag(shared))[None])[0] @ (own * np.einsum("afg,ag->f", inverse, sums.cross))
    return np.asarray(theta + np.einsum("afg,ag->af", inverse, sums.cross - sums.gram @ theta))


def inverses(matrices: Floats) -> Floats:
    """Of symmetric positive definite ones, `[A, F, F]`, by sweeping every pivot (Goodnight 1979); LAPACK if large."""
    if matrices.shape[1] > LARGE:
        return np.linalg.inv(matrices)
    swept = np.array(matrices, np.float64)
    sweep = compiled(_sweep)
    in_threads(len(swept), swept.size, lambda part: sweep(swept[part]))
    return swept


def _sweep(matrices: Floats) -> None:
    """Each to its inverse, in place; plain Python, to be compiled. Works on the lower triangles."""
    size = matrices.shape[1]
    column = np.empty(size)
    for matrix in matrices:
        for k in range(size):
            pivot = matrix[k, k]
            for i in range(size):
                column[i] = matrix[k, i] if i < k else matrix[i, k]
            for i in range(size):
                share = column[i] / pivot
                line = matrix[i]
                for j in range(i + 1):
                    line[j] -= share * column[j]
            for i in range(size):
                if i < k:
                    matrix[k, i] = column[i] / pivot
                else:
                    matrix[i, k] = column[i] / pivot
            matrix[k, k] = -1.0 / pivot
        for i in range(size):
            for j in range(i + 1):
                matrix[i, j] = matrix[j, i] = -matrix[i, j]


def squared_error(coefficients: Floats, sums: Moments) -> float:
    """`sum_t (r_t - x_t' c_{a_t})^2 - sum_t r_t^2`: enough to compare models on the same rows."""
    bent = (sums.gram @ coefficients[:, :, None])[:, :, 0]
    return float(np.sum(coefficients * (bent - 2 * sums.cross)))


def choose_penalty(train: Moments, held: Moments) -> float:
    """The one of PENALTIES whose model of `train` predicts `held` best."""
    return min(PENALTIES, key=lambda penalty: squared_error(solve(train, penalty), held))


def folds(session: Integers) -> Integers:
    """Fold `[T]` of each row: sessions whole, dealt in turn to FOLDS folds."""
    return np.asarray(np.unique(session, return_inverse=True)[1] % FOLDS)


def by_fold(
    design: Design, action: Integers, reward: Floats, fold: Integers, actions: int, weight: Floats | None = None
) -> list[Moments]:
    """Moments of each fold's rows."""
    both: Integers = (fold * actions + action).astype(np.int16 if FOLDS * actions < 1 << 15 else np.int64)  # sorts fast
    sums = moments(design, both, reward, FOLDS * actions, weight)
    parts = [slice(each * actions, (each + 1) * actions) for each in range(FOLDS)]
    return [Moments(sums.gram[part], sums.cross[part]) for part in parts]


def total(parts: list[Moments], *without: int) -> Moments:
    """Moments of all parts but some."""
    kept = [part for number, part in enumerate(parts) if number not in without]
    return Moments(sum(part.gram for part in kept), sum(part.cross for part in kept))  # type: ignore[arg-type]  # never 0


def cross_fit(design: Design, parts: list[Moments], fold: Integers) -> Floats:
    """Predictions `[T, A]` of each row by the model of the other folds, its penalty chosen inside those as well."""
    models = []
    for each in range(FOLDS):
        inner = (each + 1) % FOLDS
        penalty = choose_penalty(total(parts, each, inner), parts[inner])
        models.append(solve(total(parts, each), penalty))
    if isinstance(design, Indicators):
        return predictions(design, np.stack(models), fold)
    predicted = np.empty((len(design), len(parts[0].cross)))
    for each, model in enumerate(models):
        rows = fold == each
        predicted[rows] = design[rows] @ model.T
    return predicted


def predict(design: Design, coefficients: Floats) -> Floats:
    """`x_t' c_a` of every action: `[T, F], [A, F] -> [T, A]`."""
    if isinstance(design, Indicators):
        return predictions(design, coefficients[None], np.zeros(design.shape[0], np.int64))
    return np.asarray(design @ coefficients.T)


def predict_taken(design: Design, coefficients: Floats, action: Integers) -> Floats:
    """`x_t' c_{a_t}` of one action a row: `[T, F], [A, F], [T] -> [T]`."""
    if isinstance(design, Indicators):
        return of_action(design, coefficients, action)
    return np.asarray(np.einsum("tf,tf->t", design, coefficients[action]))


def moved_by(design: Design, target: Floats) -> Floats:
    """`sum_t target[t, a] x_t`: what a weight on each action sums up to, `[T, F], [T, A] -> [A, F]`."""
    return pulled(design, target) if isinstance(design, Indicators) else np.asarray(target.T @ design)
