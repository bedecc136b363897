"""How a learner that tells people apart reads codes: contexts as indicator columns, singly and in pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bondhu.types import Array, Floats, Integers

PAIRED = 12  # context columns up to which pairs of codes have columns: their number grows with the square
HASH = 2_654_435_761  # multiplicative, by the golden ratio of 2^32 (Knuth, volume 3, section 6.4)


class Indicators(NamedTuple):
    """A row is 0 but for k of W columns: a constant, one for each code, and one for each pair of codes."""

    columns: Callable[[Array], Integers]  # codes [T, F] to columns [T, k]
    weights: Floats  # [k] what stands in them
    width: int  # W

    def design(self, codes: Array) -> Floats:
        """The rows in full: `[T, W]`. What shares a column adds up."""
        matrix, rows = np.zeros((len(codes), self.width)), np.arange(len(codes))
        for column, weight in zip(self.columns(codes).T, self.weights, strict=True):
            matrix[rows, column] += weight
        return matrix


def indicators(sizes: Integers, width: int, pairs: float) -> Indicators:
    """Columns for codes of these sizes, `[F]`: at most `width`. Those that codes leave over are for pairs, of size
    `pairs`; where there are more codes, or more pairs, than columns for them, they share columns by a hash."""
    few = len(sizes) <= PAIRED and pairs > 0
    first, second = np.triu_indices(len(sizes) if few else 0, 1)
    starts, pair_starts = _starts(sizes), _starts(sizes[first] * sizes[second])
    single = min(int(starts[-1]), width - 1)
    double = min(int(pair_starts[-1]), width - 1 - single)
    if double == 0:
        first, second = first[:0], second[:0]

    def columns(codes: Array) -> Integers:
        alone = _folded(codes + starts[:-1], int(starts[-1]), single)
        both = codes[:, first] * sizes[second] + codes[:, second] + pair_starts[: len(first)]
        together = _folded(both, int(pair_starts[-1]), double)
        return np.concatenate([np.zeros((len(codes), 1), np.int64), 1 + alone, 1 + single + together], axis=1)

    weights = np.concatenate([np.ones(1 + len(sizes)), np.full(len(first), pairs)])
    return Indicators(columns, weights, 1 + single + double)


def _starts(sizes: Integers) -> Integers:
    """The first number of each block of these sizes, and after the last one: `[F + 1]`."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _folded(number: Integers, count: int, room: int) -> Integers:
    """Numbers below `count` as they are, or hashed where there is room for fewer."""
    return number if count <= room else (number * HASH % (1 << 32)) * room >> 32
