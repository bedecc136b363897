"""What earlier weeks let one expect: the reference weighted to the weekdays and hours of the current stretch."""

from __future__ import annotations

import numpy as np

from bondhu.equations.drift import clustered_error, dispersion
from bondhu.types import Booleans, Floats, Integers

DAY = 86_400.0  # seconds
BLOCKS = 4  # of six hours (UTC) in a day
LEAST_ROWS = 50  # of the reference, before hours of a weekday, or hours of any day, are compared with themselves;
LEAST_PART = 0.5  # or so many for each current row in these hours, where they are fewer
LEAST_DAY = 30  # rows from which a day's mean is looked at


def hours(time: Floats) -> Integers:
    """Number of the six hours of the week, Monday 0:00 UTC first: `[T]` below 28."""
    of_time: Integers = (((time / DAY + 3) % 7) * BLOCKS).astype(np.int64)  # the epoch was a Thursday
    return np.minimum(of_time, 7 * BLOCKS - 1)


def covered(reference: Floats, current: Floats) -> Booleans:
    """Which current rows are of hours of the week that the reference knows `[C]`: the season of others is unknown."""
    there, here = (np.bincount(hours(time), minlength=7 * BLOCKS) for time in (reference, current))
    return np.asarray(_enough(there, here)[hours(current)])


def _enough(there: Integers, here: Integers | Floats) -> Booleans:
    return np.asarray(there >= np.maximum(np.minimum(LEAST_ROWS, LEAST_PART * here), 1))


def seasonal_weights(reference: Floats, current: Floats) -> Floats:
    """Weights `[R]` that sum to 1 and give the reference the current mix of weekdays and hours.

    Hours that the reference hardly has are compared with the same hours of any weekday, and those with everything.
    """
    there, here = hours(reference), hours(current)
    weights = np.zeros(len(reference))
    left = np.bincount(here, minlength=7 * BLOCKS) / max(len(current), 1)  # share of the current rows still to place
    for fold in (7 * BLOCKS, BLOCKS, 1):
        cell = there % fold
        count = np.bincount(cell, minlength=fold)
        wanted = np.bincount(np.arange(7 * BLOCKS) % fold, left, fold)
        enough = _enough(count, wanted * len(current)) | (fold == 1)
        placed = np.where(enough, wanted, 0.0)
        weights += (placed / np.maximum(count, 1))[cell]
        left = np.where(enough[np.arange(7 * BLOCKS) % fold], 0.0, left)
    return weights


def concurrent_weights(control: Floats, trial: Floats) -> Floats:
    """Weights `[C]` that sum to 1 and give the control the days of the trial: 0 before the trial's first decision.

    What no control ran beside is compared with all that came after the first.
    """
    beside = control >= trial.min()
    day, days = np.unique(np.floor(np.concatenate([control, trial]) / DAY), return_inverse=True)
    there, here = days[: len(control)], days[len(control) :]
    count = np.bincount(there, beside, len(day))
    wanted = np.bincount(here, minlength=len(day)) / len(trial)
    alone = float(wanted[count == 0].sum())
    weights = (wanted / np.maximum(count, 1))[there] + alone / max(int(beside.sum()), 1)
    return np.where(beside, weights, 0.0)


def demeaned(values: Floats, time: Floats, fold: int = 7 * BLOCKS) -> Floats:
    """Values `[T]` or `[T, F]` less the mean of the same hours of the week; with `fold` BLOCKS, of any day."""
    cell = hours(time) % fold
    count = np.maximum(np.bincount(cell, minlength=7 * BLOCKS), 1)
    if values.ndim == 1:
        return np.asarray(values - (np.bincount(cell, values, 7 * BLOCKS) / count)[cell])
    sums = np.zeros((7 * BLOCKS, values.shape[1]))
    order = np.argsort(cell, kind="stable")
    present, first = np.unique(cell[order], return_index=True)
    sums[present] = np.add.reduceat(values[order], first, axis=0)
    return np.asarray(values - (sums / count[:, None])[cell])


def days_scatter(time: Floats, values: Floats, user: Integers) -> float:
    """How many times more the daily means vary about their weekday's than their rows explain: a factor of variances.

    Within a week no weekday comes twice: then about the mean of all days, and what weekdays differ by counts as well.
    """
    day = np.floor(time / DAY).astype(np.int64)
    days = np.unique(day)
    twice = len(np.unique(days % 7)) < len(days)
    residual = demeaned(values, time, 7 * BLOCKS if twice else BLOCKS)
    found = []
    for each in days:
        rows = np.flatnonzero(day == each)
        if len(rows) >= LEAST_DAY:
            mean = float(residual[rows].mean())
            error, people = clustered_error((residual[rows] - mean) / len(rows), user[rows])
            if people > 2 and error > 0:
                found.append((mean, error, each % 7))
    means, errors, weekday = np.array(found).reshape(-1, 3).T
    return dispersion(means, errors, len(np.unique(weekday)) if twice else 1)
