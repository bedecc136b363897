"""Tail probabilities of Student's t and of chi-square, and how far out in a normal a value of t lies."""

from __future__ import annotations

from math import erfc, exp, inf, lgamma, log, log1p, sqrt
from typing import Any, overload

import numpy as np

from bondhu.types import Floats


def normal_tail(statistic: float) -> float:
    """`P(|Z| > |z|)`, both sides."""
    return erfc(abs(statistic) / sqrt(2))


def student_tail(statistic: float, degrees: float) -> float:
    """`P(|T| > |t|)`, both sides, for any degrees of freedom > 0: `I_x(degrees / 2, 1 / 2)`, `x = d / (d + t^2)`."""
    if degrees == inf:
        return normal_tail(statistic)
    if statistic == 0:
        return 1.0
    return _incomplete_beta(degrees / (degrees + statistic**2), degrees / 2, 0.5)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """`P(X > statistic)` of chi-square: the upper incomplete gamma function `Q(degrees / 2, statistic / 2)`.

    Its series below `a + 1` (Abramowitz & Stegun 6.5.29), above it the continued fraction (6.5.31) by Lentz (1976).
    """
    if degrees < 1 or statistic <= 0:
        return 1.0
    a, x = degrees / 2, statistic / 2
    front = exp(a * log(x) - x - lgamma(a))
    return 1.0 - front * _lower_series(a, x) if x < a + 1 else front * _upper_fraction(a, x)


@overload
def normal_of_t(statistic: float, degrees: float) -> float: ...
@overload
def normal_of_t(statistic: Floats, degrees: Floats) -> Floats: ...
def normal_of_t(statistic: Any, degrees: Any) -> Any:
    """The z beyond which a normal has about the tail that t has beyond this value. Shapes broadcast.

    `z = sign(t) (8 d + 1) / (8 d + 3) sqrt(d ln(1 + t^2 / d))`: Wallace (1959), within 1 % of z from 5 degrees on. It
    needs no tail probability, and so holds where that is too small for a number.
    """
    degrees = np.asarray(degrees, np.float64)
    length = np.sqrt(degrees * np.log1p(np.square(statistic) / degrees))
    return (np.sign(statistic) * (8 * degrees + 1) / (8 * degrees + 3) * length)[()]


@overload
def t_of_normal(statistic: float, degrees: float) -> float: ...
@overload
def t_of_normal(statistic: Floats, degrees: Floats) -> Floats: ...
def t_of_normal(statistic: Any, degrees: Any) -> Any:
    """The inverse of `normal_of_t`; infinite where it is too large for a number."""
    degrees = np.asarray(degrees, np.float64)
    length = np.asarray(statistic) * (8 * degrees + 3) / (8 * degrees + 1)
    with np.errstate(over="ignore"):
        return (np.sign(statistic) * np.sqrt(degrees * np.expm1(length**2 / degrees)))[()]


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """`I_x(a, b)` by its continued fraction (Abramowitz & Stegun 26.5.8), from the side where that converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by the method of Lentz (1976)."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            c, d = 1 + step / c, 1 / (1 + step * d)
            total *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return total


def _lower_series(a: float, x: float) -> float:
    term = total = 1.0 / a
    number = a
    while abs(term) > 1e-16 * total:
        number += 1
        term *= x / number
        total += term
    return total


def _upper_fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c, d = 1e300, 1 / b
    value = d
    for number in range(1, 10_000):
        step = -number * (number - a)
        b += 2
        d = 1 / (step * d + b)
        c = b + step / c
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
