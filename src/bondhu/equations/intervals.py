"""Confidence intervals of a mean: Student's for large samples, corrected for skewness, bootstrap, and empirical
Bernstein without asymptotics.

Terms are `[T]`. `groups [T]` numbers the session of each term: terms of one session may depend on each other, so what
counts as one independent observation is the session. Without groups every term is its own session.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import atan, cos, exp, inf, lgamma, log, pi, sin, sqrt
from statistics import NormalDist

import numpy as np

from bondhu.types import Floats, Integers

Interval = tuple[float, float]

# Chosen on simulated logs; docs/coverage.md has what came of it on others.
FEW = 10.0  # groups that carry the variance, below which they do not show how skewed the terms are
CLEAR = 3.0  # standard errors of a skewness beyond which its sign is no chance


def standard_error(terms: Floats, groups: Integers | None = None) -> tuple[float, int]:
    """Standard error of the mean and the number of groups G.

    `se^2 = G / (G - 1) * sum_g (sum_{t in g} (x_t - mean))^2 / T^2`; with one term a group this is `s^2 / T`.
    Liang & Zeger (1986); `se` is infinite where G < 2.
    """
    centred = group_sums(terms - terms.mean(), groups)
    count = len(centred)
    if count < 2:
        return inf, count
    return sqrt(count / (count - 1) * float(centred @ centred)) / len(terms), count


def student(terms: Floats, confidence: float, groups: Integers | None = None) -> Interval:
    """`mean +- t_{(1 + confidence) / 2, G - 1} * se`. Student (1908); asymptotically right for any finite variance."""
    mean = float(terms.mean())
    error, count = standard_error(terms, groups)
    half = t_quantile((1 + confidence) / 2, count - 1) * error if count > 1 else inf
    return mean - half, mean + half


def skewness_corrected(terms: Floats, confidence: float, groups: Integers | None = None) -> Interval:
    """Student's interval, `bent` so that the truth lies above as rarely as below where the terms are skewed."""
    return bent(terms, lambda count: t_quantile((1 + confidence) / 2, count - 1) if count > 1 else inf, groups)


def bent(terms: Floats, reach: Callable[[int], float], groups: Integers | None = None) -> Interval:
    """`(h(q), h(-q))`, `h(q) = mean - se (cbrt(1 + c (q - c / 6)) - 1) 3 / c`, for an interval of `reach(G)` errors.

    h is the inverse of Hall's transformation (1992) of `(mean - truth) / se`, with `c = skewness / sqrt(G)` and q of
    `_bent_reach`. Where few groups carry the variance, or some on either side, the skewness may be chance: then it
    holds the straight interval as well.
    """
    mean, sums = float(terms.mean()), group_sums(terms - terms.mean(), groups)
    count, total = len(sums), float(sums @ sums)
    straight = reach(count)
    error = sqrt(count / (count - 1) * total) / len(terms) if count > 1 else 1.0
    if count < 3 or total < np.finfo(np.float64).tiny:  # all alike, but for what rounding leaves
        return mean - straight * error, mean + straight * error
    x = sums * sqrt(count / total)
    square = x * x
    skewness, kurtosis = float(square @ x) / count, float(square @ square) / count
    q = _bent_reach(straight, skewness**2 / count, (kurtosis - 3) / count)
    low, high = (mean - error * _straightened(side, skewness / sqrt(count)) for side in (q, -q))
    if count / kurtosis >= FEW and abs(skewness) > CLEAR * _skewness_error(x, square, skewness, kurtosis):
        return low, high
    return min(low, mean - straight * error), max(high, mean + straight * error)


def _skewness_error(x: Floats, square: Floats, skewness: float, kurtosis: float) -> float:
    """`sqrt((m_6 - 3 g m_5 + (9 g^2 / 4 - 6) m_4 + 35 g^2 / 4 + 9) / G)`: g the skewness, m moments of x `[G]`."""
    cube = square * x
    fifth, sixth = float(cube @ square) / len(x), float(cube @ cube) / len(x)
    variance = sixth - 3 * skewness * fifth + (2.25 * skewness**2 - 6) * kurtosis + 8.75 * skewness**2 + 9
    return sqrt(max(variance, 0.0) / len(x))


def _bent_reach(z: float, skewed: float, heavy: float) -> float:
    """`z + max(0, z (heavy (z^2 / 4 + 5 / 12) - skewed (11 z^2 / 27 + 31 / 72)))`.

    What Hall's transformation with an estimated skewness still misses by at order 1 / G, from the expansion of the
    studentised mean (Hall 1992, section 2.6) and the correlation of the two; `skewed` is skewness^2 / G, `heavy` the
    excess kurtosis / G. Only to the wider side: both are estimates.
    """
    return z + max(0.0, z * (heavy * (z * z / 4 + 5 / 12) - skewed * (11 * z * z / 27 + 31 / 72)))


def _straightened(q: float, c: float) -> float:
    """The t with `t + c (t^2 / 3 + 1 / 6) + c^2 t^3 / 27 = q`."""
    return q if abs(c) < 1e-6 else float(np.cbrt(1 + c * (q - c / 6)) - 1) * 3 / c


