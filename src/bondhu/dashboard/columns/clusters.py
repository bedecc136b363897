"""Means of groups of decisions with errors that take what one person earns to depend on what that person earned.

Shapes: T rows of a sheet, G groups, C pairs of a group and a person, K stretches of time. Errors are those of
`equations.intervals.standard_error`, of all groups at once.
"""

from __future__ import annotations

from math import nan
from typing import NamedTuple

import numpy as np

from bondhu.dashboard.columns.remembering import remembered
from bondhu.dashboard.columns.sheets import Sheet, persons
from bondhu.equations.intervals import t_quantile
from bondhu.types import Array, Booleans, Floats, Integers


class Pairs(NamedTuple):
    """The settled decisions of some groups, laid out so that those of one person in one group stand together."""

    rows: Integers  # [N] of the sheet, by group, then by person
    starts: Integers  # [C] where each pair begins among these
    group: Integers  # [C] ascending
    person: Integers  # [C] ascending within a group
    size: int  # G

    def sums(self, values: Floats) -> Floats:
        """Of values `[T]`, by pair: `[C]`."""
        return self.add(values[self.rows])

    def add(self, values: Floats) -> Floats:
        """Of values in the order of `rows` `[N]`, by pair: `[C]`."""
        if not len(values):
            return np.zeros(0)
        return np.asarray(np.add.reduceat(values.astype(np.float64, copy=False), self.starts))

    @property
    def counts(self) -> Integers:
        """Decisions of each pair: `[C]`."""
        return np.diff(self.starts, append=len(self.rows))


class Clustered(NamedTuple):
    """Means of G groups."""

    mean: Floats  # [G] NaN of no rows
    error: Floats  # [G] standard error; NaN of fewer than two persons
    rows: Integers  # [G]
    people: Integers  # [G]
    weight: Floats  # [G] sum of the weights
    squares: Floats  # [G] sum of the squared weights


class Mean(NamedTuple):
    """A mean reward with its interval; NaN where too few people have been heard for one."""

    mean: float
    low: float
    high: float
    people: int
    decisions: int


def pairs(sheet: Sheet, code: Integers, size: int, keep: Booleans | None = None) -> Pairs:
    """The settled decisions by group, whose numbers are in `code [T]`; of those that `keep [T]` marks."""
    rows = _by_person(sheet)
    if keep is not None:
        rows = rows[keep[rows]]
    group = code[rows].astype(np.int16 if size <= np.iinfo(np.int16).max else np.int32, copy=False)
    place = np.argsort(group, kind="stable")  # of 16 bits: by radix, in one pass
    rows, group = rows[place], group[place]
    person = persons(sheet)[0][rows]
    new = np.ones(len(rows), bool)
    new[1:] = (group[1:] != group[:-1]) | (person[1:] != person[:-1])
    starts = np.flatnonzero(new)
    return Pairs(rows, starts, group[starts].astype(np.int64), person[starts], size)


@remembered
def _by_person(sheet: Sheet) -> Integers:
    """The rows whose reward is known, those of one person together."""
    known = np.flatnonzero(np.isfinite(sheet.reward)).astype(np.int32)
    person = persons(sheet)[0]
    return known[np.argsort(person[known])]


def stretch_of(sheet: Sheet, edges: Floats) -> tuple[Integers, Booleans]:
    """The number of the stretch of time that each decision is in `[T]`, and whether it is in any."""
    places = np.searchsorted(sheet.time, edges)
    number, inside = np.zeros(len(sheet), np.int32), np.zeros(len(sheet), bool)
    inside[places[0] : places[-1]] = True
    number[places[0] : places[-1]] = np.repeat(np.arange(len(edges) - 1), np.diff(places))
    return number, inside


def clustered(found: Pairs, value: Floats, weight: Floats | None = None) -> Clustered:
    """`sum w x / sum w` of each group, values and weights `[T]`; with weights, which are above 0, the self-normalised
    mean."""
    here: Array = value[found.rows].astype(np.float64)
    # about the mean of all, so that what many rows have in common does not drown what they differ in
    middle = float(here.mean()) if len(here) else 0.0
    here -= middle
    count: Array = found.counts
    heavy: Array = count.astype(np.float64)
    squared = count
    if weight is not None:
        factor = weight[found.rows]
        here *= factor
        heavy, squared = found.add(factor), found.add(factor * factor)
    top = found.add(here)
    people = np.bincount(found.group, minlength=found.size)
    mean, rows, total, squares = (
        np.bincount(found.group, each, found.size).astype(np.float64) for each in (top, count, heavy, squared)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        mean /= total
        off = top - np.repeat(mean[people > 0], people[people > 0]) * heavy
        error = np.sqrt(np.bincount(found.group, off * off, found.size) * people / (people - 1)) / total
    error[people < 2] = nan
    return Clustered(mean + middle, error, rows.astype(np.int64), people, total, squares)


def half_widths(error: Floats, degrees: Array, confidence: float) -> Floats:
    """Student's interval reaches so far to each side; NaN where there is no degree of freedom."""
    known = np.isfinite(error) & (degrees >= 1)
    reach = [
        t_quantile((1 + confidence) / 2, int(number)) if fine else nan
        for number, fine in zip(np.where(known, degrees, 0).tolist(), known.tolist(), strict=True)
    ]
    return np.array(reach, np.float64) * error


def means_of(found: Clustered, confidence: float) -> list[Mean]:
    """One for each group."""
    half = half_widths(found.error, found.people - 1, confidence)
    columns = found.mean, found.mean - half, found.mean + half, found.people, found.rows
    return [Mean(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]
