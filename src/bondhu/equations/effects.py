"""The difference that a treatment makes to a ratio of sums, where users decide again and again and the share of them
that is treated changes.

Shapes: K steps, in each of which the share is constant, U users. Leading axes `[...]` are runs of their own. Within a
step who is treated is chance alone, so steps are compared each with itself: seasons and a growing share cannot pose as
an effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan, sqrt
from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import Interval
from bondhu.types import Booleans, Floats, Integers

FEWEST = 2  # users on either side of a step: fewer have no variance


class Sums(NamedTuple):
    """What the rows of every user in every step add up to."""

    rows: Floats  # [..., K, U] how many; 0 where the user was not there
    numerator: Floats  # [..., K, U]
    denominator: Floats  # [..., K, U]
    treated: Booleans  # [..., K, U]
    squares: Floats  # [..., K, 3] sums over rows of n^2, n d and d^2, for numerator n and denominator d


class Contrast(NamedTuple):
    """Two means and what each user has to do with them; the variance of a mean is the sum of its squared influences."""

    treated: Floats  # [...]
    control: Floats  # [...]
    influence: Floats  # [..., 2, U] on the treated and on the control mean
    degrees: Floats  # [...] of freedom of the difference's variance
    spread: Floats  # [...] variance of one row about its mean, in units of the means
    share: Floats  # [...] treated, averaged as the steps are
    weight: Floats  # [..., K] of each step; all 0 where no step has users on both sides
    pull: Floats  # [..., K, U] how much further apart the means are for each user on the treated side, not the other
    users: Floats  # [..., 2] equally active users that would be worth as much: treated, control


def add_up(cell: Integers, size: tuple[int, int], treated: Booleans, numerator: Floats, denominator: Floats) -> Sums:
    """Sums of rows `[T]`, where row t belongs to `cell = step * U + user` and `size` is (K, U)."""

    def total(values: Floats | None) -> Floats:
        return np.bincount(cell, values, size[0] * size[1]).astype(np.float64).reshape(size)

    products = (numerator**2, numerator * denominator, denominator**2)
    squares = [np.bincount(cell // size[1], each, size[0]) for each in products]
    return Sums(total(None), total(numerator), total(denominator), treated, np.stack(squares, axis=-1))


def ratio_contrast(sums: Sums, share: Floats, weight: Floats | None = None) -> Contrast:
    """Treated and control ratio `sum n / sum d`, each the mean of its steps with weights
    `w_k ~ share_k (1 - share_k) sum_k d`, the inverse variances under an even effect; `share` is `[..., K]`.

    By the delta method user u moves the ratio R of one side of step k by `w_k sum_{t in u} (n_t - R d_t) / sum d`. Rows
    of one user may depend on each other in any way, over all steps: only users are taken to be independent (Liang &
    Zeger 1986; Deng et al. 2018). Degrees of freedom: Welch (1947), Satterthwaite (1946) over the sides of the steps.
    """
    there = sums.rows > 0
    sides = np.stack([there & sums.treated, there & ~sums.treated], axis=-3).astype(np.float64)  # [..., 2, K, U]
    users = sides.sum(-1)
    top = np.einsum("...sku,...ku->...sk", sides, sums.numerator)
    bottom = np.einsum("...sku,...ku->...sk", sides, sums.denominator)
    usable = (users >= FEWEST).all(-2) & (bottom > 0).all(-2) & (share > 0) & (share < 1)
    if weight is None:
        weight = bottom.sum(-2) * share * (1 - share)
    weight = np.where(usable, weight, 0.0)
    weight = _over(weight, weight.sum(-1, keepdims=True))
    bottom = np.where(usable[..., None, :], bottom, 1.0)
    ratio = np.where(usable[..., None, :], top / bottom, 0.0)
    small = np.sqrt(users / np.maximum(users - 1, 1))
    moved = sides * (sums.numerator[..., None, :, :] - ratio[..., None] * sums.denominator[..., None, :, :])
    pull = moved.sum(-3) * _over(weight, bottom.sum(-2) * share * (1 - share))[..., None]
    moved = moved * (weight[..., None, :] * small / bottom)[..., None]
    parts = np.square(moved).sum(-1)
    means = (weight[..., None, :] * ratio).sum(-1)
    rows = sides * np.where(usable[..., None], sums.rows, 0.0)[..., None, :, :]
    told = _over(rows.sum(-1) ** 2, np.square(rows).sum(-1))
    freedom = (parts**2 / np.maximum(told - 1, 1)).sum((-1, -2))
    degrees = _over(parts.sum((-1, -2)) ** 2, freedom)
    spread = (weight * _spread(sums, there)).sum(-1)
    mean_share = (weight * share).sum(-1)
    part = (_over(weight[..., None, :], rows.sum(-1))[..., None] * rows).sum(-2)  # of each user in the mean of a side
    worth = _over(np.ones(part.shape[:-1]), np.square(part).sum(-1))
    return Contrast(means[..., 0], means[..., 1], moved.sum(-2), degrees, spread, mean_share, weight, pull, worth)


def _spread(sums: Sums, there: Booleans) -> Floats:
    """Variance of a row's `(n - R d) / mean d` about the ratio R of its step: `[..., K]`."""
    bottom = (sums.denominator * there).sum(-1)
    ratio = _over((sums.numerator * there).sum(-1), bottom)
    squares = sums.squares[..., 0] - 2 * ratio * sums.squares[..., 1] + ratio**2 * sums.squares[..., 2]
    return _over(squares * sums.rows.sum(-1), bottom**2)