def bootstrap_t(
    terms: Floats,
    confidence: float,
    rng: np.random.Generator,
    groups: Integers | None = None,
    resamples: int = 1000,
) -> Interval:
    """Student's interval with quantiles of `(mean* - mean) / se*` over resampled groups in place of those of t.

    Efron (1979), Hall (1988): right to the second order, as far as the log shows its own tails; groups whole: Cameron
    et al. (2008). A resample whose terms are all alike speaks for no finite interval.
    """
    mean, (error, _) = float(terms.mean()), standard_error(terms, groups)
    if not 0 < error < inf:
        return mean - error, mean + error
    away, errors = _resampled(terms, rng, groups, resamples)
    statistic = np.divide(away, errors, out=np.copysign(inf, away), where=errors > 1e-9 * error)
    low, high = np.quantile(statistic, [(1 - confidence) / 2, (1 + confidence) / 2], method="nearest")
    return mean - float(high) * error, mean - float(low) * error


def _resampled(
    terms: Floats, rng: np.random.Generator, groups: Integers | None, resamples: int
) -> tuple[Floats, Floats]:
    """How far the mean of groups drawn with replacement lies from the mean, and its standard error: `[resamples]`."""
    sums = group_sums(terms - terms.mean(), groups)
    sizes = None if groups is None else group_sums(np.ones(len(terms)), groups)
    count = len(sums)
    away, errors = np.empty((2, resamples))
    step = max(1, 500_000 // count)  # resamples drawn at once: 2 MB of row numbers
    for start in range(0, resamples, step):
        rows = rng.integers(count, size=(min(step, resamples - start), count), dtype=np.int32)
        drawn = sums[rows]
        weight = np.ones(1) if sizes is None else sizes[rows]
        size = np.full(len(rows), float(count)) if sizes is None else weight.sum(1)
        mean = drawn.sum(1) / size
        drawn -= mean[:, None] * weight
        done = slice(start, start + len(rows))
        away[done] = mean
        errors[done] = np.sqrt(count / max(count - 1, 1) * np.einsum("kg,kg->k", drawn, drawn)) / size
    return away, errors


def group_sums(terms: Floats, groups: Integers | None) -> Floats:
    """Sums of the terms of each group `[G]`."""
    if groups is None or len(terms) == 0:
        return terms
    if (groups[1:] >= groups[:-1]).all():  # as a batch has them: no sorting
        starts = np.flatnonzero(np.concatenate([[True], groups[1:] > groups[:-1]]))
        return np.add.reduceat(terms, starts, dtype=np.float64)
    _, number = np.unique(groups, return_inverse=True)
    return np.asarray(np.bincount(number, weights=terms), np.float64)


def empirical_bernstein(terms: Floats, confidence: float, bounds: Interval) -> Interval:
    """Covers with at least `confidence` at any T >= 2, for independent terms inside `bounds`.

    `mean +- (sqrt(2 s^2 L / T) + 7 (high - low) L / (3 (T - 1)))` with `L = ln(4 / (1 - confidence))`.
    Maurer & Pontil (2009), theorem 4, on both sides.
    """
    length = log(4 / (1 - confidence))
    count = len(terms)
    half = sqrt(2 * float(terms.var(ddof=1)) * length / count) + 7 * (bounds[1] - bounds[0]) * length / (
        3 * (count - 1)
    )
    mean = float(terms.mean())
    return mean - half, mean + half


@lru_cache(maxsize=256)
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t with whole degrees of freedom.

    Cornish-Fisher from the normal quantile (Abramowitz & Stegun 26.7.5), then Newton on the exact distribution
    function (26.7.3-4) where degrees <= 200; beyond, the series alone is right to 1e-9.
    """
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    z = NormalDist().inv_cdf(probability)
    quantile = (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
    if degrees > 200:
        return quantile
    scale = exp(lgamma((degrees + 1) / 2) - lgamma(degrees / 2)) / sqrt(degrees * pi)
    for _ in range(50):  # from the left of the root the distribution function is concave: Newton cannot overshoot
        density = scale * (1 + quantile**2 / degrees) ** (-(degrees + 1) / 2)
        step = (probability - _t_cdf(quantile, degrees)) / density
        quantile += step
        if abs(step) < 1e-12 * max(1.0, quantile):
            break
    return quantile


def _t_cdf(t: float, degrees: int) -> float:
    """`P(X <= t)`, `t >= 0`, by the finite trigonometric series in `theta = atan(t / sqrt(degrees))`."""
    theta = atan(t / sqrt(degrees))
    odd = degrees % 2
    term = total = 0.0 if degrees == 1 else (cos(theta) if odd else 1.0)
    for k in range(2 + odd, degrees, 2):
        term *= cos(theta) ** 2 * (k - 1) / k
        total += term
    both = 2 / pi * (theta + sin(theta) * total) if odd else sin(theta) * total
    return 0.5 + both / 2
