"""Running means and deviations of what is observed and of what is earned; frozen when a policy acts on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import equinox as eqx
import numpy as np

from bondhu.types import Array, Batch, Floats

FARTHEST = 10.0  # deviations beyond which an observation counts as this far
TINY = 1e-8  # variance below which a feature is taken for a constant


class Scale(eqx.Module):
    """Of F numbers; unused where `rows` stays 0."""

    mean: Array  # [F]
    squares: Array  # [F] sum of squared distances from the mean
    rows: Array  # [] seen so far


def unscaled(shape: tuple[int, ...]) -> Scale:
    """Nothing seen yet."""
    return Scale(np.zeros(shape), np.zeros(shape), np.zeros(()))


def including(scale: Scale, seen: Floats) -> Scale:
    """With these rows `[T, F]` as well (Chan, Golub & LeVeque 1983)."""
    rows, mean = len(seen), seen.mean(axis=0, dtype=np.float64)
    total = scale.rows + rows
    away = mean - scale.mean
    squares = scale.squares + ((seen - mean) ** 2).sum(axis=0) + away**2 * (scale.rows * rows / total)
    return replace(scale, mean=scale.mean + away * (rows / total), squares=squares, rows=np.asarray(total))


def deviation(scale: Scale) -> Floats:
    """Of each number; 1 of what was never seen to differ: `[F]`."""
    variance = np.asarray(scale.squares) / max(float(scale.rows), 1.0)
    return np.where(variance > TINY, np.sqrt(np.maximum(variance, TINY)), 1.0)


def scaling(scale: Scale) -> Callable[[Array], Any]:
    """Puts what is seen in deviations from its mean, as single precision: `[T, F]`. Images, and everything where
    nothing was counted, stay as they are."""
    if not scale.rows:
        return lambda seen: seen if seen.dtype == np.uint8 else seen.astype(np.float32, copy=False)
    mean, stretch = np.asarray(scale.mean), 1.0 / deviation(scale)
    return lambda seen: np.clip((seen - mean) * stretch, -FARTHEST, FARTHEST).astype(np.float32)


def discounted(batch: Batch, discount: float) -> Floats:
    """R_t = r_t + γ·R_{t-1} within a trajectory, and r_t in its first row: `[T]`.

    Its deviation is what rewards are measured in (Engstrom et al. 2020, arXiv 2005.12729, section 3). A batch does not
    say which trajectory it goes on with, so that a trajectory counts from where the batch begins: let plays be some
    1 / (1 - γ) steps long.
    """
    follows = np.append(False, batch.has_next[:-1])
    rows = zip(batch.reward.tolist(), (discount * follows).tolist(), strict=True)
    sums = accumulate(rows, lambda total, row: row[0] + row[1] * total, initial=0.0)
    return np.fromiter(sums, np.float64, len(batch) + 1)[1:]


def in_deviations(reward: Floats, earned: Scale) -> Floats:
    """Rewards in deviations of what was `earned` so far, their mean kept, at most FARTHEST: `[T]`."""
    return np.clip(reward / deviation(earned), -FARTHEST, FARTHEST)
