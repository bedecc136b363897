"""The distance between chances of success, and how large a chance may be for all that its trials say."""

from __future__ import annotations

import math

import numpy as np

from bondhu.compiled import compiled
from bondhu.types import Floats


def divergence(chance: float, other: float) -> float:
    """kl(p, q) = p·ln(p / q) + (1 - p)·ln((1 - p) / (1 - q)): in nats (Kullback & Leibler 1951)."""
    won = chance * math.log(chance / other) if chance > 0.0 else 0.0
    return won + (1.0 - chance) * math.log((1.0 - chance) / (1.0 - other)) if chance < 1.0 else won


def upper_bound(chance: Floats, budget: Floats) -> Floats:
    """The largest q with kl(p, q) <= budget, `[T, A]` from p and the budget, right to 1e-12 (Garivier & Cappé 2011).

    Of a mean p over n trials, ln(t) / n is the budget of KL-UCB.
    """
    flat = np.array(chance, np.float64).ravel(), np.array(budget, np.float64).ravel()
    bounds: Floats = compiled(_upper_bounds)(*flat).reshape(chance.shape)
    return bounds


def _upper_bounds(chance: Floats, budget: Floats) -> Floats:
    """Newton in log-odds, where the divergence is convex: from a bound above the root it falls and never passes it.

    Two bounds are known: Pinsker's, q <= p + √(budget / 2), and the one that leaves out p·ln(1 / q).
    """
    bounds = np.empty(len(chance))
    for i in range(len(chance)):
        p, limit = chance[i], budget[i]
        bounds[i] = 1.0 if limit > 0.0 else p
        if p >= 1.0 or limit <= 0.0 or limit == np.inf:
            continue
        entropy = -(1.0 - p) * math.log(1.0 - p) - (p * math.log(p) if p > 0.0 else 0.0)
        most = (limit + entropy) / (1.0 - p)
        odds = most + math.log(-math.expm1(-most))
        pinsker = p + math.sqrt(limit / 2.0)
        if pinsker < 1.0:
            odds = min(odds, math.log(pinsker / (1.0 - pinsker)))
        for _ in range(50):
            log_chance = min(odds, 0.0) - math.log1p(math.exp(-abs(odds)))
            bounds[i] = math.exp(log_chance)
            step = ((1.0 - p) * odds - log_chance - entropy - limit) / max(bounds[i] - p, 1e-300)
            odds -= step
            if step <= 1e-12:
                break
    return bounds
