"""Several objectives, all to be high: which points are worth a look, how good a front is, and prices of limits."""

from __future__ import annotations

import numpy as np

from bondhu.types import Booleans, Floats


def pareto_front(points: Floats) -> Booleans:
    """Whether no other point is at least as good in each objective and better in one: `[N, K]` to `[N]`."""
    at_least = (points[:, None] >= points[None]).all(axis=-1)
    better = (points[:, None] > points[None]).any(axis=-1)
    return np.asarray(~(at_least & better).any(axis=0))


def chebyshev(points: Floats, weights: Floats, ideal: Floats) -> Floats:
    """-max_k w_k·|ideal_k - point_k|: `[N, K]` to `[N]`; reaches every point of a front, also where it is not convex.

    Steuer & Choo (1983); weights `[K]` above 0, `ideal [K]` at least as good as every point.
    """
    worst: Floats = (weights * np.abs(ideal - points)).max(axis=-1)
    return -worst


def hypervolume(points: Floats, reference: Floats) -> float:
    """The area that points of two objectives `[N, 2]` dominate above a reference `[2]` (Zitzler & Thiele 1999)."""
    above = points[(points > reference).all(axis=1)]
    area, reached = 0.0, float(reference[1])
    for first, second in above[np.lexsort((-above[:, 1], -above[:, 0]))].tolist():
        if second > reached:
            area += (first - float(reference[0])) * (second - reached)
            reached = second
    return area


def dual_ascent(multipliers: Floats, means: Floats, limits: Floats, step: float) -> Floats:
    """λ ← max(0, λ + step·(limit - mean)): `[L]` each; a limit that is not reached gets dearer (Altman 1999)."""
    return np.maximum(multipliers + step * (limits - means), 0.0)
