"""The whole distribution of a reward on a grid of values: distribution functions from weights, what follows from them,
and bands that hold them. Values `[V]` ascend; a distribution function `[V]` is P(reward <= value)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import Interval, empirical_bernstein
from bondhu.types import Floats


class Cells(NamedTuple):
    """Where the mass of each step of a distribution function lies: at one value, or between two."""

    low: Floats  # [V] the least value
    high: Floats  # [V] the largest one, at which the function is told
    centre: Floats  # [V] mean
    spread: Floats  # [V] variance


def points(values: Floats) -> Cells:
    """Cells of one value each: `[V]`."""
    return Cells(values, values, values, np.zeros(len(values)))


def cells(reward: Floats, weights: Floats, most: int, bounds: Interval | None = None) -> Cells:
    """Every value of `reward [T]`, or at most so many cells of them; and the bounds.

    Cells are as wide, in mass, as they are far from the nearer end: `log(u / (1 - u))` steps evenly, so that tails are
    told as finely as the middle. A value with more mass than a cell is a cell of its own.
    """
    values, number = np.unique(reward, return_inverse=True)
    high = values
    if len(values) > most:
        mass = np.bincount(number, weights=weights)
        reach = np.log(len(reward)) + 1.0
        level = 1.0 / (1.0 + np.exp(-np.linspace(-reach, reach, most)))
        at, times = np.unique(np.searchsorted(mass.cumsum() / mass.sum(), level[:-1]), return_counts=True)
        alone = at[times > 1]
        edges = np.concatenate([at, alone - 1, [len(values) - 1]])
        high = values[np.unique(edges.clip(0, len(values) - 1))]
    place = np.searchsorted(high, reward)
    weight = np.bincount(place, weights=weights)
    count = np.where(weight > 0, weight, np.bincount(place))
    each = np.where(weight[place] > 0, weights, 1.0)
    centre = np.bincount(place, weights=each * reward) / count
    spread = np.bincount(place, weights=each * (reward - centre[place]) ** 2) / count
    low = values[np.append(0, np.searchsorted(values, high[:-1], side="right"))]
    found = Cells(low, high, np.clip(centre, low, high), spread)
    if bounds is None:
        return found
    beyond = points(np.setdiff1d(bounds, high))
    order = np.argsort(np.concatenate([beyond.high, high]))
    return Cells(*(np.concatenate(pair)[order] for pair in zip(beyond, found, strict=True)))


def cumulative(reward: Floats, weights: Floats, values: Floats) -> Floats:
    """`F(v) = sum_t w_t 1{r_t <= v} / T`: `[T], [T], [V]` to `[V]`. Huang, Leqi, Lipton & Azizzadenesheli (2021)."""
    place = np.searchsorted(values, reward)
    return np.bincount(place, weights=weights, minlength=len(values) + 1)[: len(values)].cumsum() / len(reward)


def rising(estimated: Floats) -> Floats:
    """The estimate `[..., V]` as a distribution function: between 0 and 1, never falling, 1 at the last value."""
    held: Floats = np.maximum.accumulate(np.clip(estimated, 0.0, 1.0), axis=-1)
    held[..., -1] = 1.0
    return held


def quantile(where: Cells, cdf: Floats, level: float) -> Floats:
    """`Q(level) = min {v: F(v) >= level}` of each function, linear inside a cell: `[..., V]` to `[...]`."""
    place = (cdf >= level - 1e-12).argmax(axis=-1)
    mass = np.diff(cdf, axis=-1, prepend=0.0)
    before, own = (np.take_along_axis(each, place[..., None], -1)[..., 0] for each in (cdf - mass, mass))
    share = np.divide(level - before, own, out=np.ones_like(own), where=own > 0)
    found: Floats = where.low[place] + share.clip(0.0, 1.0) * (where.high - where.low)[place]
    return found


def lower_tail_mean(where: Cells, cdf: Floats, alpha: float) -> Floats:
    """CVaR, the mean of the worst share alpha: `int_0^alpha Q(u) du / alpha`. Rockafellar & Uryasev (2000).

    With alpha 1 it is the mean. Of a cell that alpha divides, the lower part counts. `[..., V]` to `[...]`.
    """
    mass, taken = (np.diff(each, axis=-1, prepend=0.0) for each in (cdf, np.minimum(cdf, alpha)))
    left = np.divide(mass - taken, mass, out=np.zeros_like(mass), where=mass > 0)
    place = np.maximum(where.centre - left * (where.high - where.low) / 2, where.low)
    tail: Floats = (taken * place).sum(axis=-1) / alpha
    return tail


def variance(where: Cells, cdf: Floats) -> Floats:
    """`E[(r - E r)^2]`: `[..., V]` to `[...]`."""
    mass = np.diff(cdf, axis=-1, prepend=0.0)
    mean = mass @ where.centre
    away = where.spread + (where.centre - np.asarray(mean)[..., None]) ** 2
    return np.asarray((mass * away).sum(axis=-1))


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
