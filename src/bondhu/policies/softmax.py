"""The rule that acts by preferences: e times likelier where the preference is one higher."""

from __future__ import annotations

import numpy as np

from bondhu.policies.drawing import evenly
from bondhu.types import Booleans, Floats


def softmax(preferences: Floats, allowed: Booleans) -> Floats:
    """p(a) ∝ exp(preference(a)) over the allowed actions: `[T, A]` (Sutton & Barto 2018, equation 13.2)."""
    evenly(allowed)  # refuses a row that allows nothing
    within = np.where(allowed, preferences.astype(np.float64), -np.inf)
    weights = np.exp(within - within.max(axis=-1, keepdims=True))
    probabilities: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities
