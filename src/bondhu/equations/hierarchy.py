"""Random effects, for many units of which each has little data: people who deviate from what all people share, and
actions that deviate from what all actions share.

P people, A actions, W columns. What person u adds to the worth of the actions is `delta_u ~ N(0, Sigma)`, with Sigma
`[A, A]`; a reward is `shared part + delta_u[a] + noise`. `total [P, A]` sums what the shared part left of each person's
rewards, `tries [P, A]` counts them: no more of a person is kept. Laird & Ware (1982); the prior learned from everybody
is empirical Bayes (Robbins 1956, Morris 1983).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.types import Floats, Integers

SURE = 30.0  # rows that the first guess of the noise counts as
LEAST = 1e-9  # of the variance of rewards: what a variance may fall to


class Prior(NamedTuple):
    """How people differ, and how much a person's rewards scatter."""

    covariance: Floats  # [A, A] Sigma
    noise: float  # variance of a person's rewards of one action around their mean


class Shared(NamedTuple):
    """What all people share: coefficients of each action, and their covariance in units of the variance of a row."""

    mean: Floats  # [A, W]
    covariance: Floats  # [A, W, W]


def deviation(prior: Prior, total: Floats, tries: Floats) -> tuple[Floats, Floats]:
    """Posterior mean and variance of `delta_u`, each `[P, A]`, exactly: normal conditioning on every person's evidence.

    With D = diag(sqrt(tries)), B = noise I + D Sigma D and y = total / sqrt(tries) (0 where never tried),
    the mean is `Sigma D B^-1 y` and the covariance `Sigma - Sigma D B^-1 D Sigma`: Sigma may be singular. Rows and
    columns of B that the person never tried are left out, since they tell nothing. What is found of one person does not
    depend, to the last bit, on who else is asked about.
    """
    if len(tries) == 1:
        return _conditioned(prior, total, tries, np.flatnonzero(tries[0]))
    found = np.empty((2, *tries.shape))
    patterns, pattern = np.unique(tries > 0.0, axis=0, return_inverse=True)
    order = np.argsort(pattern, kind="stable")
    ends = np.cumsum(np.bincount(pattern, minlength=len(patterns)))
    for tried, people in zip(patterns, np.split(order, ends[:-1]), strict=True):
        found[:, people] = _conditioned(prior, total[people], tries[people], np.flatnonzero(tried))
    return found[0], found[1]


def _conditioned(prior: Prior, total: Floats, tries: Floats, tried: Integers) -> tuple[Floats, Floats]:
    """`deviation` of people who all tried the same actions."""
    root = np.sqrt(tries[:, tried])
    pull = root[:, :, None] * prior.covariance[tried]
    between = pull[:, :, tried] * root[:, None, :]
    diagonal = np.arange(len(tried))
    between[:, diagonal, diagonal] += prior.noise
    told = total[:, tried] / root
    solved = np.linalg.solve(between, np.concatenate([pull, told[:, :, None]], axis=2))
    mean = np.matmul(solved[:, None, :, -1], pull)[:, 0]
    known = (pull * solved[:, :, :-1]).sum(axis=1)
    return mean, np.maximum(np.diagonal(prior.covariance) - known, 0.0)


def noise_within(total: Floats, tries: Floats, squares: float, guess: float) -> float:
    """Variance of a person's rewards of one action: `(sum r^2 - sum total^2 / tries) / (rows - cells)`, the analysis of
    variance within cells, where `guess` counts as SURE rows. `squares`: sum of the squares behind `total`."""
    between = float((total**2 / np.maximum(tries, 1.0)).sum())
    freedom = float(tries.sum()) - np.count_nonzero(tries)
    return (max(squares - between, 0.0) + SURE * guess) / (freedom + SURE)


def covariance_between(total: Floats, tries: Floats, noise: float, guess: float) -> Floats:
    """Sigma by the method of moments, shrunk towards equal variances and equal covariances: `[A, A]`.

    A person's mean of an action has variance `Sigma_aa + noise / n`; weighted by its inverse w, products of two means
    estimate `Sigma_ab` with variance `1 / sum w_a w_b`. So does the pooled target of all entries; how far an entry may
    be from it is learned from how far they all are, as James & Stein (1961). `guess`, the variance of a deviation
    before anything is known, is taken to be as uncertain as it is large.
    """
    weight = tries / (tries * guess + noise)
    each = np.maximum(tries, 1.0)
    seen = weight * total / each
    products, precision = seen.T @ seen, weight.T @ weight
    products -= np.diag(noise * (weight**2 / each).sum(axis=0))
    target = _equal(products, precision, guess)
    entries = np.divide(products, precision, out=np.zeros_like(products), where=precision > 0)
    chance = np.count_nonzero(precision) + np.count_nonzero(np.diag(precision))  # a square varies twice as much
    apart = (precision * (entries - target) ** 2).sum() - chance
    apart = max(apart / max(precision.sum(), 1.0 / guess**2), LEAST * guess**2)
    return nearest_covariance((apart * products + target) / (apart * precision + 1.0), LEAST * guess)


def _equal(products: Floats, precision: Floats, guess: float) -> Floats:
    """One variance and one covariance for all actions, the best that fit all moments: `[A, A]`."""
    own, before = np.eye(len(products), dtype=bool), 1.0 / guess**2
    variance = max((products[own].sum() + before * guess) / (precision[own].sum() + before), LEAST * guess)
    covariance = products[~own].sum() / (precision[~own].sum() + before)
    return np.asarray(np.where(own, variance, np.clip(covariance, 0.0, variance)))


def nearest_covariance(matrix: Floats, least: float) -> Floats:
    """The nearest covariance with the trace of a symmetric matrix: `[A, A]`, no eigenvalue below `least`.

    What is taken from the eigenvalues, the same from each, makes up for those that would be negative: the projection
    on a simplex (Held et al. 1974). Setting these to 0 alone (Higham 1988) would let all of chance add to the trace.
    """
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    falling, count = values[::-1], np.arange(1, len(values) + 1)
    excess = (np.cumsum(falling) - max(float(values.sum()), least)) / count
    shift = excess[np.flatnonzero(falling >= excess)[-1]]
    return np.asarray((vectors * np.maximum(values - shift, least)) @ vectors.T)


def around_shared(gram: Floats, cross: Floats, penalty: Floats, ridge: Floats) -> Shared:
    """Posterior of `c_a = theta + gamma_a`, for `gamma_a ~ N(0, 1 / penalty)` and `theta ~ N(0, 1 / ridge)`, both `[W]`
    and in units of the variance of a row (Lindley & Smith 1972).

    `gram [A, W, W]` and `cross [A, W]` are the sums of x x' and x r over the rows of each action. With
    D = diag(penalty) and P_a = gram_a + D, theta has the precision `V^-1 = ridge + sum_a D P_a^-1 gram_a`, and c_a the
    mean `P_a^-1 (cross_a + D theta)` and the covariance `P_a^-1 + P_a^-1 D V D P_a^-1`.
    """
    inverse = np.linalg.inv(gram + np.diag(penalty))
    pulled = penalty[:, None] * inverse  # D P_a^-1
    precision = np.diag(ridge) + np.diag(penalty) * len(gram) - pulled.sum(0) * penalty  # D P^-1 G = D - D P^-1 D
    spread = np.linalg.inv(precision)
    theta = spread @ (pulled @ cross[:, :, None]).sum(0)[:, 0]
    mean = (inverse @ (cross + penalty * theta)[:, :, None])[:, :, 0]
    return Shared(mean, inverse + pulled.swapaxes(1, 2) @ spread @ pulled)
