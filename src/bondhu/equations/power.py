"""How much must be seen to find an effect: at one look planned before, and at many looks with a boundary."""

from __future__ import annotations

from functools import cache
from math import sqrt
from statistics import NormalDist
from typing import Any, overload

import numpy as np

from bondhu.types import Floats, Integers

NORMAL = NormalDist()
NODES = 2  # of the quadrature, for each standard deviation of what comes between two looks
BLOCK = 32  # nodes that are carried at once


def chance_found(effect: float, error: float, confidence: float) -> float:
    """Power of one look: `P(|Z + effect / error| > z_{(1 + c) / 2})`."""
    reach, drift = NORMAL.inv_cdf((1 + confidence) / 2), effect / error
    return NORMAL.cdf(drift - reach) + NORMAL.cdf(-drift - reach)


@overload
def design_effect(size: float, correlation: float) -> float: ...
@overload
def design_effect(size: Floats, correlation: float) -> Floats: ...
def design_effect(size: Any, correlation: float) -> Any:
    """By how much decisions of one user tell less than independent ones: `1 + (size - 1) correlation` (Kish 1965).

    Where users differ, `size` is `sum m^2 / sum m`, how many the user of a random decision takes.
    """
    return 1 + (size - 1) * correlation


def correlation_within(values: Floats, unit: Integers) -> float:
    """Correlation of two values of one unit, by the analysis of variance (Donner 1986), between 0 and 1; 0 where no
    unit has two values.

    `(B - W) / (B + (n - 1) W)`, with the mean squares B between and W within units, and
    `n = (T - sum m^2 / T) / (U - 1)`.
    """
    _, number, size = np.unique(unit, return_inverse=True, return_counts=True)
    rows, units = len(values), len(size)
    if units < 2 or rows == units:
        return 0.0
    mean = np.bincount(number, values) / size
    between = float((size * (mean - values.mean()) ** 2).sum()) / (units - 1)
    within = float(((values - mean[number]) ** 2).sum()) / (rows - units)
    typical = (rows - float((size**2).sum()) / rows) / (units - 1)
    total = between + (typical - 1) * within
    return min(max((between - within) / total, 0.0), 1.0) if total > 0 else 0.0


def stopped_by(information: Floats, boundary: Floats, drift: float) -> Floats:
    """Chance that a test has stopped at each look `[L]`, which it does where `|Z_l| > boundary_l`.

    `Z_l sqrt(n_l)` is Brownian motion with `drift` at the times n = `information`, ascending: its density among those
    who went on is carried from look to look by quadrature. Armitage, McPherson & Rowe (1969).
    """
    root = np.sqrt(information)
    ends = np.minimum(boundary * root, abs(drift) * information + 9 * root)  # beyond, the chance is below 1e-18
    steps = np.diff(information, prepend=0.0)
    nodes, weights = _legendre(int(NODES * 2 * (ends[1:] / np.sqrt(steps[1:])).max(initial=4.0)) // 50 * 50 + 50)
    places: Floats = np.zeros(1)
    density: Floats = np.ones(1)
    before: Floats = np.ones(1)
    going = np.empty(len(information))
    for look, (step, end) in enumerate(zip(steps.tolist(), ends.tolist(), strict=True)):
        there = nodes * end
        density = _carried(places, density * before, there - drift * step, step)
        places, before = there, weights * end
        going[look] = density @ before
    return 1 - going


def _carried(places: Floats, mass: Floats, there: Floats, step: float) -> Floats:
    """Density at each place after a step of this variance; whoever is more than 9 deviations away does not come."""
    density = np.empty(len(there))
    for rows in np.array_split(np.arange(len(there)), len(there) // BLOCK + 1):
        near = slice(*np.searchsorted(places, there[rows[[0, -1]]] + np.array([-9.0, 9.0]) * sqrt(step)))
        apart = there[rows][:, None] - places[near]
        density[rows] = np.exp(apart**2 / (-2 * step)) @ mass[near] / sqrt(2 * np.pi * step)
    return density


@cache
def _legendre(count: int) -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(min(count, 1000))
