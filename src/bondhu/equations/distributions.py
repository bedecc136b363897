"""The whole distribution of a reward on a grid of values: distribution functions from weights, what follows from them,
and bands that hold them. Values `[V]` ascend; a distribution function `[V]` is P(reward <= value)."""

from __future__ import annotations

import numpy as np

from bondhu.equations.intervals import Interval, empirical_bernstein
from bondhu.types import Floats


def cumulative(reward: Floats, weights: Floats, values: Floats) -> Floats:
    """`F(v) = sum_t w_t 1{r_t <= v} / T`: `[T], [T], [V]` to `[V]`. Huang, Leqi, Lipton & Azizzadenesheli (2021)."""
    place = np.searchsorted(values, reward)
    return np.bincount(place, weights=weights, minlength=len(values) + 1)[: len(values)].cumsum() / len(reward)


def rising(estimated: Floats) -> Floats:
    """The estimate `[..., V]` as a distribution function: between 0 and 1, never falling, 1 at the last value."""
    held: Floats = np.maximum.accumulate(np.clip(estimated, 0.0, 1.0), axis=-1)
    held[..., -1] = 1.0
    return held


def quantile(values: Floats, cdf: Floats, level: float) -> Floats:
    """`Q(level) = min {v: F(v) >= level}` of each distribution function: `[V], [..., V]` to `[...]`."""
    found: Floats = values[(cdf >= level - 1e-12).argmax(axis=-1)]
    return found


def lower_tail_mean(values: Floats, cdf: Floats, alpha: float) -> Floats:
    """CVaR, the mean of the worst share alpha: `int_0^alpha Q(u) du / alpha`. Rockafellar & Uryasev (2000).

    With alpha 1 it is the mean. `[V], [..., V]` to `[...]`.
    """
    mass = np.diff(np.minimum(cdf, alpha), axis=-1, prepend=0.0)
    tail: Floats = mass @ values / alpha
    return tail


def variance(values: Floats, cdf: Floats) -> Floats:
    """`E[(r - E r)^2]`: `[V], [..., V]` to `[...]`."""
    mass = np.diff(cdf, axis=-1, prepend=0.0)
    mean = mass @ values
    spread: Floats = (mass * (values - np.asarray(mean)[..., None]) ** 2).sum(axis=-1)
    return spread


def resampled_band(cdf: Floats, draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """`F +- c`, where c is the quantile of `max_v |F_b(v) - F(v)|` over bootstrap draws `[B, V]`: the whole function
    lies inside with this confidence, in large samples. Bickel & Freedman (1981)."""
    reach = float(np.quantile(np.abs(draws - cdf).max(axis=1), confidence))
    low, high = rising(cdf - reach), np.clip(cdf + reach, 0.0, 1.0)
    return low, rising(high)


def bernstein_band(
    reward: Floats, weights: Floats, values: Floats, confidence: float, heaviest: float, knots: int = 32
) -> tuple[Floats, Floats]:
    """Holds the whole function with at least `confidence` at any T, for weights of mean 1 in [0, heaviest].

    At K knots among the values, empirical Bernstein intervals of the mean of `w 1{r <= v}`, and of `w 1{r > v}`, which
    is 1 - F(v), each at `1 - (1 - confidence) / (2 K)`; in between a function that rises is held by its neighbours.
    Chandak et al. (2021), "Universal off-policy evaluation".
    """
    at = np.unique(np.linspace(0, len(values) - 1, min(knots, len(values))).round().astype(int))
    each = 1.0 - (1.0 - confidence) / (2 * len(at))

    def bounds(value: float) -> Interval:
        below = np.where(reward <= value, weights, 0.0)
        (low, high), (rest_low, rest_high) = (
            empirical_bernstein(terms, each, (0.0, heaviest)) for terms in (below, weights - below)
        )
        return max(low, 1.0 - rest_high), min(high, 1.0 - rest_low)

    held = np.array([bounds(value) for value in values[at]])
    grid = np.arange(len(values))
    before, after = np.searchsorted(at, grid, side="right") - 1, np.searchsorted(at, grid)
    return rising(held[before, 0]), rising(held[after, 1][::-1].clip(0, 1)[::-1])
