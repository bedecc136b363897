"""What sessions weigh and what they return, step by step, when another policy acts than the one that logged them.

T rows, sessions whole and in time order; N sessions; L steps of the longest. `ρ_k = Π_{j <= k} w_j` is the cumulative
importance weight of a session's first k + 1 decisions; a session that has ended keeps its last one. γ is `factor`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.types import Booleans, Floats, Integers


class Layout(NamedTuple):
    """Where the decisions of each session lie."""

    session: Integers  # [T] 0 to N - 1
    step: Integers  # [T] 0 for a session's first decision
    first: Integers  # [N] row
    last: Integers  # [N] row
    order: Integers  # [T] rows by step
    bounds: Integers  # [L + 1] order[bounds[k]:bounds[k + 1]] are the rows of step k

    @property
    def sessions(self) -> int:
        return len(self.first)

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1


def layout(session: Integers) -> Layout:
    """From session numbers `[T]`, rows of one session side by side."""
    rows = np.arange(len(session))
    starts = np.append(True, session[1:] != session[:-1])[: len(session)]
    first = np.flatnonzero(starts)
    number = np.cumsum(starts) - 1
    step = rows - first[number]
    order = np.argsort(step, kind="stable")
    bounds = np.append(0, np.cumsum(np.bincount(step)))
    return Layout(number, step, first, np.append(first[1:], len(session)) - 1, order, bounds)


def cumulative_weights(weights: Floats, where: Layout) -> Floats:
    """`ρ_k` of each row, `[T]`: the product of the weights so far in its session. Precup et al. (2000)."""
    total = np.array(weights, np.float64)
    for k in range(1, where.steps):
        rows = where.order[where.bounds[k] : where.bounds[k + 1]]
        total[rows] *= total[rows - 1]
    return total


def mean_weights(cumulative: Floats, where: Layout) -> Floats:
    """Mean of `ρ_k` over all sessions at each step, `[L]`; 1 is expected at each."""
    alive = np.bincount(where.step, cumulative, where.steps)
    ended = np.bincount(where.step[where.last], cumulative[where.last], where.steps)
    means: Floats = (alive + np.cumsum(ended) - ended) / where.sessions
    return means


def session_weights(cumulative: Floats, share: Floats, where: Layout) -> Floats:
    """`z_i = Σ_k share_k ρ_k` of each session, `[N]`, from what share `[L]` each step has in the value; `E[z] = 1`."""
    own = np.bincount(where.session, share[where.step] * cumulative, where.sessions)
    after = share.sum() - np.cumsum(share)
    weights: Floats = own + after[where.step[where.last]] * cumulative[where.last]
    return weights


def step_shares(values: Floats, where: Layout, factor: float) -> Floats:
    """`share_k ∝ γ^k Σ_i |x_ik|`, summing to 1: `[T] -> [L]`. Where nothing is earned, every decision counts alike."""
    size = np.abs(values) if np.any(values) else np.ones(len(values))
    share = np.bincount(where.step, factor**where.step * size, where.steps)
    return np.asarray(share / share.sum())


def session_sums(values: Floats, where: Layout, factor: float) -> Floats:
    """`Σ_k γ^k x_k` of each session: `[T] -> [N]`."""
    return np.asarray(np.bincount(where.session, factor**where.step * values, where.sessions), np.float64)


def normalised_terms(values: Floats, cumulative: Floats, where: Layout, factor: float) -> Floats:
    """`V = Σ_k γ^k A_k / B_k` with `A_k = mean_i(ρ_ik x_ik)`, `B_k = mean_i(ρ_ik)`, as one term a session: `[N]`.

    The terms are `V + Σ_k γ^k (ρ_ik x_ik - ρ_ik A_k / B_k) / B_k`, the linearisation that gives V its variance.
    Weights: Precup et al. (2000), Thomas & Brunskill (2016); linearisation: Owen (2013), chapter 9.
    """
    mean = mean_weights(cumulative, where)
    inverse = np.divide(1.0, mean, out=np.zeros_like(mean), where=mean > 0)
    ratio = np.bincount(where.step, cumulative * values, where.steps) / where.sessions * inverse
    scale = factor ** np.arange(where.steps)
    off = (scale * inverse)[where.step] * cumulative * (values - ratio[where.step])
    pull = scale * ratio * inverse
    after = pull.sum() - np.cumsum(pull)
    tail = after[where.step[where.last]] * cumulative[where.last]
    terms: Floats = float(scale @ ratio) + np.bincount(where.session, off, where.sessions) - tail
    return terms


def temporal_errors(reward: Floats, following: Floats, chosen: Floats, factor: float) -> Floats:
    """`δ = r + γ v(x') - q(x, a)`: `[T]`; `v(x_0) + Σ_k γ^k ρ_k δ_k` is the doubly robust return (Jiang & Li 2016)."""
    errors: Floats = reward + factor * following - chosen
    return errors


def corrected_returns(errors: Floats, weights: Floats, where: Layout, factor: float) -> Floats:
    """`E_t = δ_t + γ w_{t+1} E_{t+1}`: `[T]`, what the doubly robust return from row t on exceeds q(x_t, a_t) by."""
    total = np.array(errors, np.float64)
    for k in range(where.steps - 1, 0, -1):
        rows = where.order[where.bounds[k] : where.bounds[k + 1]]
        total[rows - 1] += factor * weights[rows] * total[rows]
    return total


def blend(covariance: Floats, bias: Floats) -> Floats:
    """Shares `x >= 0`, `Σ x = 1`, that minimise `x' (Ω + b b') x`, the mean squared error of the mixture: `[J]`.

    Thomas & Brunskill (2016), section 6. Solved as `min y' H y / 2 - Σ y, y >= 0`, whose solution is x up to its sum,
    by Lawson & Hanson's active set (1974, chapter 23).
    """
    error: Floats = covariance + np.outer(bias, bias)
    error = error / max(float(np.trace(error)), 1e-300) + 1e-10 * np.eye(len(error))
    shares: Floats = np.zeros(len(error))
    free: Booleans = np.zeros(len(error), bool)
    for _ in range(10 * len(error)):
        slope = np.where(free, -np.inf, 1.0 - error @ shares)
        if slope.max() <= 1e-9:
            break
        free[slope.argmax()] = True
        shares = _within(error, shares, free)
    return np.asarray(shares / shares.sum())


def _within(error: Floats, shares: Floats, free: Booleans) -> Floats:
    """The best shares among the free ones; those that would turn negative are let go, in place."""
    while True:
        best = np.zeros(len(shares))
        best[free] = np.linalg.solve(error[np.ix_(free, free)], np.ones(int(free.sum())))
        falling = free & (best <= 0)
        if not falling.any():
            return best
        way = float((shares[falling] / (shares[falling] - best[falling])).min())
        shares = shares + way * (best - shares)
        free &= shares > 1e-15
        shares[~free] = 0.0
