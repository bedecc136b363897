"""Importance weights: what a logged reward counts for under another policy, and how many rows that is really worth."""

from __future__ import annotations

from math import ceil, inf, sqrt

import numpy as np

from bondhu.compiled import compiled
from bondhu.types import Booleans, Floats, Integers

SLIGHT = 0.1  # of its standard error: a bias that an interval may leave out
FEWEST = 5  # exceedances below which nothing can be said of a tail


def importance(target: Floats, logged: Floats) -> Floats:
    """`w_t = pi(a_t | x_t) / mu(a_t | x_t)`, shapes `[T]`; `mu > 0`. Horvitz & Thompson (1952)."""
    return np.asarray(target, np.float64) / np.asarray(logged, np.float64)


def clipped(weights: Floats, limit: float) -> Floats:
    """`min(w_t, limit)`: less variance, and a bias towards 0 of `E[(w - limit)+ r]`. Ionides (2008)."""
    return np.minimum(weights, limit)


def switched(weights: Floats, limit: float) -> Floats:
    """`w_t 1{w_t <= limit}`: what lies above is left to a model. Wang, Agarwal & Dudik (2017)."""
    return np.where(weights <= limit, weights, 0.0)


def shrunk(weights: Floats, strength: float) -> Floats:
    """`lambda w_t / (w_t^2 + lambda)`, at most `sqrt(lambda) / 2`; infinity shrinks nothing. Su et al. (2020)."""
    if strength == inf:
        return weights
    return np.asarray(strength * weights / np.maximum(weights**2 + strength, np.finfo(np.float64).tiny))


def sub_gaussian(weights: Floats, correction: float) -> Floats:
    """`w_t / (1 - lambda + lambda w_t)`, at most `1 / lambda`; 0 corrects nothing. Metelli et al. (2021)."""
    return np.asarray(weights / np.maximum(1 - correction + correction * weights, np.finfo(np.float64).tiny))


def slight_correction(weights: Floats) -> float:
    """`lambda = 0.1 / sqrt(T mean(w^2))`, at most 1: sub-Gaussian weights move a mean by a tenth of its error at most.

    They take `lambda w (w - 1)` of a weight, about `lambda mean(w^2)` of the mean, whose error is `sqrt(mean(w^2) / T)`
    of the rewards. Metelli et al. (2021) let both be of one size.
    """
    return min(1.0, SLIGHT / sqrt(max(float(weights @ weights), 1e-300)))


def self_normalised(weights: Floats) -> Floats:
    """`w_t / mean(w)`: weights that average exactly 1. Swaminathan & Joachims (2015); the mean must not be 0."""
    return np.asarray(weights / weights.mean())


def effective_samples(weights: Floats) -> float:
    """`(sum w)^2 / sum w^2`, in rows: the unweighted sample that estimates as precisely. Kish (1965)."""
    largest = float(weights.max(initial=0.0))
    if not 0 < largest < np.inf:
        return 0.0
    shares = weights / largest  # squares of weights beyond 1e154 would be infinite
    return float(shares.sum()) ** 2 / float(shares @ shares)


def pareto_shape(excesses: Floats) -> float:
    """Shape k of the generalised Pareto distribution `P(X > x) = (1 + k x / sigma)^(-1 / k)`, excesses above 0.

    Moments up to 1 / k exist; k < 0 has a bounded end. The mean of theta = -k / sigma under a profile posterior on
    `30 + sqrt(n)` points: Zhang & Stephens (2009), k = mean(log(1 - theta x)).
    """
    values = np.sort(excesses)
    count, points = len(values), 30 + int(sqrt(len(values)))
    quarter = values[int(count / 4 + 0.5) - 1]
    theta = 1 / values[-1] + (1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))) / (3 * quarter)
    shape = np.array([np.log1p(-each * values).mean() for each in theta])
    rate = np.divide(-theta, shape, out=np.full(points, 1 / values.mean()), where=theta != 0)  # 1 / sigma
    likelihood = count * (np.log(rate) - shape - 1)
    share = np.exp(likelihood - likelihood.max())
    best = float(theta @ share / share.sum())
    return float(np.log1p(-best * values).mean())


def tail_shape(weights: Floats) -> float:
    """Shape k of the upper tail of importance weights; above 0.7 their mean converges too slowly to be trusted.

    Of the `min(T / 5, 3 sqrt(T))` largest, their excesses over the next one, k drawn towards 0.5 as by ten excesses of
    that shape: Vehtari et al. (2024), Pareto smoothed importance sampling. -inf where the largest are all alike.
    """
    weights = weights[weights > 0]
    count = len(weights)
    size = ceil(min(count / 5, 3 * sqrt(count)))
    if size < FEWEST:
        return -inf
    largest = np.partition(weights, count - size - 1)[count - size - 1 :]
    excesses = largest[1:] - largest[0]
    excesses = excesses[excesses > 1e-9 * largest[0]]
    if len(excesses) < FEWEST:
        return -inf
    return (len(excesses) * pareto_shape(excesses) + 10 * 0.5) / (len(excesses) + 10)


def calibration(action: Integers, probability: Floats, allowed: Booleans, session: Integers) -> tuple[Floats, Floats]:
    """How often each action was logged for once that is expected, and the standard error of that: `[A]` both.

    `mean over rows that allow a of 1{a_t = a} / mu_t`, which is 1 in expectation where mu is right and tries a in all
    of them, and less where it does not. Its variance is that of sessions' sums about 1, or where larger that of single
    draws, to which `(1 - mu) / mu^2` of the rows that took a add up without bias. Sessions ascend.
    """
    inverse = 1 / np.asarray(probability, np.float64)
    sums = np.zeros((4, allowed.shape[1]))  # rows that allow it; of 1 / mu; of variances; of squares of sessions
    edges = np.flatnonzero(np.diff(session, prepend=session[0] - 1, append=session[-1] + 1))
    compiled(_tally)(np.asarray(action, np.int64), inverse, np.ascontiguousarray(allowed), edges, sums)
    rows = np.maximum(sums[0], 1.0)
    return sums[1] / rows, np.sqrt(np.maximum(sums[2], sums[3])) / rows


def _tally(action: Integers, inverse: Floats, allowed: Booleans, edges: Integers, sums: Floats) -> None:
    """Plain Python, to be compiled."""
    actions = sums.shape[1]
    off = np.zeros(actions)
    for each in range(len(edges) - 1):
        off[:] = 0.0
        for row in range(edges[each], edges[each + 1]):
            for a in range(actions):
                off[a] -= allowed[row, a]
                sums[0, a] += allowed[row, a]
            taken = action[row]
            off[taken] += inverse[row]
            sums[1, taken] += inverse[row]
            sums[2, taken] += inverse[row] * (inverse[row] - 1.0)
        for a in range(actions):
            sums[3, a] += off[a] * off[a]
