"""Policies on an interval smoothed by a kernel, and rewards as smooth functions of where on it one acts.

Shapes: T decisions, P pieces between P + 1 edges on each of which a density is constant, M points, K waves, F features.
The kernel is Epanechnikov's (1969), `k(u) = 3/4 (1 - u^2)` on [-1, 1]. What would leave the interval is folded back.
"""

from __future__ import annotations

from math import pi

import numpy as np

from bondhu.equations.regression import FOLDS, PENALTIES
from bondhu.types import Floats, Integers

SILVERMAN = 2.34  # bandwidth in standard deviations times T^(-1/5), for this kernel (Silverman 1986, section 3.4)
CHUNK = 1 << 16  # rows whose products of features and waves are in memory at a time


def kernel(distance: Floats) -> Floats:
    """`k(u) = 3/4 (1 - u^2)` on [-1, 1], 0 elsewhere."""
    height: Floats = 0.75 * np.maximum(1.0 - distance**2, 0.0)
    return height


def kernel_below(distance: Floats) -> Floats:
    """`int_{-1}^u k`: `1/2 + 3/4 (u - u^3 / 3)` on [-1, 1]."""
    inside = np.clip(distance, -1.0, 1.0)
    share: Floats = 0.5 + 0.75 * (inside - inside**3 / 3)
    return share


def rule_of_thumb(action: Floats) -> float:
    """Bandwidth `2.34 s T^(-1/5)` in the units of the actions `[T]`: Silverman (1986)."""
    shrinking: float = float(len(action)) ** -0.2
    return SILVERMAN * float(action.std()) * shrinking


def smoothed_pieces(action: Floats, edges: Floats, pieces: Floats, bandwidth: float) -> Floats:
    """Density at the action of `[T]` piecewise constant policies, probabilities `[T, P]`, smoothed: exactly,

    `sum_p pi_p / (e_{p+1} - e_p) (H((y - e_p) / h) - H((y - e_{p+1}) / h))`, with H the integral of the kernel, summed
    over y = a and its images beyond both ends.
    """
    height = pieces / np.diff(edges)
    total = np.zeros(len(action))
    for image in (action, 2 * edges[0] - action, 2 * edges[-1] - action):
        reached = kernel_below((image[:, None] - edges) / bandwidth)
        total += np.einsum("tp,tp->t", height, reached[:, :-1] - reached[:, 1:])
    return total


def smoothed_points(action: Floats, points: Floats, ends: tuple[float, float], bandwidth: float) -> Floats:
    """Density at the action of `[T]` policies known by equally likely points `[T, M]`, smoothed: all the same where a
    policy always acts alike. Kallus & Zhou (2018), "Policy evaluation and optimization with continuous treatments".
    """
    total = np.zeros(len(action))
    for image in (action, 2 * ends[0] - action, 2 * ends[1] - action):
        total += kernel((image[:, None] - points) / bandwidth).mean(axis=1) / bandwidth
    return total


def waves(place: Floats, ends: tuple[float, float], count: int) -> Floats:
    """`cos(k pi u)`, k = 0 … count - 1, of places from 0 to 1 between the ends: `[...]` to `[..., K]`."""
    share = (place - ends[0]) / (ends[1] - ends[0])
    found: Floats = np.cos(np.asarray(share)[..., None] * (pi * np.arange(count)))
    return found


def wave_means(edges: Floats, count: int) -> Floats:
    """The mean of each wave on each piece: `[P + 1]` to `[P, K]`, from `int cos(k pi u) = sin(k pi u) / (k pi)`."""
    share = (edges - edges[0]) / (edges[-1] - edges[0])
    frequency = pi * np.arange(1, count)
    risen = np.diff(np.sin(share[:, None] * frequency) / frequency, axis=0)
    means: Floats = np.hstack([np.ones((len(edges) - 1, 1)), risen / np.diff(share)[:, None]])
    return means


def cross_fitted_waves(design: Floats, wave: Floats, reward: Floats, fold: Integers) -> Floats:
    """Coefficients `[FOLDS, F, K]` of ridge regressions `r = sum_fk x_f c_fk wave_k`, each without its fold's rows.

    The penalty of each is the one of PENALTIES that predicts the next fold best from those that are left.
    """
    width = design.shape[1] * wave.shape[1]
    gram, cross = np.zeros((FOLDS, width, width)), np.zeros((FOLDS, width))
    for each in range(FOLDS):
        rows = np.flatnonzero(fold == each)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            product = np.einsum("tf,tk->tfk", design[part], wave[part]).reshape(len(part), -1)
            gram[each] += product.T @ product
            cross[each] += reward[part] @ product

    def solved(left: list[int], penalty: float) -> Floats:
        weights = np.full(width, penalty)
        weights[0] = 1e-6  # the constant is nearly free
        found: Floats = np.linalg.solve(gram[left].sum(0) + np.diag(weights), cross[left].sum(0))
        return found

    def missed(coefficients: Floats, each: int) -> float:
        return float(coefficients @ gram[each] @ coefficients - 2 * coefficients @ cross[each])

    found = np.empty((FOLDS, width))
    for each in range(FOLDS):
        inner = (each + 1) % FOLDS
        left = [other for other in range(FOLDS) if other not in (each, inner)]
        penalty = min(PENALTIES, key=lambda rate: missed(solved(left, rate), inner))
        found[each] = solved([*left, inner], penalty)
    return found.reshape(FOLDS, design.shape[1], wave.shape[1])
