"""From probabilities to actions: one uniform number a row, so that any draw can be replayed.

One row is the live request: there the reductions over an axis are replaced by cheaper calls with the same result.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Booleans, Choice, Floats, Integers, Uniforms

BELOW_ONE = float(np.nextafter(1.0, 0.0))


def evenly(chosen: Booleans) -> Floats:
    """p(a) = 1 / |chosen| for each chosen action, 0 for the others: `[T, A]` to `[T, A]`."""
    if len(chosen) == 1:
        count = np.count_nonzero(chosen)
        return np.true_divide(chosen, count) if count else _none_allowed(0)
    counts = np.add.reduce(chosen, axis=-1, keepdims=True, dtype=np.int64)
    return np.true_divide(chosen, counts) if counts.all() else _none_allowed(int(counts.argmin()))


def draw(probabilities: Floats, rng: Uniforms) -> Choice:
    """Invert the cumulative distribution at one uniform number a row: the first a with F(a) > u·F(A).

    An action of probability 0 does not raise F, so it is never first; u stays below 1 so that one is always found.
    """
    cumulative = np.add.accumulate(probabilities, axis=-1)
    uniform = rng.random(len(cumulative))
    if len(cumulative) == 1:
        reach = min(float(uniform[0]), BELOW_ONE) * float(cumulative[0, -1])
        one = int(cumulative[0].searchsorted(reach, "right"))
        return Choice(np.array([one]), probabilities[0, one : one + 1], np.empty((1, 0)))
    reaches = np.minimum(uniform, BELOW_ONE) * cumulative[:, -1]
    action = (cumulative > reaches[:, None]).argmax(axis=-1)
    return Choice(action, pick(probabilities, action), np.empty((len(action), 0)))


def pick(probabilities: Floats, action: Integers) -> Floats:
    """The entry of each row's action: `[T, A]`, `[T]` to `[T]`."""
    chosen: Floats = probabilities[np.arange(len(action)), action]
    return chosen


def _none_allowed(row: int) -> NoReturn:
    raise InvalidInput(f"Row {row} allows no action.", field="allowed", fix="Allow at least one action a row.")
