"""Advantages and value targets along flat rows, in JAX: GAE, λ-returns and V-trace.

Rows lie trajectory after trajectory on the first axis. `continuing` = γ·discount: 0 after a true end, else γ. `linked`
is 1.0 where row t + 1 continues row t, else 0.0, as in the last row: nothing flows back over a boundary, ended or cut.
`next_value` is the value of the row's own next observation, so a cut row bootstraps from what it really saw last. No
gradient is stopped here: the losses hold their targets and advantages constant.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

Pair = tuple[Array, Array]
ROUNDING = 1e-10  # of the square of a mean: a variance below it may be the rounding of single precision alone


def recurrence(start: Array, keep: Array) -> Array:
    """x_t = start_t + keep_t·x_{t+1}, with 0 beyond the last row: `[T, ...]`.

    A loop on a CPU, where it compiles and runs several times faster; log₂ T steps one after another elsewhere.
    """
    found: Array = jax.lax.platform_dependent(start, keep, cpu=_looped, default=_doubled)
    return found


def _looped(start: Array, keep: Array) -> Array:
    def step(later: Array, row: Pair) -> Pair:
        now = row[0] + row[1] * later
        return now, now

    return jax.lax.scan(step, jnp.zeros_like(start[0]), (start, keep), reverse=True, unroll=8)[1]


def _doubled(start: Array, keep: Array) -> Array:
    def join(later: Pair, earlier: Pair) -> Pair:
        return earlier[0] + earlier[1] * later[0], earlier[1] * later[1]

    total, _ = jax.lax.associative_scan(join, (start, keep), reverse=True)
    return total  # type: ignore[no-any-return]  # jax leaves the result of its scan untyped


def generalized_advantages(
    reward: Array, continuing: Array, linked: Array, value: Array, next_value: Array, decay: float | Array
) -> Array:
    """A_t = δ_t + λ·continuing_t·linked_t·A_{t+1}, δ_t = r_t + continuing_t·v(x'_t) - v(x_t): `[T]`.

    `decay` is λ. Generalised advantage estimation (Schulman et al. 2016, equation 16; arXiv 1506.02438).
    """
    error = reward + continuing * next_value - value
    return recurrence(error, decay * continuing * linked)


def lambda_returns(reward: Array, continuing: Array, linked: Array, next_value: Array, decay: float | Array) -> Array:
    """G_t = r_t + continuing_t·((1 - λ)·v(x'_t) + λ·G_{t+1}) where linked, else r_t + continuing_t·v(x'_t): `[T]`.

    `decay` is λ (Sutton & Barto 2018, equation 12.18).
    """
    passed_on = decay * linked
    return recurrence(reward + continuing * (1 - passed_on) * next_value, continuing * passed_on)


def v_trace(  # noqa: PLR0913, PLR0917  the six columns of a row, and the two numbers of the method
    log_ratio: Array,
    reward: Array,
    continuing: Array,
    linked: Array,
    value: Array,
    next_value: Array,
    clip: float | Array = 1.0,
    decay: float | Array = 1.0,
) -> tuple[Array, Array]:
    """Value targets v_t and policy-gradient advantages ρ_t·(r_t + continuing_t·v_{t+1} - v(x_t)): `[T]`, `[T]`.

    `log_ratio` is log π(a|x) - log μ(a|x), μ the policy that acted; ρ_t = min(clip, ratio_t), c_t = λ·ρ_t, `decay` is
    λ. v_t = v(x_t) + ρ_t·δ_t + continuing_t·c_t·(v_{t+1} - v(x_{t+1})) where linked. Over a boundary the
    advantage takes `next_value` for v_{t+1}. (Espeholt et al. 2018, equation 1 and remark 2; arXiv 1802.01561.)
    """
    rho = jnp.minimum(jnp.exp(log_ratio), clip)
    error = rho * (reward + continuing * next_value - value)
    target = value + recurrence(error, decay * rho * continuing * linked)
    following = jnp.where(linked > 0, jnp.roll(target, -1, axis=0), next_value)
    return target, rho * (reward + continuing * following - value)


def explained_variance(predicted: Array, actual: Array, weight: Array) -> Array:
    """1 - Var(actual - predicted) / Var(actual) over weighted rows: `[T]` to a number; 0 where `actual` is constant.

    Constant is what varies by less than its rounding: Var(actual) <= 1e-10·(mean of |actual|)².
    """
    share = weight / jnp.maximum(jnp.sum(weight), 1e-8)
    spread, unexplained = _variance(actual, share), _variance(actual - predicted, share)
    varies = spread > ROUNDING * jnp.sum(share * jnp.abs(actual)) ** 2
    return jnp.where(varies, 1 - unexplained / jnp.where(varies, spread, 1.0), 0.0)


def _variance(values: Array, share: Array) -> Array:
    return jnp.sum(share * (values - jnp.sum(share * values)) ** 2)
