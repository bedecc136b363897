"""Where a number lies in a picture: linear and logarithmic scales with round ticks."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

from bondhu.report.study import Figure

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
FAR = 1.0  # lengths of a long interval beyond all values, after which the picture ends and an arrow stands


class Axis(NamedTuple):
    """A straight scale from numbers to pixels."""

    low: float
    high: float
    start: float  # pixels
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value, held inside the picture."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Round values inside the axis and how they are written."""
        step = round_step((self.high - self.low) / most)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        digits = max(0, -floor(log10(step) + 1e-9) + (1 if _halves(step) else 0))
        return [(number * step, f"{number * step + 0.0:.{digits}f}") for number in range(first, last + 1)]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least this."""
    power: float = 10.0 ** floor(log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1 - 1e-9))


def _halves(step: float) -> bool:
    return abs(step / 10.0 ** floor(log10(step) + 1e-9) - 2.5) < 1e-6


def holding(figures: Sequence[Figure], reference: float | None, start: float, end: float) -> Axis:
    """An axis that holds all values and all intervals but what reaches far beyond the others, and the reference."""
    known = [each for each in figures if isfinite(each.value)]
    if not known:
        return Axis(0.0, 1.0, start, end)
    values = [each.value for each in known] + ([] if reference is None else [reference])
    lengths = [each.high - each.low for each in known if isfinite(each.high - each.low)]
    usual = sorted(lengths)[3 * (len(lengths) - 1) // 4] if lengths else 0.0
    low = min([*values, *(max(each.low, min(values) - FAR * usual) for each in known)])
    high = max([*values, *(min(each.high, max(values) + FAR * usual) for each in known)])
    room = (high - low) * 0.04 or max(abs(high), 1.0) * 0.1
    return Axis(low - room, high + room, start, end)
