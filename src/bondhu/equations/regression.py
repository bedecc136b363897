"""The expected reward of every action by ridge regression in closed form: one model all actions share, and for each
action its own deviation from it, shrunk towards none. Models are coefficients `[A, F]`; predictions `features @ c.T`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.types import Array, Floats, Integers

PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # pseudo-rows of "this action is like the others" to choose from
FOLDS = 5
ENTRIES = 1 << 19  # at most this many numbers in the Gram matrices of all actions: 4 MB
HASH = 2_654_435_761  # multiplicative, by the golden ratio of 2^32 (Knuth, volume 3, section 6.4)


class Moments(NamedTuple):
    """All that the regression needs to know of its rows; moments of disjoint rows add up."""

    gram: Floats  # [A, F, F] sum of x x' over the rows of each action
    cross: Floats  # [A, F] sum of x r


def features(observation: Array, actions: int) -> Floats:
    """Design matrix `[T, F]`, first column 1: codes one-hot, floats standardised, folded to a width that stays fast.

    The width is `sqrt(ENTRIES / actions)` columns. Indicators that need more share columns by a multiplicative hash and
    floats by a signed one (Weinberger et al. 2009); where they need fewer, the rest holds pairs of codes, hashed.
    """
    width = max(int((ENTRIES / actions) ** 0.5) - 1, 8)
    observation = observation.reshape(len(observation), -1)  # features of each action side by side, where it has any
    if np.issubdtype(observation.dtype, np.integer):
        return _indicators(observation, width)
    spread = observation.std(0)
    scaled = (observation - observation.mean(0)) / np.where(spread > 0, spread, 1.0)
    if scaled.shape[1] > width:
        column = np.arange(scaled.shape[1])
        fold = np.zeros((len(column), width))
        fold[column, column % width] = np.where(column // width % 2, -1.0, 1.0)
        scaled = scaled @ fold
    return np.hstack([np.ones((len(scaled), 1)), scaled])


def _indicators(codes: Integers, width: int) -> Floats:
    codes = codes.astype(np.int64)
    sizes = codes.max(0, initial=0) + 1
    column = codes + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    single = min(int(sizes.sum()), width)
    if sizes.sum() > width:
        column = _hashed(column, width)
    pairs = _pairs(codes, sizes)
    left = min(width - single, int(pairs.max(initial=-1)) + 1)
    matrix = np.zeros((len(codes), 1 + single + left))
    matrix[:, 0] = 1
    rows = np.arange(len(codes))[:, None]
    matrix[rows, 1 + column] = 1
    if left:
        matrix[rows, 1 + single + _hashed(pairs, left)] = 1
    return matrix


def _pairs(codes: Integers, sizes: Integers) -> Integers:
    """A number for each pair of codes of a row: `[T, F] -> [T, F (F - 1) / 2]`."""
    first, second = np.triu_indices(codes.shape[1], 1)
    start = np.concatenate([[0], np.cumsum(sizes[first] * sizes[second])])[:-1]
    return np.asarray(start + codes[:, first] * sizes[second] + codes[:, second])


def _hashed(number: Integers, size: int) -> Integers:
    """Below `size`."""
    return (number * HASH % (1 << 32)) * size >> 32


def moments(design: Floats, action: Integers, reward: Floats, actions: int) -> Moments:
    """Gram matrix and cross moment of each action: `[T, F], [T], [T] -> [A, F, F], [A, F]`."""
    order = np.argsort(action, kind="stable")
    bounds = np.searchsorted(action[order], np.arange(actions + 1))
    gram = np.zeros((actions, design.shape[1], design.shape[1]))
    cross = np.zeros((actions, design.shape[1]))
    for each in range(actions):
        rows = order[bounds[each] : bounds[each + 1]]
        if len(rows):
            chosen = design[rows]
            gram[each] = chosen.T @ chosen
            cross[each] = reward[rows] @ chosen
    return Moments(gram, cross)


def solve(sums: Moments, penalty: float, ridge: float = 1.0) -> Floats:
    """Coefficients `c_a = theta + gamma_a`, `[A, F]`, that minimise

    `sum_t (r_t - x_t' c_{a_t})^2 + ridge |theta|^2 + sum_a (penalty |gamma_a|^2)`

    where constants are nearly free: 1e-6 for the shared one, 1 for each action's. Hoerl & Kennard (1970); theta comes
    first, from the Schur complement `sum_a D P_a^-1 G_a + ridge` with `P_a = G_a + D`, `D = penalty I`.
    """
    actions, width = sums.cross.shape
    own = np.full(width, penalty)
    shared = np.full(width, ridge)
    own[0], shared[0] = 1.0, 1e-6
    both = np.concatenate([sums.gram, sums.cross[:, :, None]], axis=2)
    solved = np.linalg.solve(sums.gram + np.diag(own), both)
    left = own[:, None] * solved.sum(0)
    theta = np.linalg.solve(left[:, :-1] + np.diag(shared), left[:, -1])
    deviation = solved[:, :, -1] - (solved[:, :, :-1] @ theta).reshape(actions, width)
    return np.asarray(theta + deviation)


def squared_error(coefficients: Floats, sums: Moments) -> float:
    """`sum_t (r_t - x_t' c_{a_t})^2 - sum_t r_t^2`: enough to compare models on the same rows."""
    bent = np.einsum("af,afg,ag->", coefficients, sums.gram, coefficients, optimize=True)
    return float(bent - 2 * np.sum(coefficients * sums.cross))


def choose_penalty(train: Moments, held: Moments) -> float:
    """The one of PENALTIES whose model of `train` predicts `held` best."""
    return min(PENALTIES, key=lambda penalty: squared_error(solve(train, penalty), held))


def folds(session: Integers) -> Integers:
    """Fold `[T]` of each row: sessions whole, dealt in turn to FOLDS folds."""
    return np.asarray(np.unique(session, return_inverse=True)[1] % FOLDS)


def by_fold(design: Floats, action: Integers, reward: Floats, fold: Integers, actions: int) -> list[Moments]:
    """Moments of each fold's rows."""
    return [moments(design[fold == each], action[fold == each], reward[fold == each], actions) for each in range(FOLDS)]


def total(parts: list[Moments], *without: int) -> Moments:
    """Moments of all parts but some."""
    kept = [part for number, part in enumerate(parts) if number not in without]
    return Moments(sum(part.gram for part in kept), sum(part.cross for part in kept))  # type: ignore[arg-type]  # never 0


def cross_fit(design: Floats, parts: list[Moments], fold: Integers) -> Floats:
    """Predictions `[T, A]` of each row by the model of the other folds, its penalty chosen inside those as well."""
    predicted = np.empty((len(design), len(parts[0].cross)))
    for each in range(FOLDS):
        inner = (each + 1) % FOLDS
        penalty = choose_penalty(total(parts, each, inner), parts[inner])
        rows = fold == each
        predicted[rows] = design[rows] @ solve(total(parts, each), penalty).T
    return predicted
