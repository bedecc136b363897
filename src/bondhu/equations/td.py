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


def double_q_target(
    reward: Floats, discount: Floats, next_values: tuple[Floats, Floats], next_allowed: Booleans, factor: float
) -> Floats:
    """R_t + γ·discount_t·Q₂(x_{t+1}, argmax Q₁(x_{t+1}, a')) over the allowed a': `[T]` from twice `[T, A]`, Q₁ and Q₂
    (van Hasselt 2010; Sutton & Barto 2018, 6.10)."""
    choosing, judging = next_values
    best = np.where(next_allowed, choosing, -np.inf).argmax(axis=-1)
    return td_target(reward, discount, np.take_along_axis(judging, best[:, None], axis=-1)[:, 0], factor)


def n_step_target(
    reward: Floats, discount: Floats, has_next: Booleans, next_value: Floats, factor: float, n: int
) -> Floats:
    """R_t + γ·R_{t+1} + … + γ^n·V(x_{t+n}): `[T]` (Sutton & Barto 2018, 7.1 and 7.4), from `next_value`, V(x_{t+1}).

    What stops earlier has fewer rewards: a true end nothing after them, a cut V of what nobody saw.
    """
    one_step = target = td_target(reward, discount, next_value, factor)
    for _ in range(n - 1):
        target = np.where(has_next, td_target(reward, discount, np.append(target[1:], 0.0), factor), one_step)
    return target


def lambda_return(
    reward: Floats, discount: Floats, has_next: Booleans, next_value: Floats, factor: float, decay: float
) -> Floats:
    """G_t = R_t + γ·discount_t·((1 - λ)·V(x_{t+1}) + λ·G_{t+1}): `[T]`, λ = `decay` (Sutton & Barto 2018, 12.18).

    Where a session stops, G_t = R_t + γ·discount_t·V(x_{t+1}). What eligibility traces pass back adds up to this.
    """
    returns = td_target(reward, discount, next_value, factor)
    passed_on = np.where(has_next, factor * decay * discount, 0.0)
    for t in range(len(returns) - 2, -1, -1):
        if passed_on[t] > 0:
            returns[t] += passed_on[t] * (returns[t + 1] - next_value[t])
    return returns
