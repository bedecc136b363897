"""How much exploration a log needs before it speaks for another policy. Shapes: T rows, A actions."""

from __future__ import annotations

from math import inf, isfinite, nan

import numpy as np

from bondhu.types import Floats

STEPS = 60  # halvings of an interval of rates: to the last digit


def second_moment(target: Floats, acting: Floats, even: Floats, rate: float) -> float:
    """`E[w²] = mean_t Σ_a π(a | x_t)² / μ_e(a | x_t)` under `μ_e = (1 - e) μ + e u`, all `[T, A]`; `e` is the rate.

    Weights average 1, so N decisions are worth N / E[w²] effective samples (Kish 1965). Infinite where the policy does
    what is never tried.
    """
    tried = (1.0 - rate) * acting + rate * even
    wanted = target > 0
    if bool((wanted & (tried <= 0)).any()):
        return inf
    return float((target**2 / np.where(wanted, tried, 1.0)).sum() / len(target))


def least_rate(target: Floats, acting: Floats, even: Floats, worth: float) -> float:
    """The least rate e at which a decision is worth this many effective samples, `1 / E[w²] >= worth`; NaN: at none.

    E[w²] is convex in e: what lies below its minimum is found by halving, and so is the minimum, from its slope.
    """

    def moment(rate: float) -> float:
        return second_moment(target, acting, even, rate)

    limit = 1.0 / worth
    if moment(0.0) <= limit:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(STEPS):  # thirds: the minimum of a convex function stays inside
        left, right = low + (high - low) / 3, high - (high - low) / 3
        ahead, behind = moment(left), moment(right)
        if min(ahead, behind) <= limit:
            high = left if ahead <= limit else right
            break
        low, high = (low, right) if ahead <= behind else (left, high)
    if not isfinite(moment(high)) or moment(high) > limit:
        return nan
    low = 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if moment(middle) <= limit else (middle, high)
    return high
