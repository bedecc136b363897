"""Ridge regression on random Fourier features, row after row: as flexible as a Gaussian kernel, at a fixed cost.

A row of D = 1 + C + R features is [1, z / √(κC), √(2/R)·cos(Ωz + φ)] (Rahimi & Recht 2007), where z are C standardised
columns and Ω has orthogonal rows with the lengths of normal ones (Yu et al. 2016). Scaling a column by 1/√p gives its
coefficient a prior p times as strict, so one ridge of 1 serves all. Each action has a posterior Q as in
`equations.recursive`, of rewards as they are; predictions shrink towards `baseline` instead of 0. That needs no second
fit: with the ridge 1 the coefficients of the constant target 1 are e₀ - P e₀, so a prediction is θ'f + baseline·(P f)₀.

Shapes: T rows, A actions, F observation columns, C of them after folding, R Fourier features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bondhu.equations.recursive import direction, rank_one, ready
from bondhu.types import Floats, Integers

LARGEST = 5.0  # standard deviations at which a column is cut: an outlier must not drown the others
FLAT = 1e-24  # variance of a column that never changed


class Lens(NamedTuple):
    """What turns an observation into a row of features."""

    column: Integers  # [F] in which of the C columns each observation column goes
    sign: Floats  # [F] with which sign and weight
    frequency: Floats  # [R, C] Ω
    phase: Floats  # [R] φ
    slope: float  # 1 / √(κC), the scale of the linear columns


def lens_of(features: int, size: int, widest: int, strictness: float, rng: np.random.Generator) -> Lens:
    """A lens with `size` Fourier features for `features` observation columns; above `widest` they share columns by a
    signed hash (Weinberger et al. 2009). `strictness` is κ."""
    columns = min(features, widest)
    place = np.arange(features) % columns
    shares = np.bincount(place, minlength=columns)
    sign = np.where(np.arange(features) < columns, 1.0, rng.choice([-1.0, 1.0], features)) / np.sqrt(shares[place])
    blocks = [np.empty((0, columns))]
    for _ in range(-(-size // columns)):
        rotation = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
        blocks.append(rotation * np.sqrt(rng.chisquare(columns, (columns, 1))))
    frequency = np.concatenate(blocks)[:size] / math.sqrt(columns)
    return Lens(place, sign, frequency, rng.uniform(0.0, 2.0 * math.pi, size), 1.0 / math.sqrt(strictness * columns))


def expand(observation: Floats, moments: Floats, lens: Lens, row: Floats) -> None:
    """Write the features of one observation `[F]` to the first D entries of `row`.

    `moments` `[2, F]`: mean and variance of the columns so far; a column without variance says nothing yet.
    """
    columns, size = lens.frequency.shape[1], len(lens.phase)
    row[0] = 1.0
    row[1 : 1 + columns] = 0.0
    for j in range(len(observation)):
        if moments[1, j] > FLAT:
            standard = (observation[j] - moments[0, j]) / math.sqrt(moments[1, j])
            row[1 + lens.column[j]] += lens.sign[j] * max(-LARGEST, min(LARGEST, standard))
    scale = math.sqrt(2.0 / max(size, 1))
    for k in range(size):
        angle = lens.phase[k]
        for j in range(columns):
            angle += lens.frequency[k, j] * row[1 + j]
        row[1 + columns + k] = scale * math.cos(angle)
    for j in range(columns):
        row[1 + j] *= lens.slope


def believe(observation: Floats, moments: Floats, lens: Lens, posterior: Floats, reward: Floats) -> Floats:
    """Value and error of every action, `[2, T, A]`; `reward` `[2]` holds the baseline and the noise's deviation."""
    size = posterior.shape[1]
    found = np.empty((2, len(observation), len(posterior)))
    row, step = np.zeros(size), np.empty(size)
    for t in range(len(observation)):
        expand(observation[t], moments, lens, row)
        for a in range(len(posterior)):
            found[1, t, a] = reward[1] * math.sqrt(direction(posterior[a], row, step))
            found[0, t, a] = step[-1] + reward[0] * step[0]
    return found


def predict(observation: Floats, moments: Floats, lens: Lens, coefficients: Floats) -> Floats:
    """Values `[T, A]` alone; `coefficients` `[A, D]` are θ + baseline·P e₀."""
    found = np.empty((len(observation), len(coefficients)))
    row = np.empty(coefficients.shape[1])
    for t in range(len(observation)):
        expand(observation[t], moments, lens, row)
        for a in range(len(coefficients)):
            total = 0.0
            for i in range(len(row)):
                total += coefficients[a, i] * row[i]
            found[t, a] = total
    return found


def observe(observation: Floats, moments: Floats, seen: float) -> None:
    """Take one more observation into the moments, in place (Welford 1962)."""
    for j in range(len(observation)):
        step = observation[j] - moments[0, j]
        moments[0, j] += step / (seen + 1.0)
        moments[1, j] += (step * (observation[j] - moments[0, j]) - moments[1, j]) / (seen + 1.0)


def absorb(observation: Floats, reward: float, baseline: float, lens: tuple[Floats, Lens], posterior: Floats) -> float:
    """Learn one row in its action's posterior, in place; the squared error made before, as if known exactly:
    e² / (1 + f'Pf), whose mean is the variance of the noise. `lens`: the moments, and what goes with them."""
    row, step = np.zeros(len(posterior)), np.empty(len(posterior))
    expand(observation, lens[0], lens[1], row)
    row[-1] = reward
    variance = direction(posterior, row, step)
    missed = step[-1] + baseline * step[0]
    rank_one(posterior, step, -1.0 / (1.0 + variance))
    return float(missed * missed / (1.0 + variance))


def fitted(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A function that goes through rows, compiled together with what it calls."""
    _steps()
    return ready(kernel)


@cache
def _steps() -> None:
    from numba.extending import register_jitable

    for function in (expand, observe, absorb):
        register_jitable(function)
