"""How probable it is that each of several uncertain values is the largest: what Thompson sampling draws from.

p(a) = ∫ f_a(x) Π_{b≠a} F_b(x) dx for independent values with densities f and distribution functions F. The line is cut
into panels, each no longer than twice the deviation of any value that is still undecided there, so that very different
deviations cost panels, not precision. Gauss-Legendre nodes serve twice in a panel: f at the nodes gives F there, by
integrating the polynomial through them, and both give p. A panel of twelve nodes leaves an error below 1e-9.

Shapes: T rows, A values, K draws. A value that is not allowed does not compete and has p = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.polynomial import legendre

from bondhu.compiled import compiled
from bondhu.types import Booleans, Floats

COUNT = 12  # nodes of a panel
NODES, WEIGHTS = legendre.leggauss(COUNT)  # in (-1, 1)
REACH = 7.5  # deviations of a normal beyond which nothing lies: 3e-14 on a side
DROP = 30.0  # logarithm of how far a density falls to count as nothing
WIDEST = 1.5  # of a deviation on the scale of log-odds, whose densities bend within 3 whatever the deviation
CERTAIN = 1e-12  # a deviation this small, beside the others, is none
NOTHING = 1e-14  # a probability that is neglected


def _beyond() -> Floats:
    """What f at each node adds to its integral from each node to 1, `[COUNT, COUNT]`: exact for polynomials."""
    at_nodes = legendre.legvander(NODES, COUNT - 1)
    antiderivatives = legendre.legint(np.eye(COUNT))
    rising = legendre.legval(np.ones(1), antiderivatives) - legendre.legval(NODES, antiderivatives)
    matrix: Floats = np.linalg.solve(at_nodes.T, rising)
    return matrix


BEYOND = _beyond()


def largest_of_draws(draws: Floats, allowed: Booleans) -> Floats:
    """Share of joint draws in which each value is the largest one allowed, equals evenly: `[K, T, A]` to `[T, A]`."""
    within = np.where(allowed, draws, -np.inf)
    best = (within == np.maximum.reduce(within, axis=-1, keepdims=True)) & allowed
    equals = np.maximum(np.add.reduce(best, axis=-1, keepdims=True, dtype=np.int64), 1)
    shares: Floats = np.add.reduce(best / equals, axis=0) / len(draws)
    return shares


def largest_of_normals(mean: Floats, deviation: Floats, allowed: Booleans) -> Floats:
    """p(a) for independent normals, `[T, A]` each; a value without deviation is certain, and equals share evenly.

    For two it is Φ((m₁ - m₂) / √(s₁² + s₂²)).
    """
    return _rows()(_own(mean), _own(deviation), np.array(allowed, order="C"), False)


def largest_of_betas(successes: Floats, failures: Floats, allowed: Booleans) -> Floats:
    """p(a) for independent Beta(successes, failures), `[T, A]` each, of at least 0.1.

    Integrated over log-odds, on which every Beta is smooth and has one peak.
    """
    return _rows()(_own(successes), _own(failures), np.array(allowed, order="C"), True)


def _own(values: Floats) -> Floats:
    """A copy, so that compiled code meets one kind of array."""
    return np.array(values, np.float64, order="C")


@cache
def _rows() -> Callable[..., Floats]:
    """`_all_rows`, ready to run."""
    from numba.extending import register_jitable

    for function in (_log_chance, _end, _normals, _betas, _size, _fill, _share_out, _settle, _one_row):
        register_jitable(function)
    return compiled(_all_rows)


def _all_rows(first: Floats, second: Floats, allowed: Booleans, odds: bool) -> Floats:
    """`first` and `second` are means and deviations, or with `odds` successes and failures."""
    probabilities = np.zeros(first.shape)
    for t in range(len(first)):
        rivals = np.flatnonzero(allowed[t])
        if len(rivals) > 0:
            shares = _one_row(first[t][rivals], second[t][rivals], odds)
            for k in range(len(rivals)):
                probabilities[t, rivals[k]] = shares[k]
    return probabilities


def _one_row(first: Floats, second: Floats, odds: bool) -> Floats:
    """p of values that all compete: from the top downwards, until it is certain that the largest was met."""
    shape = _betas(first, second) if odds else _normals(first, second)
    low, high, deviation = shape[0], shape[1], shape[2]
    floor, top = low.max(), high.max()
    within, below = np.empty((len(low), COUNT)), np.empty((len(low), COUNT))
    shares, above, none_above = np.zeros(len(low)), np.zeros(len(low)), 1.0
    while top > floor and none_above > NOTHING:
        size = min(_size(top, high, deviation), top - floor)
        _fill(top, size, (first, second, shape), odds, within)
        none_above = _share_out(within, below, shares, above)
        top -= size
    _settle(none_above, floor, shape, shares)
    return shares


def _normals(mean: Floats, deviation: Floats) -> Floats:
    """Low and high end of each density, its deviation and the logarithm of its peak: `[4, A]`. Means are moved so that
    the largest is 0, or large numbers would lose digits."""
    shape, best, scale = np.empty((4, len(mean))), mean.max(), 0.0
    for k in range(len(mean)):
        mean[k] -= best
        scale = max(scale, abs(mean[k] + REACH * deviation[k]))
    for k in range(len(mean)):
        spread = deviation[k] if deviation[k] > CERTAIN * scale else 0.0
        shape[0, k], shape[1, k], shape[2, k] = mean[k] - REACH * spread, mean[k] + REACH * spread, spread
        shape[3, k] = -math.log(spread * math.sqrt(2.0 * math.pi)) if spread > 0.0 else -math.inf
    return shape


def _betas(successes: Floats, failures: Floats) -> Floats:
    """In log-odds: low and high end of each density, its deviation and the logarithm of 1 / B: `[4, A]`."""
    shape = np.empty((4, len(successes)))
    for k in range(len(successes)):
        won, lost = successes[k], failures[k]
        spread = math.sqrt(1.0 / won + 1.0 / lost)
        shape[0, k], shape[1, k] = _end(won, lost, -spread), _end(won, lost, spread)
        shape[2, k] = min(spread, WIDEST)
        shape[3, k] = math.lgamma(won + lost) - math.lgamma(won) - math.lgamma(lost)
    return shape


def _end(won: float, lost: float, spread: float) -> float:
    """The log-odds where the density has fallen by DROP: Newton on its concave logarithm, which errs to the outside."""
    x = math.log(won / lost)
    target = won * _log_chance(x) + lost * _log_chance(-x) - DROP
    x += math.sqrt(2.0 * DROP) * spread
    for _ in range(4):
        slope = won - (won + lost) * math.exp(_log_chance(x))
        x += (target - won * _log_chance(x) - lost * _log_chance(-x)) / slope
    return x


def _log_chance(odds: float) -> float:
    """ln 1 / (1 + exp(-odds)), without overflow."""
    return min(odds, 0.0) - math.log1p(math.exp(-abs(odds)))


def _size(top: float, high: Floats, deviation: Floats) -> float:
    """The length of a panel below `top`: two deviations of any value that lies there, or up to where one begins."""
    size = math.inf
    for k in range(len(high)):
        if deviation[k] > 0.0:
            size = min(size, max(2.0 * deviation[k], top - high[k]))
    return size


def _fill(top: float, size: float, densities: tuple[Floats, Floats, Floats], odds: bool, within: Floats) -> None:
    """Write each density at the nodes of the panel, times half its length: `[A, COUNT]`."""
    first, second, shape = densities
    for i in range(COUNT):
        x = top - 0.5 * size * (1.0 - NODES[i])
        chance = _log_chance(x) if odds else 0.0
        for k in range(len(first)):
            within[k, i] = 0.0
            if shape[2, k] > 0.0 and shape[1, k] > top - size:
                fall = 0.0 if odds else (x - first[k]) / second[k]
                log = first[k] * chance + second[k] * (chance - x) if odds else -0.5 * fall * fall
                within[k, i] = 0.5 * size * math.exp(log + shape[3, k])


def _share_out(within: Floats, below: Floats, shares: Floats, above: Floats) -> float:
    """Add to `shares` how probable it is that each value lies in this panel and the others below it, and to `above`
    that it lies in the panel; how probable it is that none lies above the panel's end. `below` is room to write in."""
    for k in range(len(above)):
        below[k] = 1.0 - above[k]
        for j in range(COUNT):
            for i in range(COUNT):
                below[k, i] -= BEYOND[j, i] * within[k, j]
    for i in range(COUNT):
        before = WEIGHTS[i]
        for k in range(len(above)):
            above[k] += WEIGHTS[i] * within[k, i]
            below[k, i] = max(below[k, i], 0.0)
            within[k, i] *= before
            before *= below[k, i]
        after = 1.0
        for k in range(len(above) - 1, -1, -1):
            shares[k] += within[k, i] * after
            after *= below[k, i]
    none = 1.0
    for k in range(len(above)):
        none *= max(1.0 - above[k], 0.0)
    return none


def _settle(left: float, floor: float, shape: Floats, shares: Floats) -> None:
    """Share evenly among the certain values at the floor what no other took; make the shares sum to 1."""
    sure = 0
    for k in range(len(shares)):
        sure += shape[2, k] == 0.0 and shape[0, k] == floor
    total = 0.0
    for k in range(len(shares)):
        if shape[2, k] == 0.0 and shape[0, k] == floor:
            shares[k] = left / sure
        total += shares[k]
    shares /= total
