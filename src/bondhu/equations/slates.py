"""Judging slates on logs with one reward for the whole slate, where slots add up to it: r = Σ_k φ_k(x, a_k) + noise."""

from __future__ import annotations

import numpy as np

from bondhu.types import Floats, Integers


def repeats(slates: Integers) -> tuple[int, float]:
    """How many pairs of slots hold the same action, and how many would if slots knew nothing of each other: `[T, K]`.

    Expected are `Σ_{j < k} Σ_a n_j(a) n_k(a) / T`, n_k(a) how often slot k held action a.
    """
    rows, slots = slates.shape
    _, number = np.unique(slates, return_inverse=True)
    held = number.reshape(rows, slots)
    counts = np.stack([np.bincount(held[:, k], minlength=int(held.max()) + 1) for k in range(slots)]).astype(np.float64)
    first, second = np.triu_indices(slots, 1)
    found = int((held[:, first] == held[:, second]).sum())
    return found, float((counts[first] * counts[second]).sum() / rows)


def pseudo_inverse_weights(target: Floats, logged: Floats) -> Floats:
    """`w_t = 1 + Σ_k (π_k(a_k | x) / μ_k(a_k | x) - 1)`: `[T, K]`, `[T, K]` to `[T]`; `logged > 0`.

    The probability of each logged slot under the policy in question and under the one that acted, which drew slots
    independently. The mean of w·r is unbiased where slots add up; no slot may then be drawn that the log never tries.
    Weights grow with the number of slots, not with that of slates as the product of the ratios does; some are negative.
    Swaminathan et al. 2017, "Off-policy evaluation for slate recommendation": the closed form that their pseudo-inverse
    has where slots are drawn independently.
    """
    ratios = np.asarray(target, np.float64) / np.asarray(logged, np.float64)
    weights: Floats = 1.0 + (ratios - 1.0).sum(axis=1)
    return weights
