"""What somebody wants, from what was chosen among what: weights of features, and how sure they are.

    P(a | x) = exp(w·φ(x, a)) / Σ_b exp(w·φ(x, b)),   w ~ N(m, P⁻¹)

It is the conditional logit (McFadden 1974), and of two things the model of Bradley & Terry (1952),
P(a over b) = σ(w·(φ_a - φ_b)). Of all distributions under which features are expected to be as they were chosen it has
the largest entropy: maximum-entropy inverse reinforcement learning (Ziebart et al. 2008) for one step.
Shapes: T choices among A things of F features.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bondhu.equations.recursive import moderated
from bondhu.types import Booleans, Floats, Integers

STEPS = 100  # of Newton's method at most; a handful is enough unless weights are huge
CLOSE = 1e-10  # the method ends where the gradient is as small, beside the sizes that it is made of
ROUNDED = 1e-14  # of the log-density, by which a step may lead down


class Choices(NamedTuple):
    """What was chosen among what."""

    features: Floats  # [T, A, F]
    allowed: Booleans  # [T, A]
    action: Integers  # [T] which was chosen
    worth: Floats  # [T] how many times it counts, from 0


class Normal(NamedTuple):
    """What is known of the weights."""

    mean: Floats  # [F]
    precision: Floats  # [F, F] inverse of the covariance; positive definite

    @property
    def covariance(self) -> Floats:
        """[F, F]"""
        found: Floats = np.linalg.inv(self.precision)
        return found


def prior(features: int, spread: float) -> Normal:
    """No weight is known: each is 0 with a standard deviation of `spread`."""
    return Normal(np.zeros(features), np.eye(features) / spread**2)


def pairs(accepted: Floats, rejected: Floats) -> Choices:
    """Each of T things was preferred to another: `[T, F]` and `[T, F]`. What counts is by how much it is ahead."""
    ahead = accepted - rejected
    features = np.stack([ahead, np.zeros_like(ahead)], axis=1)
    rows = len(features)
    return Choices(features, np.ones((rows, 2), np.bool_), np.zeros(rows, np.int64), np.ones(rows))


def log_chances(choices: Choices, weights: Floats) -> Floats:
    """log P of everything that could have been chosen, -inf where it may not be: `[T, A]`."""
    wanted = np.where(choices.allowed, choices.features @ weights, -np.inf)
    found: Floats = wanted - np.logaddexp.reduce(wanted, axis=1, keepdims=True)
    return found


def posterior(choices: Choices, before: Normal) -> Normal:
    """The likeliest weights, and the curvature of the log-density there (Laplace's approximation, MacKay 1992).

    Newton's method on Σ worth·log P(chosen) - ½(w - m)'P(w - m), which is concave with one maximum; a step that would
    lead down is halved. Gradient: Σ worth·(φ_chosen - E[φ]) - P(w - m). Curvature: P + Σ worth·Cov[φ].
    """
    if not len(choices.action):
        return before
    weights, value = before.mean, _density(choices, before, before.mean)
    for _ in range(STEPS):
        gradient, curvature, size = _slopes(choices, before, weights)
        if np.abs(gradient).max() <= CLOSE * size:
            break
        step = np.linalg.solve(curvature, gradient)
        moved = value
        while np.abs(step).max() > CLOSE * (1.0 + np.abs(weights).max()):
            moved = _density(choices, before, weights + step)
            if moved >= value - ROUNDED * (1.0 + abs(value)):
                break
            step = step / 2
        else:
            break
        weights, value = weights + step, moved
    return Normal(weights, _slopes(choices, before, weights)[1])


def sure(known: Normal, difference: Floats) -> Floats:
    """Probability that w·d > 0, so that what is by d ahead is preferred: Φ(d'm / √(d'P⁻¹d)); `[..., F]` to `[...]`.

    1/2 where nothing differs.
    """
    mean, deviation = _spread(known, difference)
    found: Floats = np.vectorize(NormalDist().cdf, otypes=[float])(mean / np.where(deviation > 0, deviation, 1.0))
    return found


def chance(known: Normal, difference: Floats) -> Floats:
    """Expected probability that what is by d ahead is chosen of the two, over what the weights may be (MacKay 1992);
    `[..., F]` to `[...]`. 1/2 where nothing is known."""
    mean, deviation = _spread(known, difference)
    return moderated(mean, deviation**2)[0]


def _spread(known: Normal, difference: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of w·d."""
    variance = np.einsum("...i,ij,...j->...", difference, known.covariance, difference)
    return difference @ known.mean, np.sqrt(np.maximum(variance, 0.0))


def _density(choices: Choices, before: Normal, weights: Floats) -> float:
    """log of prior times likelihood, up to a constant."""
    away = weights - before.mean
    likely = log_chances(choices, weights)[np.arange(len(choices.action)), choices.action]
    return float(choices.worth @ likely - 0.5 * away @ before.precision @ away)


def _slopes(choices: Choices, before: Normal, weights: Floats) -> tuple[Floats, Floats, float]:
    """Gradient `[F]`, curvature `[F, F]`, and what the gradient is small or large beside."""
    shares = np.exp(log_chances(choices, weights))
    expected = np.einsum("ta,taf->tf", shares, choices.features)
    chosen = choices.features[np.arange(len(choices.action)), choices.action]
    pulled, held = choices.worth @ (chosen - expected), before.precision @ (weights - before.mean)
    away = choices.features - expected[:, None, :]
    spread = np.einsum("ta,taf,tag->fg", choices.worth[:, None] * shares, away, away)
    size = 1.0 + float(choices.worth @ np.abs(choices.features).max(axis=(1, 2)))
    return pulled - held, before.precision + spread, size
