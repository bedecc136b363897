"""What several runs earned, as one figure and its interval (Agarwal et al. 2021, "Deep reinforcement learning at the
edge of the statistical precipice").

Scores are `[R, M]`: R runs with seeds of their own on each of M tasks, in one unit for all tasks. `[R]` is one task.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bondhu.types import Floats

Interval = tuple[float, float]
REACH = 1 << 22  # numbers drawn at a time


def interquartile_mean(scores: Floats) -> float:
    """The mean of the middle half of all scores together: a quarter of them, rounded down, is cut off at either end."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def interquartile_means(scores: Floats) -> Floats:
    """The same of each table: `[B, R, M] -> [B]`."""
    ordered = np.sort(scores.reshape(len(scores), -1), axis=1)
    cut = ordered.shape[1] // 4
    means: Floats = ordered[:, cut : ordered.shape[1] - cut].mean(axis=1)
    return means


def stratified_bootstrap(
    scores: Floats,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    statistics: Callable[[Floats], Floats] = interquartile_means,
) -> Interval:
    """Percentiles of the statistic over tables whose runs were drawn anew, with replacement, in each task by itself.

    `statistics` takes tables `[B, R, M]` and gives `[B]`. One run of each task says nothing of chance: the interval is
    then infinite.
    """
    table = np.asarray(scores, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    runs, tasks = table.shape
    if runs < 2:
        return -np.inf, np.inf
    part = max(1, REACH // table.size)
    found = []
    for start in range(0, draws, part):
        drawn = rng.integers(runs, size=(min(part, draws - start), runs, tasks))
        found.append(statistics(np.take_along_axis(table[None], drawn, axis=1)))
    low, high = np.quantile(np.concatenate(found), ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
