"""What rewards add up to: discounted returns, and the values and advantages that are means of them.

`γ` is the discount factor. `discount` follows each reward: 0 at a true end, else 1. `has_next` says that row t + 1
continues row t; where it is False and discount is 1 the trajectory was cut: `next_value` stands for what nobody saw.
"""

from __future__ import annotations

import numpy as np

from bondhu.types import Booleans, Floats, Integers


def discounted_return(reward: Floats, factor: float) -> float:
    """G_0 = Σ_k γ^k R_k of one trajectory: `[T]` to a number (Sutton & Barto 2018, equation 3.8)."""
    return float(np.polynomial.polynomial.polyval(factor, reward)) if len(reward) else 0.0


def returns_to_go(
    reward: Floats, discount: Floats, has_next: Booleans, factor: float, next_value: Floats | float = 0.0
) -> Floats:
    """G_t = R_t + γ·discount_t·(G_{t+1} if has_next_t else next_value_t): `[T]` (Sutton & Barto 2018, equation 3.9)."""
    kept = factor * np.asarray(discount, np.float64)
    returns = (reward + np.where(has_next | (kept == 0), 0.0, kept * next_value)).tolist()
    linked = np.where(has_next, kept, 0.0).tolist()
    for t in range(len(returns) - 2, -1, -1):
        returns[t] += linked[t] * returns[t + 1]
    return np.array(returns)


def state_values(state: Integers, returns: Floats, states: int) -> Floats:
    """V(x) = mean of the returns of the trajectories that start in x: `[N]`, `[N]` to `[states]`; NaN where none does.

    The Monte-Carlo estimate of V(x_t) = E[Σ_k γ^k R(x_{t+k}, a_{t+k}) | x_t] (Sutton & Barto 2018, section 5.1).
    """
    count = np.bincount(state, minlength=states)
    total = np.bincount(state, weights=returns, minlength=states)
    values: Floats = np.divide(total, count, out=np.full(states, np.nan), where=count > 0)
    return values


def action_values(state: Integers, action: Integers, returns: Floats, shape: tuple[int, int]) -> Floats:
    """Q(x, a) = mean of the returns of the trajectories that start in x with a: `[states, actions]`; NaN where none."""
    cell = np.ravel_multi_index((state, action), shape)
    values = state_values(cell, returns, shape[0] * shape[1])
    return values.reshape(shape)


def advantage(action_value: Floats, state_value: Floats) -> Floats:
    """A(x_t, a_t) = Q(x_t, a_t) - V(x_t): `[T]`, how much better the action is than acting as usual."""
    return action_value - state_value


def advantage_over_previous(action_value: Floats) -> Floats:
    """A_t = Q(x_t, a_t) - Q(x_{t-1}, a_{t-1}) where there is no estimate of V: `[T]` to `[T - 1]`, from t = 1."""
    return np.diff(action_value)
