"""Ridge regression on random Fourier features, row after row: as flexible as a Gaussian kernel, at a fixed cost.

A row of D = 1 + C + R features is [1, z / √(κC), √(2/R)·cos(Ωz + φ)] (Rahimi & Recht 2007), where z are C standardised
columns and Ω has orthogonal rows with the lengths of normal ones (Yu et al. 2016). Scaling a column by 1/√p gives its
coefficient a prior p times as strict, so one ridge of 1 serves all. Each action has a covariance P and coefficients θ
of rewards as they are; predictions shrink towards `baseline` instead of 0. That needs no second fit: with the ridge 1
the coefficients of the constant target 1 are e₀ - P e₀, so a prediction is θ'f + baseline·(P f)₀.

P is symmetric and only its lower half is kept, row after row, `[D·(D + 1) / 2]`: with the products f_i·f_j laid out
alike, the variance f'Pf of every action is one inner product of two long vectors.

Shapes: T rows, A actions, F observation columns, C of them after folding, R Fourier features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bondhu.compiled import compiled
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


def believe(observation: Floats, moments: Floats, lens: Lens, models: tuple[Floats, Floats], reward: Floats) -> Floats:
    """Value and error of every action, `[2, T, A]`.

    `models`: the covariances `[A, D·(D + 1) / 2]` and the coefficients `[A, D]`; `reward` `[2]`: the baseline and the
    deviation of the noise.
    """
    covariance, coefficients = models
    actions, size = coefficients.shape
    found = np.empty((2, len(observation), actions))
    row, products = np.empty(size), np.empty(covariance.shape[1])
    for t in range(len(observation)):
        expand(observation[t], moments, lens, row)
        pair(row, products)
        for a in range(actions):
            found[1, t, a] = reward[1] * math.sqrt(max(inner(covariance[a], products), 0.0))
            corner = 0.0  # (P f)₀
            for i in range(size):
                corner += covariance[a, i * (i + 1) // 2] * row[i]
            found[0, t, a] = inner(coefficients[a], row) + reward[0] * corner
    return found


def pair(row: Floats, products: Floats) -> None:
    """Write f_i·f_j to `products`, twice where i > j, laid out as a covariance."""
    k = 0
    for i in range(len(row)):
        for j in range(i):
            products[k + j] = 2.0 * row[i] * row[j]
        products[k + i] = row[i] * row[i]
        k += i + 1


def inner(left: Floats, right: Floats) -> float:
    """Σ left·right."""
    total = 0.0
    for i in range(len(left)):
        total += left[i] * right[i]
    return total


def predict(observation: Floats, moments: Floats, lens: Lens, coefficients: Floats) -> Floats:
    """Values `[T, A]` alone; `coefficients` `[A, D]` are θ + baseline·P e₀."""
    found = np.empty((len(observation), len(coefficients)))
    row = np.empty(coefficients.shape[1])
    for t in range(len(observation)):
        expand(observation[t], moments, lens, row)
        for a in range(len(coefficients)):
            found[t, a] = inner(coefficients[a], row)
    return found


def observe(observation: Floats, moments: Floats, seen: float) -> None:
    """Take one more observation into the moments, in place (Welford 1962)."""
    for j in range(len(observation)):
        step = observation[j] - moments[0, j]
        moments[0, j] += step / (seen + 1.0)
        moments[1, j] += (step * (observation[j] - moments[0, j]) - moments[1, j]) / (seen + 1.0)


def absorb(row: Floats, reward: float, baseline: float, covariance: Floats, coefficients: Floats) -> float:
    """Learn one row of features in its action's model, in place; the squared error made before, e² / (1 + f'Pf), whose
    mean is the variance of the noise (recursive least squares; Sherman & Morrison 1950)."""
    size = len(row)
    step, k = np.empty(size), 0  # P f
    for i in range(size):
        total = 0.0
        for j in range(i):
            total += covariance[k + j] * row[j]
            step[j] += covariance[k + j] * row[i]
        step[i] = total + covariance[k + i] * row[i]
        k += i + 1
    share = 1.0 / (1.0 + max(inner(step, row), 0.0))
    unexplained, k = reward - inner(coefficients, row), 0
    for i in range(size):
        coefficients[i] += step[i] * unexplained * share
        for j in range(i + 1):
            covariance[k + j] -= step[i] * share * step[j]
        k += i + 1
    missed = unexplained - baseline * step[0]
    return float(missed * missed * share)


def fitted(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A function that goes through rows, compiled together with what it calls."""
    _steps()
    return compiled(kernel)


@cache
def _steps() -> None:
    from numba.extending import register_jitable

    register_jitable(fastmath={"reassoc", "contract"})(inner)  # sums in any order: with the processor's whole width
    for function in (expand, pair, observe, absorb):
        register_jitable(function)
