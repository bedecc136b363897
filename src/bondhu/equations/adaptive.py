"""Linear regression by online gradient steps that need no tuning: each weight has its own rate, which falls with the
evidence for it (AdaGrad: Duchi, Hazan & Singer 2011); features count in units of their spread (normalised as in Ross,
Mineiro & Langford 2013, who take the largest value seen); and a step follows the gradient flow instead of its first
tangent, so that it never overshoots, however important the event (Karampatziakis & Langford 2011).
"""

from __future__ import annotations

import math

import numpy as np

from bondhu.types import Array, Floats, Integers

Weights = tuple[Floats, Floats]  # those that all actions share, [C], and each action's own, [A, W]
Events = tuple[Floats, Integers, Floats, Floats]  # features [E, C + W], action, target and importance [E]


def running_moments(rows: Floats, mean: Floats, squares: Floats, count: int) -> tuple[Floats, Floats]:
    """Mean and sum of squared deviations after each row: `[T, F]` twice, from those after `count` rows before: `[F]`.

    Welford (1962), for all rows at once: S_t = S_{t-1} + (x_t - m_{t-1})(x_t - m_t). Rows count from the first one on,
    so that a column far from 0 loses no digits.
    """
    origin = mean if count else rows[:1].sum(axis=0)
    numbers = np.arange(count + 1, count + len(rows) + 1)[:, None]
    means = origin + np.cumsum(rows - origin, axis=0) / numbers
    before = np.concatenate([origin[None], means[:-1]])
    return means, squares + np.cumsum((rows - before) * (rows - means), axis=0)


def standardised(values: Array, mean: Floats, squares: Floats, count: Array | int) -> Floats:
    """(x - mean) / standard deviation; 0 where nothing has varied yet. Shapes broadcast."""
    deviation = np.sqrt(squares / np.maximum(count, 1))
    varies = deviation > 1e-9 * np.abs(mean)
    scaled: Floats = np.where(varies, (values - mean) / np.where(varies, deviation, 1.0), 0.0)
    return scaled


def descend(weights: Weights, evidence: Weights, events: Events, step: tuple[float, float]) -> Floats:
    """Learn from E events in order, in place; returns the value of each before it was learned from: `[E]`.

    A value is the product of the features with the shared weights and then the action's own. With `step` = (η, p), a
    weight whose feature is x has the rate 1 / (1 + Σ h x²)^p, where `evidence` is the sum, this event included. The
    prediction moves by 1 - exp(-η h Σ x² rate) of its error, which solves dw/dh = η·rate·x·error from importance 0 to h
    (Karampatziakis & Langford 2011, table 1, squared loss). An event of importance 0 is only predicted.
    """
    (shared, own), (shared_evidence, own_evidence), (features, action, target, importance) = weights, evidence, events
    eta, power = step
    common, single = len(shared), own.shape[1]
    rates, values = np.zeros(common + single), np.zeros(len(features))
    for e in range(len(features)):
        x, a, h, value, reach = features[e], action[e], importance[e], 0.0, 0.0
        for i in range(common):
            value += x[i] * shared[i]
        for i in range(single):
            value += x[common + i] * own[a, i]
        values[e] = value
        if h == 0.0:
            continue
        for i in range(common):
            shared_evidence[i] += h * x[i] * x[i]
            rates[i] = x[i] * (1.0 + shared_evidence[i]) ** -power
            reach += x[i] * rates[i]
        for i in range(single):
            own_evidence[a, i] += h * x[common + i] * x[common + i]
            rates[common + i] = x[common + i] * (1.0 + own_evidence[a, i]) ** -power
            reach += x[common + i] * rates[common + i]
        if reach == 0.0:
            continue
        move = (target[e] - value) * -math.expm1(-eta * h * reach) / reach
        for i in range(common):
            shared[i] += move * rates[i]
        for i in range(single):
            own[a, i] += move * rates[common + i]
    return values
