"""Importance weights: what a logged reward counts for under another policy, and how many rows that is really worth."""

from __future__ import annotations

import numpy as np

from bondhu.types import Floats


def importance(target: Floats, logged: Floats) -> Floats:
    """`w_t = pi(a_t | x_t) / mu(a_t | x_t)`, shapes `[T]`; `mu > 0`. Horvitz & Thompson (1952)."""
    return np.asarray(target, np.float64) / np.asarray(logged, np.float64)


def clipped(weights: Floats, limit: float) -> Floats:
    """`min(w_t, limit)`: less variance, and a bias towards 0 of `E[(w - limit)+ r]`. Ionides (2008)."""
    return np.minimum(weights, limit)


def self_normalised(weights: Floats) -> Floats:
    """`w_t / mean(w)`: weights that average exactly 1. Swaminathan & Joachims (2015); the mean must not be 0."""
    return np.asarray(weights / weights.mean())


def effective_samples(weights: Floats) -> float:
    """`(sum w)^2 / sum w^2`, in rows: the unweighted sample that estimates as precisely. Kish (1965)."""
    square = float(weights @ weights)
    return float(weights.sum()) ** 2 / square if square > 0 else 0.0
