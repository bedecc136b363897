"""Bellman's equation projected on linear features: the values it gives, and the visits that its transpose gives.

`A θ = b` with `A = Σ_t x_t (x_t - γ x'_t)'`, `b = Σ_t x_t r_t` (least squares of temporal differences, Bradtke & Barto
1996); `A' η = c` with `c` the sum of the first features of sessions: then `x_t'η` is what row t counts for. γ is
`factor`. In each state a policy's features are those of its actions, averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bondhu.types import Booleans, Floats, Integers

CHUNK = 8_192  # rows whose products lie in memory at once
HALF = 0.5  # variance of what a regression says, by that of a reward, above which nothing was seen


class Sums(NamedTuple):
    """What disjoint rows add up to."""

    matrix: Floats  # [D, D] A
    right: Floats  # [D] b
    start: Floats  # [D] c


def added(parts: Sequence[Sums]) -> Sums:
    """The sums of all rows together."""
    matrix, right, start = (sum(column[1:], start=column[0]) for column in zip(*parts, strict=True))
    return Sums(matrix, right, start)


def narrowed(design: Floats, widest: int) -> Floats:
    """The design `[T, F]` as at most `widest` columns: the first, then the principal components of the others.

    Where there is room, products of the columns come first: a value is rarely linear in what is seen.
    """
    constant, rest = design[:, :1], design[:, 1:]
    pairs = rest.shape[1] * (rest.shape[1] + 1) // 2
    if 1 + rest.shape[1] + pairs <= widest and not np.isin(rest, (0.0, 1.0)).all():
        first, second = np.triu_indices(rest.shape[1])
        products = rest[:, first] * rest[:, second]
        spread = products.std(0)
        rest = np.hstack([rest, (products - products.mean(0)) / np.where(spread > 0, spread, 1.0)])
    if rest.shape[1] < widest:
        return np.hstack([constant, rest])
    centred = rest - rest.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return np.hstack([constant, centred @ directions[:, :-widest:-1]])


def action_sums(
    log: tuple[Floats, Floats],
    following: Integers,
    done: tuple[Integers, Floats],
    which: tuple[Integers, Integers],
    factor: float,
) -> Sums:
    """Sums where `x_t` are the features of the state in the block of the action.

    `log`: features `[T', F]` and target probabilities `[T', A]`; `following [T]` the row of the next state in them, or
    -1; `done`: actions `[T]` and rewards `[T]`; `which`: the rows to add up, and the rows that begin sessions.
    """
    (features, target), (action, reward), (rows, first) = log, done, which
    actions, width = target.shape[1], features.shape[1]
    matrix = np.zeros((actions, width, actions, width))
    right = np.zeros((actions, width))
    order = rows[np.argsort(action[rows], kind="stable")]
    bounds = np.searchsorted(action[order], np.arange(actions + 1))
    for each in range(actions):
        for begin in range(bounds[each], bounds[each + 1], CHUNK):
            part = order[begin : min(begin + CHUNK, bounds[each + 1])]
            here, after = features[part], following[part]
            going = np.flatnonzero(after >= 0)
            ahead = target[after[going], :, None] * features[after[going], None, :]
            moved = here[going].T @ ahead.reshape(len(going), actions * width)
            matrix[each] -= factor * moved.reshape(width, actions, width)
            matrix[each, :, each] += here.T @ here
            right[each] += reward[part] @ here
    size = actions * width
    return Sums(matrix.reshape(size, size), right.ravel(), (target[first].T @ features[first]).ravel())


def state_sums(
    features: Floats, following: Integers, said: tuple[Floats, Floats], first: Integers, factor: float
) -> Sums:
    """Sums of states alone: features `[T', F]`, `following [T]` as above, `said`: weights `[T]` and rewards `[T]`."""
    weights, reward = said
    here = features[: len(weights)]
    ahead = np.where(following[:, None] >= 0, features[following], 0.0)
    weighted = weights[:, None] * here
    return Sums(weighted.T @ (here - factor * ahead), reward @ weighted, features[first].sum(0))


def unseen(features: Floats, known: Floats, weights: Floats, ridge: float = 1.0) -> Booleans:
    """Whether weighted rows `known [T, F]` say next to nothing of a value at other `features`: `[T', F]` to `[T']`.

    `x' (X' W X + ridge)^-1 x > 1/2`: the variance of what a regression says of x, by that of one reward. 1 / n where n
    rows are alike, 1 in a direction that no row has.
    """
    gram = (weights[:, None] * known).T @ known + ridge * np.eye(features.shape[1])
    spread: Floats = np.einsum("tf,tf->t", features @ np.linalg.inv(gram), features)
    return np.asarray(spread > HALF)


def solve_both(sums: Sums, ridge: float = 1.0) -> tuple[Floats, Floats]:
    """`θ` and `η`, `[D]` each; `ridge` pseudo-rows keep features that hardly vary from being believed."""
    matrix = sums.matrix + ridge * np.eye(len(sums.matrix))
    try:
        return np.linalg.solve(matrix, sums.right), np.linalg.solve(matrix.T, sums.start)
    except np.linalg.LinAlgError:
        nothing = np.full(len(matrix), np.nan)
        return nothing, nothing
