"""The rule that takes the best value but now and then any allowed action."""

from __future__ import annotations

from bondhu.policies.drawing import uniformly
from bondhu.policies.greedy import greedy
from bondhu.types import Booleans, Floats


def epsilon_greedy(values: Floats, allowed: Booleans, epsilon: float) -> Floats:
    """p = (1 - ε)·greedy + ε·uniform over the allowed actions: `[T, A]` (Sutton & Barto 2018, section 2.2)."""
    return greedy(values, allowed, 1.0 - epsilon) + uniformly(allowed, epsilon)
