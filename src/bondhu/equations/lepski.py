"""Comparing estimates made from the same rows: how far apart chance leaves them, and which of them to trust."""

from __future__ import annotations

import numpy as np

from bondhu.types import Floats, Integers


def paired_errors(terms: Floats, groups: Integers | None = None) -> Floats:
    """Standard errors of the differences between estimates, from their terms row by row: `[T, K]` to `[K, K]`.

    `se_ij^2 = G / (G - 1) sum_g (sum_{t in g} (x_ti - x_tj) - mean)^2 / T^2`: the luck that two share cancels. On the
    diagonal stand those of the estimates themselves. NaN for a single group; without groups each row is one.
    """
    centred = terms - terms.mean(axis=0)
    if groups is not None:
        _, number = np.unique(groups, return_inverse=True)
        centred = np.stack([np.bincount(number, weights=column) for column in centred.T], axis=1)
    own = centred.T @ centred
    squares = np.diag(own)[:, None] + np.diag(own) - 2 * own
    np.fill_diagonal(squares, np.diag(own))
    count = len(centred)
    if count < 2:
        return np.full(squares.shape, np.nan)
    errors: Floats = np.sqrt(np.maximum(squares, 0.0) * count / (count - 1)) / len(terms)
    return errors


def last_meeting(values: Floats, reach: Floats) -> int:
    """The last i for which `|v_i - v_j| <= reach_ij` for all j < i, and so for all those before it: Lepski (1990).

    `values [K]` are estimates from the least biased to the most, `reach [K, K]` how far apart chance may leave two of
    them; those whose reach is NaN do not meet. While they meet, the bias is no larger than the noise, so the error of
    the last, which has the least noise, is within a constant of the best choice's (SLOPE: Su, Srinath & Krishnamurthy
    2020). With half-widths c of confidence intervals SLOPE's reach is `c_i + 3 c_j`, that of Tucker & Lee (2021)
    `c_i + (sqrt(6) - 1) c_j`.
    """
    apart = ~(np.abs(values[:, None] - values) <= reach)  # true for NaN too
    strays = np.tril(apart, -1).any(axis=1)
    return int(strays.argmax()) - 1 if strays.any() else len(values) - 1
