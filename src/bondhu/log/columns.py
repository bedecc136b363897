"""What the logs share when they write rows down and read them back as columns."""

from __future__ import annotations

from math import isnan
from struct import pack

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Floats, Integers


def check_window(start: float, end: float) -> None:
    """Raises InvalidInput for a window that cannot hold anything by mistake: a bound that is not a number."""
    if isnan(start) or isnan(end):
        name, value = ("start", start) if isnan(start) else ("end", end)
        raise InvalidInput(f"The window's {name} is not a number.", field=name, value=value, fix="Give UNIX seconds.")


def memo_bytes(memo: tuple[float, ...]) -> bytes | None:
    """Little-endian float64."""
    return pack(f"<{len(memo)}d", *memo) if memo else None


def memo_matrix(lengths: Integers, numbers: Floats) -> Floats:
    """`[T, M]` from the numbers of all rows, one row's after the other's; a shorter row ends in NaN."""
    matrix = np.full((len(lengths), lengths.max(initial=0)), np.nan)
    matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = numbers
    return matrix
