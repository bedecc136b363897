"""Confidence intervals of a mean: Student's for large samples, bootstrap, and empirical Bernstein without asymptotics.

Terms are `[T]`. `groups [T]` numbers the session of each term: terms of one session may depend on each other, so what
counts as one independent observation is the session. Without groups every term is its own session.
"""

from __future__ import annotations

from functools import lru_cache
from math import atan, cos, exp, inf, lgamma, log, pi, sin, sqrt
from statistics import NormalDist

import numpy as np

from bondhu.types import Floats, Integers

Interval = tuple[float, float]


def standard_error(terms: Floats, groups: Integers | None = None) -> tuple[float, int]:
    """Standard error of the mean and the number of groups G.

    `se^2 = G / (G - 1) * sum_g (sum_{t in g} (x_t - mean))^2 / T^2`; with one term a group this is `s^2 / T`.
    Liang & Zeger (1986); `se` is infinite where G < 2.
    """
    centred = terms - terms.mean()
    if groups is not None:
        _, number = np.unique(groups, return_inverse=True)
        centred = np.bincount(number, weights=centred)
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


def bootstrap(
    terms: Floats,
    confidence: float,
    rng: np.random.Generator,
    groups: Integers | None = None,
    resamples: int = 2000,
) -> Interval:
    """Percentile interval of the mean over resampled groups. Efron (1979); groups whole: Cameron et al. (2008)."""
    sums: Floats = np.asarray(terms, np.float64)
    sizes: Floats = np.ones(len(terms))
    if groups is not None:
        _, number = np.unique(groups, return_inverse=True)
        sums = np.asarray(np.bincount(number, weights=terms), np.float64)
        sizes = np.bincount(number).astype(np.float64)
    means = np.empty(resamples)
    step = max(1, 4_000_000 // len(sums))  # resamples drawn at once: 32 MB of row numbers
    for start in range(0, resamples, step):
        rows = rng.integers(len(sums), size=(min(step, resamples - start), len(sums)))
        means[start : start + len(rows)] = sums[rows].sum(1) / sizes[rows].sum(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


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
