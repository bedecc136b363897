"""The rule that takes the best value."""

from __future__ import annotations

import numpy as np

from bondhu.policies.drawing import evenly
from bondhu.types import Booleans, Floats


def greedy(values: Floats, allowed: Booleans, rate: float = 1.0) -> Floats:
    """p(a) = rate / |argmax| on the allowed actions of exactly the highest value, 0 elsewhere: `[T, A]`."""
    if np.count_nonzero(allowed) == allowed.size:
        return evenly(values == _highest(values), rate)
    within = np.where(allowed, values, -np.inf)
    return evenly((within == _highest(within)) & allowed, rate)


def _highest(values: Floats) -> Floats | float:
    """The maximum of each row, in a form that compares with `values`: `[T, 1]`, or a number for one row."""
    if len(values) == 1:
        return values.item(values.argmax())
    highest: Floats = values.max(axis=-1, keepdims=True)
    return highest
