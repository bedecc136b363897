"""Confidence sequences: intervals and p-values that hold at every look at once, however often one looks.

An interval for a fixed sample holds at the one moment it was planned for: looked at again and again, it leaves the
truth in the end. These may be looked at after every observation, and one may stop whenever one likes.
"""

from __future__ import annotations

from functools import cache
from math import log
from typing import Any, overload

import numpy as np

from bondhu.equations.intervals import Interval, bent
from bondhu.types import Floats, Integers

TUNED_FOR = 0.95  # confidence at which `radius` is narrowest; at 80 % to 99.9 % it could be less than 1 % narrower
BOLDEST = 0.5  # largest bet of `empirical_bernstein_path`, of a capital of 1


@overload
def radius(count: float, confidence: float, tuned: float = ...) -> float: ...
@overload
def radius(count: Floats, confidence: float, tuned: float = ...) -> Floats: ...
def radius(count: Any, confidence: float, tuned: float = 1000.0) -> Any:
    """How many standard errors an interval reaches to each side of a mean of n observations, to hold at every n.

    `sqrt((v + 1) / v * ln((v + 1) / alpha^2))` with `v = n rho^2` and alpha = 1 - confidence: a normal mixture over the
    effects that may be (Robbins 1970), asymptotically right for any finite variance (Waudby-Smith et al. 2024). rho
    makes it narrowest at n = `tuned`; with no observation it is infinite.
    """
    spread = _spread(count, tuned)
    with np.errstate(divide="ignore"):
        squared = (spread + 1) / spread * (np.log1p(spread) - 2 * log(1 - confidence))
    return np.sqrt(squared)[()]


@overload
def always_valid_p(statistic: float, count: float, tuned: float = ...) -> float: ...
@overload
def always_valid_p(statistic: Floats, count: Floats, tuned: float = ...) -> Floats: ...
def always_valid_p(statistic: Any, count: Any, tuned: float = 1000.0) -> Any:
    """`min(1, sqrt(v + 1) exp(-v z^2 / (2 (v + 1))))` of z = mean / standard error: at most alpha where `radius` is at
    most |z|, and only there.

    One over the mixture likelihood ratio, the mSPRT of Johari et al. (2022); the chance that it ever falls to alpha is
    at most alpha where there is no effect.
    """
    spread = _spread(count, tuned)
    exponent = np.log1p(spread) / 2 - spread / (spread + 1) * np.square(statistic) / 2
    return np.exp(np.minimum(exponent, 0.0))[()]


def confidence_sequence(
    terms: Floats, confidence: float, groups: Integers | None = None, tuned: float = 1000.0
) -> Interval:
    """`mean +- radius(G) se`, bent where the terms are skewed: then it holds from far earlier looks on.

    On rare terms of any size, looked at from the fifth on, it held the truth at every look in 99 % of 400 logs where
    the straight one did in 86 %.
    """
    return bent(terms, lambda count: radius(count, confidence, tuned), groups)


def empirical_bernstein_sequence(terms: Floats, confidence: float, bounds: Interval) -> Interval:
    """Where the mean of independent terms inside `bounds` lies by all that was seen so far, without asymptotics.

    The last of `empirical_bernstein_path`. In the order of the terms: look ahead, or sort them, and it does not hold.
    """
    low, high = empirical_bernstein_path(terms, confidence, bounds)
    return (float(low[-1]), float(high[-1])) if len(terms) else bounds


def empirical_bernstein_path(terms: Floats, confidence: float, bounds: Interval) -> tuple[Floats, Floats]:
    """Lows and highs `[T]` after each term: all hold at once with at least `confidence`, so they only close in.

    With x_t in [0, 1]: `(sum l_t x_t +- (ln(2 / alpha) + sum (x_t - m_{t-1})^2 (-ln(1 - l_t) - l_t))) / sum l_t`, where
    the bets `l_t = min(sqrt(2 ln(2 / alpha) / (s^2_{t-1} t ln(1 + t))), 1/2)` know only what came before.
    Waudby-Smith & Ramdas (2024), theorem 2.
    """
    low, high = bounds
    x = (np.asarray(terms, np.float64) - low) / (high - low)
    t, length = np.arange(1.0, len(x) + 1), log(2 / (1 - confidence))
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before, spread = np.append(0.5, mean[:-1]), np.append(0.25, variance[:-1])
    bet = np.minimum(np.sqrt(2 * length / (spread * t * np.log1p(t))), BOLDEST)
    stake = np.cumsum(bet)
    centre = np.cumsum(bet * x) / stake
    half = (length + np.cumsum((x - before) ** 2 * (-np.log1p(-bet) - bet))) / stake
    lows, highs = np.maximum.accumulate(centre - half), np.minimum.accumulate(centre + half)
    return low + (high - low) * np.maximum(lows, 0.0), low + (high - low) * np.minimum(highs, 1.0)


def _spread(count: Any, tuned: float) -> Any:
    """`v = n rho^2`, the variance of the mixture in squared standard errors."""
    return np.asarray(count, np.float64) * (_narrowest() / tuned)


@cache
def _narrowest() -> float:
    """The v that minimises `radius`: its derivative is 0 where `v = ln((v + 1) / alpha^2)`, a contraction."""
    v = 1.0
    for _ in range(60):
        v = log(v + 1) - 2 * log(1 - TUNED_FOR)
    return v
