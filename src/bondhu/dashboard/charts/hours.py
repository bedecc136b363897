"""Round moments on an axis of time, and how they are written: in UTC, the date where it changes."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import NamedTuple

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
STEPS = (
    *(each * 1.0 for each in (1, 5, 15, 30)),
    *(each * MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * HOUR for each in (1, 2, 3, 6, 12)),
    *(each * DAY for each in (1, 2, 7, 14)),
)
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)  # for what is longer


class Tick(NamedTuple):
    """A moment on the axis."""

    at: float  # seconds
    says: str
    under: str = ""  # what holds from here on: the day, or the year


def ticks(low: float, high: float, most: int = 7) -> list[Tick]:
    """At most so many round moments between two times, but for one more at either end."""
    step = next((each for each in STEPS if (high - low) / each <= most), None)
    moments = _months(low, high, most) if step is None else _steps(low, high, step)
    short = step is not None and step < DAY
    found: list[Tick] = []
    last = ""
    for at in moments:
        day = datetime.fromtimestamp(at, UTC)
        under = f"{day.day} {day:%b}" if short else f"{day.year}"
        seconds = "%H:%M:%S" if step is not None and step < MINUTE else "%H:%M"
        says = f"{day:{seconds}}" if short else f"{day.day} {day:%b}" if step else f"{day:%b}"
        found.append(Tick(at, says, under if under != last else ""))
        last = under
    return found


def _steps(low: float, high: float, step: float) -> list[float]:
    """Multiples of a step; those of weeks begin on Mondays."""
    shift = 4 * DAY if step >= 7 * DAY else 0.0  # 1970 began on a Thursday
    first = ceil((low - shift) / step - 1e-9)
    found = []
    while first * step + shift <= high:
        found.append(first * step + shift)
        first += 1
    return found


def _months(low: float, high: float, most: int) -> list[float]:
    """The first of every month, or of every so many."""
    spans = (high - low) / (30.44 * DAY)
    every = next((each for each in MONTHS if spans / each <= most), MONTHS[-1])
    start = datetime.fromtimestamp(low, UTC)
    number = start.year * 12 + start.month - 1
    found: list[float] = []
    while True:
        at = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()
        if at > high:
            return found
        if at >= low and number % every == 0:
            found.append(at)
        number += 1
