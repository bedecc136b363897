"""What the logs share when they read rows back as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Floats


@dataclass(frozen=True)
class LogSummary:
    """How much a log holds of one domain."""

    decisions: int
    feedback: int  # rows as they arrived, revised and revoked ones included
    first: float | None  # seconds; time of the earliest decision
    last: float | None
    unmatched: int  # feedback, of any domain, whose decision has not arrived
    bytes: int  # of the whole store


def check_window(start: float, end: float) -> None:
    if isnan(start) or isnan(end):
        raise InvalidInput(f"A window from {start} to {end} has no rows.", field="start", value=start, fix="Give times.")


def memo_matrix(memos: Sequence[bytes | None]) -> Floats:
    """`[T, M]` from float64 bytes; a row with fewer numbers than the longest one ends in NaN."""
    width = max(map(len, filter(None, memos)), default=0) // 8
    matrix = np.full((len(memos), width), np.nan)
    if width == 0:
        return matrix
    if None not in memos and min(map(len, filter(None, memos))) == 8 * width == max(map(len, filter(None, memos))):
        pass
    for row, data in enumerate(memos):
        if data:
            numbers = np.frombuffer(data, "<f8")
            matrix[row, : len(numbers)] = numbers
    return matrix