def _over(top: Floats, bottom: Floats) -> Floats:
    """The quotient; 0 where the lower one is."""
    return np.asarray(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0))


def error_of(contrast: Contrast) -> Floats:
    """Standard error of the difference: `[...]`."""
    difference = contrast.influence[..., 0, :] - contrast.influence[..., 1, :]
    return np.asarray(np.sqrt(np.square(difference).sum(-1)))


def design_error(contrast: Contrast, share: Floats) -> Floats:
    """Standard error of the difference if the treatment did nothing, from how users were assigned: `[...]`.

    `sqrt(sum_u sum_kl g_uk g_ul min(s_k, s_l) (1 - max(s_k, s_l)))`, where g is a user's `pull`, s the `share [K]` and
    who is treated at one share is so at all larger ones (Neyman 1923, under the sharp null hypothesis of Fisher 1935).
    All users tell of it, while `error_of` knows one side from its own users: of ten without a click it believes that
    they never would.
    """
    together = np.minimum.outer(share, share) * (1 - np.maximum.outer(share, share))
    return np.asarray(np.sqrt(((together @ contrast.pull) * contrast.pull).sum((-1, -2))))


def effective_rows(spread: Floats, error: Floats) -> Floats:
    """How many independent rows, half of them treated, would know the difference as well: `4 spread / error^2`.

    The information behind a difference in units that stay the same while it grows: what a confidence sequence counts.
    0 where nothing varies yet.
    """
    return _over(4 * spread, np.square(error))


def covariate_adjusted(contrast: Contrast, covariates: Sequence[Contrast]) -> Contrast:
    """CUPED: the difference, less what a chance difference in what was known before explains of it.

    `d - theta' d_x`, with theta from the regression of the users' influences on d on those on d_x: it has the least
    variance of all theta, and whatever theta is, `d_x` has mean 0 since nothing before can be an effect. Deng et al.
    (2013). The two means share the correction, so that the mean over all users stays as it was.
    """
    ours = contrast.influence[..., 0, :] - contrast.influence[..., 1, :]
    theirs = np.stack([each.influence[..., 0, :] - each.influence[..., 1, :] for each in covariates], axis=-2)
    apart = np.stack([each.treated - each.control for each in covariates], axis=-1)
    size = np.maximum(np.linalg.norm(theirs, axis=-1), 1e-300)  # covariates come in units of their own
    unit = theirs / size[..., None]
    inverse = np.linalg.pinv(unit @ unit.swapaxes(-1, -2), hermitian=True)
    theta = np.einsum("...ab,...b->...a", inverse, np.einsum("...bu,...u->...b", unit, ours)) / size
    shift = np.einsum("...a,...a->...", theta, apart)
    moved = np.einsum("...a,...au->...u", theta, theirs)
    pulls = np.stack([each.pull for each in covariates], axis=-3)
    share = contrast.share
    sides = np.stack([-(1 - share)[..., None] * moved, share[..., None] * moved], axis=-2)
    return contrast._replace(
        treated=contrast.treated - (1 - share) * shift,
        control=contrast.control + share * shift,
        influence=contrast.influence + sides,
        pull=contrast.pull - np.einsum("...a,...aku->...ku", theta, pulls),
    )


def covariance_of(contrast: Contrast) -> Floats:
    """Covariance of the treated and the control mean: `[..., 2, 2]`. They are not independent where users changed side
    when the share grew."""
    return np.asarray(contrast.influence @ contrast.influence.swapaxes(-1, -2))


def lift(means: tuple[float, float], covariance: Floats, quantile: float) -> Interval:
    """Interval of `treated / control - 1`: all lifts theta for which `|treated - (1 + theta) control|` is at most
    `quantile` standard errors (Fieller 1954).

    Unbounded where the control mean may be 0. Where it is negative, a lift is the difference over its absolute value.
    """
    top, bottom = means
    if quantile == inf:
        return -inf, inf
    square = quantile**2
    a = bottom**2 - square * float(covariance[1, 1])
    b = top * bottom - square * float(covariance[0, 1])
    c = top**2 - square * float(covariance[0, 0])
    if a <= 0:
        return -inf, inf
    root = sqrt(max(b**2 - a * c, 0.0))
    low, high = (b - root) / a - 1, (b + root) / a - 1
    return (low, high) if bottom > 0 else (-high, -low)


def lift_of(treated: float, control: float) -> float:
    """`(treated - control) / |control|`; NaN where control is 0."""
    return (treated - control) / abs(control) if control else nan
