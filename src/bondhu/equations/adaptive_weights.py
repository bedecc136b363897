"""Estimates from data collected by a policy that learned from that very data: scores weighted by what came before.

Doubly robust scores `G_t` of such data are unbiased one by one. But where exploration fades their variance grows, by an
amount that depends on what happened, so that their plain mean is wide and not normal; the sample mean of an action is
biased besides (Nie et al. 2018). Weights `h_t` that know only rows before t, about 1 over the deviation of `G_t`, give
each row the same say in the variance, and make the mean normal (Hadad et al. 2021, "Confidence intervals for policy
evaluation in adaptive experiments"; with contexts Bibaut et al. 2021, Zhan et al. 2021).

Rows `[T]` are in the order of time, and each probability is the one with which its action was drawn then.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import standard_error, student
from bondhu.equations.sequences import radius
from bondhu.types import Floats, Integers

RECENCY = 9.0  # row s counts (s / t)^RECENCY for row t: the last tenth of what came before counts most
RULE_OF_THREE = 3.0  # what stayed away for n rows has, with 95 % confidence, a chance below 3 / n (Hanley 1983)


class Effect(NamedTuple):
    """A difference between two means, and its interval."""

    value: float
    low: float
    high: float


def earlier_mean(terms: Floats) -> Floats:
    """The mean of the terms before each, 0 where there is none: `[T]` to `[T]`."""
    total = np.cumsum(terms) - terms
    return np.asarray(total / np.maximum(np.arange(len(terms)), 1))


def heaviness(weights: Floats, start: float = 1.0, share: float = 1.0) -> Floats:
    """What `E[w_t^2] / share` is likely to be by the importance weights of rows before t: `[T]`, `share = E|w_t|`.

    `sum_s k_s w_s^2 / sum_s k_s |w_s|` with `k_s = s^RECENCY`. Both sums hold the same rows, few where the policy's
    actions are rare: for one action of constant probability e the ratio is 1 / e without noise. Actions that stay away
    for longer than that explains have become rarer: at least a third of the rows since counts. Rows before any weight
    have `start`. Of a difference between two policies, what is above 0 and what is below are looked at apart.
    """
    if (weights < 0).any():
        sides = (heaviness(np.maximum(side, 0.0), start, share / 2) for side in (weights, -weights))
        return np.asarray(sum(sides) / 2)
    kernel = np.arange(1.0, len(weights) + 1) ** RECENCY
    mass, square = np.cumsum(kernel * weights), np.cumsum(kernel * weights * weights)
    recent = np.divide(square, mass, out=np.full(len(weights), float(start)), where=mass > 0)
    missing = 1 - np.minimum(weights, 1.0)
    away = np.fromiter(accumulate(missing.tolist(), _longer, initial=1.0), np.float64)[1:]
    found = np.maximum(recent, away * share / RULE_OF_THREE)
    return np.concatenate([[float(start)], found])[: len(weights)]


def _longer(rows: float, missing: float) -> float:
    """Rows since the policy's action was last seen, and this one; what was seen in part ends it in part."""
    return 1.0 + missing * rows


def stabilisers(heavy: Floats, noise: Floats, direct: Floats) -> Floats:
    """`h_t = sqrt((noise_t + direct_t) / (heavy_t noise_t + direct_t))`: one over the deviation of a score, in units of
    what it would be if the policy itself had acted. 1 wherever nothing has to be weighted.

    `noise` is the variance of a reward around its model, `direct` that of the model's own values, as known before t.
    """
    whole = noise + direct
    part = np.divide(noise, whole, out=np.ones(len(heavy)), where=whole > 0)
    return np.asarray(1.0 / np.sqrt(heavy * part + 1.0 - part))


def linearised(scores: Floats, weights: Floats) -> Floats:
    """Terms `V + h_t (G_t - V) / mean(h)` whose mean is `V = sum h_t G_t / sum h_t`.

    The standard error of their mean is that of the martingale, `sqrt(sum h_t^2 (G_t - V)^2) / sum h_t`.
    """
    shares = weights / weights.mean()
    value = float((shares * scores).mean())
    return np.asarray(value + shares * (scores - value))


def effect(
    differences: Floats, weights: Floats, confidence: float, groups: Integers | None = None, anytime: bool = False
) -> Effect:
    """The weighted mean of `G_t - G'_t`, scores of two policies for the same rows under weights that both share.

    `anytime`: it holds at every look at once, `mean +- radius * standard error` (Waudby-Smith et al. 2024).
    """
    terms = linearised(differences, weights)
    value = float(terms.mean())
    if not anytime:
        return Effect(value, *student(terms, confidence, groups))
    error, count = standard_error(terms, groups)
    half = radius(count, confidence) * error
    return Effect(value, value - half, value + half)


def arm_scores(action: Integers, probability: Floats, reward: Floats, actions: int) -> Floats:
    """Doubly robust scores `[T, A]` of "always this action", whose model is the mean of that action's earlier rewards:

    `G_t(a) = m_{t-1}(a) + 1{a_t = a} (r_t - m_{t-1}(a)) / e_t(a_t)`. Until an action was tried it is that of all.
    """
    taken = np.asarray(action)[:, None] == np.arange(actions)
    earned = taken * np.asarray(reward, np.float64)[:, None]
    count, total = np.cumsum(taken, axis=0) - taken, np.cumsum(earned, axis=0) - earned
    model = np.where(count > 0, total / np.maximum(count, 1), earlier_mean(earned.sum(1))[:, None])
    return np.asarray(model + (earned - taken * model) / probability[:, None])


def arm_effect(
    rows: tuple[Integers, Floats, Floats], pair: tuple[int, int], confidence: float, anytime: bool = False
) -> Effect:
    """How much more the first action of the pair earns than the second, of all actions in `rows`: action, probability
    and reward `[T]` of an experiment whose shares followed what it found."""
    action, probability, reward = rows
    first, second = pair
    scores = arm_scores(action, probability, reward, max(int(np.max(action)), *pair) + 1)
    weights = 1 / np.sqrt(heaviness(((action == first) * 1.0 - (action == second)) / probability, 2.0, 2.0))
    weights[:1] = 0.0  # nothing is known of rewards yet
    return effect(scores[:, first] - scores[:, second], weights, confidence, None, anytime)
