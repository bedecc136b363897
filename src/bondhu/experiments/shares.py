"""With which probability a decision was treated, from what the log says of its own variant alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.types import Booleans, Floats, Integers

SAME = 9  # decimals up to which two shares are one: 1 - 0.9 is 0.1


class Shares(NamedTuple):
    """Of each decision of two variants `[T]`."""

    share: Floats  # probability of being treated at that moment, given that it is one of the two
    pool: Floats  # probability of being one of the two


def shares(treated: Booleans, probability: Floats, time: Floats) -> Shares:
    """`p_t / (p_t + p_c)`, where the log knows p of each row's own variant, and the other's from the rows beside it.

    A share that grows, or people held out, may change both at any time. While one of them is constant the nearest row
    of the other tells; where that has none, as after the end of a trial, nobody was drawn: the share is 0 or 1.
    """
    probability = np.round(probability, SAME)
    first, second = (_side(rows, probability, time) for rows in (np.flatnonzero(treated), np.flatnonzero(~treated)))
    inside = _inside(first, second), _inside(second, first)
    seen = _pairs(first.chance, inside[0]) | _pairs(inside[1], second.chance)
    beside = np.zeros(len(time))
    beside[first.rows] = _further(first, second, inside[0], seen)
    beside[second.rows] = _further(second, first, inside[1], {(one, other) for other, one in seen})
    pool = probability + beside
    share = np.where(treated, probability, beside) / np.where(pool > 0, pool, 1.0)
    return Shares(np.round(share, SAME), np.round(pool, SAME))


class Side(NamedTuple):
    """Rows of one variant in the order of time `[S]`."""

    rows: Integers
    time: Floats
    chance: Floats
    began: Floats  # when its run of one probability began
    ended: Floats


def _side(rows: Integers, probability: Floats, time: Floats) -> Side:
    rows = rows[np.argsort(time[rows], kind="stable")]
    chance, when = probability[rows], time[rows]
    starts = np.flatnonzero(np.append(True, chance[1:] != chance[:-1])) if len(rows) else np.zeros(0, np.int64)
    length = np.diff(np.append(starts, len(rows)))
    ends = starts + length - 1
    return Side(rows, when, chance, np.repeat(when[starts], length), np.repeat(when[ends], length))


def _inside(side: Side, other: Side) -> Floats:
    """Probability of the other variant in its nearest row within the run of each row `[S]`; 0 where there is none."""
    found, nearest = np.zeros(len(side.rows)), np.full(len(side.rows), np.inf)
    for at, real in _neighbours(side, other):
        apart = np.abs(other.time[at] - side.time)
        taken = real & (other.time[at] >= side.began) & (other.time[at] <= side.ended) & (apart < nearest)
        found, nearest = np.where(taken, other.chance[at], found), np.where(taken, apart, nearest)
    return found


def _pairs(treated: Floats, control: Floats) -> set[tuple[float, float]]:
    """The pairs of probabilities that there are; 0 is none."""
    pairs = np.unique((treated + 1j * control)[(treated > 0) & (control > 0)])
    return set(zip(pairs.real.tolist(), pairs.imag.tolist(), strict=True))


def _further(side: Side, other: Side, inside: Floats, seen: set[tuple[float, float]]) -> Floats:
    """The same, and beyond the run where such a pair was seen elsewhere: at its edges, or where rows are rare."""
    found = inside
    for at, real in _neighbours(side, other):
        for one, beside in seen:
            taken = real & (found == 0) & (side.chance == one) & (other.chance[at] == beside)
            found = np.where(taken, beside, found)
    return found


def _neighbours(side: Side, other: Side) -> list[tuple[Integers, Booleans]]:
    """Row of the other variant at or before the time of each row, and after it, and whether it is a real one: together
    their probabilities are at most 1."""
    if not len(other.rows):
        return []
    before: Integers = np.searchsorted(other.time, side.time, side="right") - 1
    found = []
    for place in (before, before + 1):
        at = np.clip(place, 0, len(other.rows) - 1)
        found.append((at, (at == place) & (side.chance + other.chance[at] <= 1 + 10.0**-SAME)))
    return found
