"""Temporal differences: how far a value is from one step of reward plus the value of what follows.

`γ` is the discount factor; `discount` is 0 at a true end, else 1, so that a cut still looks ahead.
"""

from __future__ import annotations

import numpy as np

from bondhu.types import Booleans, Floats


def td_error(value: Floats, target: Floats) -> Floats:
    """δ_t = target_t - value_t: `[T]` (Sutton & Barto 2018, equation 6.5)."""
    return target - value


def td_target(reward: Floats, discount: Floats, next_value: Floats, factor: float) -> Floats:
    """R_t + γ·discount_t·V(x_{t+1}): `[T]`; with Q(x_{t+1}, a_{t+1}) it is Sarsa's (Sutton & Barto 2018, 6.2 and 6.7).

    What follows a true end is not read: it may be anything, NaN included.
    """
    ahead = np.where(discount > 0, next_value, 0.0)
    return reward + factor * discount * ahead


def q_learning_target(
    reward: Floats, discount: Floats, next_values: Floats, next_allowed: Booleans, factor: float
) -> Floats:
    """R_t + γ·discount_t·max Q(x_{t+1}, a') over the allowed a': `[T]` from `[T, A]` (Watkins 1989; S&B 2018, 6.8)."""
    best = np.where(next_allowed, next_values, -np.inf).max(axis=-1)
    return td_target(reward, discount, best, factor)


def expected_target(
    reward: Floats, discount: Floats, next_values: Floats, next_probabilities: Floats, factor: float
) -> Floats:
    """R_t + γ·discount_t·Σ_a' π(a'|x_{t+1})·Q(x_{t+1}, a'): `[T]` from `[T, A]` (Expected Sarsa, S&B 2018, 6.9)."""
    return td_target(reward, discount, (next_probabilities * next_values).sum(axis=-1), factor)
