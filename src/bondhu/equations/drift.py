"""Whether two stretches of a log differ: stability index, tests of two samples, and errors where people return.

Counts are `[K]`, one for each category. `groups [T]` numbers the person of each row: rows of one person depend on each
other, so a test counts fewer rows than there are.
"""

from __future__ import annotations

from math import exp, inf, sqrt

import numpy as np

from bondhu.types import Floats, Integers

RARE = 5.0  # expected rows below which categories are put together: Cochran (1954)


def population_stability_index(first: Floats, second: Floats) -> float:
    """`sum_k (p_k - q_k) ln(p_k / q_k)` of two shares, half a row added to each category: Jeffreys (1946).

    By custom (Siddiqi 2006) below 0.1 nothing has changed, from 0.25 much has.
    """
    p = (first + 0.5) / (first.sum() + 0.5 * len(first))
    q = (second + 0.5) / (second.sum() + 0.5 * len(second))
    return float(((p - q) * np.log(p / q)).sum())


def two_sample_chi_square(first: Floats, second: Floats) -> tuple[float, int]:
    """`sum_k (sqrt(M/N) a_k - sqrt(N/M) b_k)^2 / (a_k + b_k)` with N = sum a, M = sum b, and its degrees of freedom.

    Pearson (1911). Categories with fewer than RARE rows expected in the smaller sample are counted as one.
    """
    both = first + second
    smaller = min(first.sum(), second.sum()) / both.sum()
    rare = both * smaller < RARE
    a, b = (np.append(each[~rare], each[rare].sum()) for each in (first, second))
    there = a + b > 0
    ratio = sqrt(second.sum() / first.sum())
    distance = (ratio * a[there] - b[there] / ratio) ** 2 / (a + b)[there]
    return float(distance.sum()), int(there.sum()) - 1


def kolmogorov_smirnov(first: Floats, second: Floats) -> float:
    """`sup_x |F(x) - G(x)|` of two empirical distribution functions. Smirnov (1939)."""
    places = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(each), places, side="right") / len(each) for each in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def kolmogorov_tail(distance: float, rows: float) -> float:
    """`2 sum_j (-1)^(j-1) exp(-2 j^2 l^2)`, `l = (sqrt(n) + 0.12 + 0.11 / sqrt(n)) d`: chance of a larger distance.

    `rows`: n of one sample, or N M / (N + M) of two. Kolmogorov (1933); for small n as Stephens (1970).
    """
    if rows <= 0:
        return 1.0
    place = (sqrt(rows) + 0.12 + 0.11 / sqrt(rows)) * distance
    if place < 0.2:
        return 1.0  # to 1e-12; the series would need many terms
    total = sum(exp(-2 * j**2 * place**2) * (1.0 if j % 2 else -1.0) for j in range(1, 101))
    return min(max(2 * total, 0.0), 1.0)


def shares_scatter(codes: Integers, groups: Integers, size: int) -> float:
    """How many times wider the shares of `size` categories scatter than of independent rows, at least 1.

    `1 / (K - 1) sum_k (1 - p_k) d_k` over the K categories seen, with `d_k` the variance of `p_k` by groups over
    `p_k (1 - p_k) / T`. Rao & Scott (1981).
    """
    _, group = np.unique(groups, return_inverse=True)
    rows, people = len(codes), int(group.max(initial=-1)) + 1
    share = np.bincount(codes, minlength=size) / max(rows, 1)
    seen = np.flatnonzero(share)
    if len(seen) < 2 or people < 2:
        return 1.0
    number = np.bincount(group)
    pair, count = np.unique(group * size + codes, return_counts=True)
    code = pair % size
    # sum over people of (count - number x share)^2, where only pairs that occur have a count
    squares = np.bincount(code, count**2 - 2.0 * count * number[pair // size] * share[code], size)
    squares += (number.astype(np.float64) ** 2).sum() * share**2
    spread = people / (people - 1) * squares[seen] / rows**2
    effect = rows * float((spread / share[seen]).sum()) / (len(seen) - 1)
    return float(max(effect, 1.0))


def clustered_error(contributions: Floats, groups: Integers) -> tuple[float, int]:
    """Standard error `sqrt(G / (G - 1) sum_g (sum_{t in g} u_t)^2)` of a statistic `sum_t u_t`, and the G groups.

    `u` is what each row adds to the error, about 0: of a weighted mean `w_t (x_t - mean)`. Liang & Zeger (1986).
    """
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, weights=contributions)
    count = len(sums)
    return (sqrt(count / (count - 1) * float(sums @ sums)), count) if count > 1 else (inf, count)


def dispersion(residuals: Floats, errors: Floats, estimated: int) -> float:
    """`sum (residual / error)^2 / (D - estimated)`, at least 1: how much more days scatter than their rows explain.

    Residuals `[D]` of daily means from a model with so many estimated numbers. McCullagh & Nelder (1989), section 4.5.
    """
    degrees = len(residuals) - estimated
    return max(1.0, float(((residuals / errors) ** 2).sum()) / degrees) if degrees > 0 else 1.0
