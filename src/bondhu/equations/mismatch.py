"""Whether counts are as declared, of users who were split, or of failures: exact, chi-square, and at every look."""

from __future__ import annotations

from math import lgamma, log, log1p

import numpy as np

from bondhu.equations.tails import chi_square_tail
from bondhu.types import Booleans, Floats

EXACT = 1000  # draws up to which the exact distribution is computed
# Strength of the prior of `split_path`, in draws: deviations of about half over its root, 1.6 percentage points of an
# even split, are found soonest.
CONCENTRATION = 1000.0
RATES = (1.0, 9.0)  # Beta prior of `count_evidence`: a tenth; broken things fail often, and are found in two draws


def successes(chance: Floats) -> Floats:
    """Probabilities of 0 … N successes of independent draws with these chances `[N]`: `[N + 1]` (Poisson 1837)."""
    distribution = np.ones(1)
    for each in chance.tolist():
        distribution = np.append(distribution * (1 - each), 0.0) + np.append(0.0, distribution * each)
    return distribution


def split_p(treated: int, chance: Floats) -> float:
    """How often chance alone would treat a number as unlikely as this of users who are treated with `chance [N]`.

    Exact for small N; beyond, chi-square with one degree of freedom of `(treated - sum q)^2 / sum q (1 - q)`.
    """
    if len(chance) <= EXACT:
        distribution = successes(chance)
        return min(float(distribution[distribution <= distribution[treated] * (1 + 1e-9)].sum()), 1.0)
    variance = float((chance * (1 - chance)).sum())
    return chi_square_tail((treated - float(chance.sum())) ** 2 / variance, 1) if variance else 1.0


def split_path(treated: Booleans, chance: Floats, concentration: float = CONCENTRATION) -> Floats:
    """Logarithm of the evidence against the declared split after each draw, in their order: `[N]`.

    The chance that it ever exceeds `ln(1 / alpha)` is at most alpha where the declaration is true, exactly, for any
    number of looks. Each draw is predicted from those before it with the same chance q, under a Beta prior about q with
    this concentration c, `(c q + n_treated) / (c + n)`, over q: Lindon & Malek (2022). Chances may differ: each has a
    prior of its own, and the product is a martingale as well.
    """
    if not len(chance):
        return np.zeros(0)
    _, group = np.unique(chance, return_inverse=True)
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], group[order])  # where each row's group begins
    rank = np.arange(len(order)) - start
    running = np.append(0, np.cumsum(treated[order]))
    before = running[:-1] - running[start]
    q = chance[order]
    predicted = (concentration * q + before) / (concentration + rank)
    hit = treated[order]
    step = np.empty(len(order))
    step[order] = np.log(np.where(hit, predicted, 1 - predicted)) - np.log(np.where(hit, q, 1 - q))
    return np.cumsum(step)


def count_evidence(hits: int, draws: int, chance: float, prior: tuple[float, float] = RATES) -> float:
    """Logarithm of the evidence that the chance of a hit is not this one: `ln B(a + h, b + n - h) / B(a, b) - ln L`,
    with the likelihood `L = q^h (1 - q)^(n - h)`.

    As `split_path`, after any number of looks it exceeds `ln(1 / alpha)` with a chance of at most alpha where q is true
    (Ville 1939). The q that it does not refute are an interval, a confidence sequence (Robbins 1970).
    """
    a, b = prior
    misses = draws - hits
    beta = lgamma(a + hits) + lgamma(b + misses) - lgamma(a + b + draws) - lgamma(a) - lgamma(b) + lgamma(a + b)
    likelihood = (hits * log(chance) if hits else 0.0) + (misses * log1p(-chance) if misses else 0.0)
    return beta - likelihood
