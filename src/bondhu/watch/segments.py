"""Whether a fall of the reward is the fall of one segment: one value of a field, or one end of a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bondhu.equations.drift import clustered_error
from bondhu.equations.intervals import t_quantile
from bondhu.types import Booleans, Floats, Integers
from bondhu.watch.expected import effective_people, even
from bondhu.watch.observed import Observed

LARGEST = 0.3  # share of the traffic up to which a value is a segment, and not nearly everybody
LEAST_ROWS = 50  # decisions in a segment
LEAST_PEOPLE = 10
CONCENTRATED = 0.7  # share of the whole fall that a segment must hold
ELSEWHERE = 0.25  # how much as far the others may have fallen, at most


class Segment(NamedTuple):
    """One segment and how it fell."""

    field: str
    value: str
    share: float  # of the decisions
    fall: float  # mean shortfall of its decisions
    low: float
    high: float
    elsewhere: float  # mean shortfall of the other decisions
    held: float  # share of the whole fall that is its own

    @property
    def alone(self) -> bool:
        """Whether the fall is its own, and hardly anybody else's."""
        return self.fall > 0 and self.held >= CONCENTRATED and self.elsewhere <= ELSEWHERE * self.fall


def scan(current: Observed, rows: Floats, confidence: float, widen: float = 1.0) -> Segment | None:
    """The segment whose shortfall stands out most from the others', with an interval over all that were looked at.

    `rows [C]`: expected less earned. `widen`: factor of variances for what the expectation itself does not know.
    """
    candidates = list(segments(current))
    if not candidates:
        return None
    each = 1 - (1 - confidence) / len(candidates)  # Bonferroni
    person = np.unique(current.user, return_inverse=True)[1]
    best = max(candidates, key=lambda one: _apart(rows, person, one[2]))
    return _segment(current, rows, best, each, widen)


def _apart(rows: Floats, person: Integers, inside: Booleans) -> float:
    """How many standard errors the shortfall inside and the one outside lie apart."""
    difference = float(rows[inside].mean() - rows[~inside].mean())
    centred = np.where(
        inside,
        (rows - rows[inside].mean()) / inside.sum(),
        (rows[~inside].mean() - rows) / (~inside).sum(),
    )
    sums = np.bincount(person, centred)
    error = (len(sums) / (len(sums) - 1) * float(sums @ sums)) ** 0.5
    return difference / error if error > 0 else 0.0


def segments(current: Observed) -> Iterator[tuple[str, str, Booleans]]:
    """Every value of every field with enough decisions, and the lower and upper ends of numbers."""
    for field, names in current.context.items():
        size = len(names.values)
        values = [(str(names.values[code]), names.codes == code) for code in np.unique(names.codes).tolist()]
        if field in current.numbers:
            values += [(f"below {_end(names.values[cut], 0)}", names.codes < cut) for cut in range(2, size)]
            values += [(f"from {_end(names.values[cut], 0)}", names.codes >= cut) for cut in range(1, size - 1)]
        for value, inside in values:
            rows = int(inside.sum())
            if LEAST_ROWS <= rows <= LARGEST * len(inside) and len(np.unique(current.user[inside])) >= LEAST_PEOPLE:
                yield field, value, inside


def _end(label: str, side: int) -> str:
    return label.split(" to ")[side]


def _segment(
    current: Observed, rows: Floats, one: tuple[str, str, Booleans], confidence: float, widen: float
) -> Segment:
    field, value, inside = one
    own = rows[inside]
    error, _ = clustered_error((own - own.mean()) / len(own), current.user[inside])
    degrees = max(int(effective_people(even(own, current.user[inside]))) - 1, 1)
    half = t_quantile((1 + confidence) / 2, degrees) * error * widen**0.5
    fall, whole = float(own.mean()), float(rows.sum())
    return Segment(
        *(field, value, float(inside.mean()), fall, fall - half, fall + half, float(rows[~inside].mean())),
        held=float(own.sum()) / whole if whole > 0 else 0.0,
    )
