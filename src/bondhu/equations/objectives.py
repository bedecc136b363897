"""Several objectives, all to be high: which points are worth a look, and prices of limits."""

from __future__ import annotations

import numpy as np

from bondhu.types import Booleans, Floats


def pareto_front(points: Floats) -> Booleans:
    """Whether no other point is at least as good in each objective and better in one: `[N, K]` to `[N]`."""
    at_least = (points[:, None] >= points[None]).all(axis=-1)
    better = (points[:, None] > points[None]).any(axis=-1)
    return np.asarray(~(at_least & better).any(axis=0))


def dual_ascent(multipliers: Floats, means: Floats, limits: Floats, step: float) -> Floats:
    """λ ← max(0, λ + step·(limit - mean)): `[L]` each; a limit that is not reached gets dearer (Altman 1999)."""
    return np.maximum(multipliers + step * (limits - means), 0.0)
