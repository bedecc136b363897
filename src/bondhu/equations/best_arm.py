"""How long to try actions until the best one is known with a given error, and how to share the tries until then.

For chances of success; rewards anywhere within [0, 1] scatter no more than those, so all of it holds for them as well.
Shapes: A actions. Errors and risks are probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

import numpy as np

from bondhu.compiled import compiled
from bondhu.equations.bernoulli import divergence
from bondhu.types import Booleans, Floats

P = ParamSpec("P")
R = TypeVar("R")

HALVINGS = 32  # of an interval: right to 9 digits
LEAST = 1e-9  # nats below which two chances are taken for equal
SMALLEST = 1e-12  # distance from 0 and 1 that chances keep where tries are shared


def lead(mean: float, tries: float, other: float, others: float) -> float:
    """Z = n·kl(p, m) + n'·kl(p', m) with m the mean of all their rewards: in nats.

    The logarithm of the generalised likelihood ratio of "the two differ" against "they do not" (Chernoff 1959;
    Garivier & Kaufmann 2016, equation 6), for the one with the higher mean against the other.
    """
    if tries + others <= 0.0:
        return 0.0
    middle = (tries * mean + others * other) / (tries + others)
    middle = max(min(middle, max(mean, other)), min(mean, other))
    return tries * divergence(mean, middle) + others * divergence(other, middle)


def needed(risk: float, actions: int, leading: float, trailing: float) -> float:
    """The lead from which the higher mean is surely the better of `actions`: ln((A - 1) / risk) and the `regret` of the
    action that leads and of the one behind it.

    However often one looks, the chance that an action which is not the best ever leads all others by this much is at
    most the risk. For the best action and any other, the mixtures of `regret` over the likelihood of all their rewards
    under the true means is a supermartingale that begins at 1, for rewards within [0, 1] as well, since (q / p)^r·((1 -
    q) / (1 - p))^(1 - r) is convex in r; by Ville (1939) it reaches c = (A - 1) / risk with a chance of at most 1 / c;
    and the true means are among those that the `lead` of the wrong one is measured against (Garivier & Kaufmann 2016,
    theorem 10, which bounds both regrets by ln 2 + ln(n) / 2).
    """
    return math.log(max(actions - 1, 1) / risk) + leading + trailing


def regret(won: float, tries: float) -> float:
    """ln of the highest likelihood of rewards that sum to `won`, over their mixture by the prior Beta(1/2, 1/2) of
    Krichevsky & Trofimov (1981): what not knowing the mean costs, in nats."""
    if tries <= 0.0:
        return 0.0
    lost = max(tries - won, 0.0)
    highest = (won * math.log(won / tries) if won > 0.0 else 0.0) + (lost * math.log(lost / tries) if lost > 0 else 0.0)
    mixed = math.lgamma(won + 0.5) + math.lgamma(lost + 0.5) - math.lgamma(tries + 1.0) - math.log(math.pi)
    return highest - mixed


def allocation(means: Floats, there: Booleans) -> tuple[Floats, float]:
    """The shares of tries `[A]` that find the best of the actions that are there soonest, and the hardness T*.

    No algorithm with this risk decides in fewer than T*·kl(risk, 1 - risk) tries on average; with these shares, and the
    risk going to 0, one needs no more (Garivier & Kaufmann 2016, theorem 1, lemma 3 and theorem 5). Where equals lead,
    they share evenly, and the hardness is infinite.
    """
    shares, hardness = ready(shared_out)(np.asarray(means, np.float64), np.asarray(there, np.bool_))
    return shares, float(hardness)


def shared_out(means: Floats, there: Booleans) -> tuple[Floats, float]:
    """`allocation`, to be compiled: F(y) = Σ kl(p, m_a) / kl(p_a, m_a) = 1, where x_a(y) solves g_a(x) = y."""
    shares, best = np.zeros(len(means)), -1
    for a in range(len(means)):
        if there[a] and (best < 0 or means[a] > means[best]):
            best = a
    top, nearest, equals = min(max(means[best], SMALLEST), 1.0 - SMALLEST), np.inf, 1
    for a in range(len(means)):
        if there[a] and a != best:
            apart = divergence(top, min(max(means[a], SMALLEST), 1.0 - SMALLEST))
            shares[a] = 1.0 if apart < LEAST else 0.0
            equals += apart < LEAST
            nearest = min(nearest, apart)
    shares[best] = 1.0
    if equals > 1 or nearest == np.inf:
        return shares / equals, np.inf
    low, high = 0.0, nearest
    for _ in range(HALVINGS):
        y, total = (low + high) / 2.0, 0.0
        for a in range(len(means)):
            if there[a] and a != best:
                other = min(max(means[a], SMALLEST), 1.0 - SMALLEST)
                x = tries_beside(top, other, y)
                middle = (top + x * other) / (1.0 + x)
                total += divergence(top, middle) / max(divergence(other, middle), 1e-300)
                shares[a] = x
        low, high = (y, high) if total < 1.0 else (low, y)
    return shares / shares.sum(), shares.sum() / ((low + high) / 2.0)


def tries_beside(top: float, other: float, y: float) -> float:
    """The x with kl(p, m) + x·kl(p', m) = y, where m = (p + x·p') / (1 + x): by halving x / (1 + x)."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        share = (low + high) / 2.0
        middle, x = (1.0 - share) * top + share * other, share / (1.0 - share)
        below = divergence(top, middle) + x * divergence(other, middle) < y
        low, high = (share, high) if below else (low, share)
    return low / (1.0 - low)


def ready(kernel: Callable[P, R], *parts: Callable[..., Any]) -> Callable[P, R]:
    """A function that calls those above, and other `parts`, compiled together with them."""
    for part in (divergence, lead, needed, regret, tries_beside, shared_out, *parts):
        _callable(part)
    return compiled(kernel)


@cache
def _callable(part: Callable[..., Any]) -> None:
    """Let it be called by what is compiled."""
    from numba.extending import register_jitable

    register_jitable(part)
