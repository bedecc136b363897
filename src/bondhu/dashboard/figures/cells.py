"""Counts and rewards by two fields of the context, and the decisions with given values of fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bondhu.dashboard.columns.clusters import clustered, half_widths, pairs
from bondhu.dashboard.columns.remembering import remembered
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures.series import column_of
from bondhu.types import Booleans, Floats, Integers


class Coverage(NamedTuple):
    """Decisions by two fields, of R and C values."""

    rows: list[str]  # [R] values of the first field
    columns: list[str]  # [C] of the second
    decisions: Integers  # [R, C]
    settled: Integers  # [R, C] decisions whose reward is known
    people: Integers  # [R, C] of the settled ones
    mean: Floats  # [R, C] reward; NaN where nothing is settled
    low: Floats  # [R, C] NaN where fewer than two people have been heard
    high: Floats  # [R, C]


def among(sheet: Sheet, within: Mapping[str, str]) -> Booleans:
    """Which decisions have these values of "version", "variant", "action" or fields of the context: `[T]`."""
    rows = np.ones(len(sheet), bool)
    for name, value in within.items():
        column = column_of(sheet, name)
        rows &= np.array([str(each) == value for each in column.values], bool)[column.codes]
    return rows


def narrowed(sheet: Sheet, within: Mapping[str, str]) -> Sheet:
    """The decisions with these values of fields; the same object where that is asked again."""
    return _narrowed(sheet, within) if within else sheet


@remembered
def _narrowed(sheet: Sheet, within: Mapping[str, str]) -> Sheet:
    return sheet.take(np.flatnonzero(among(sheet, within)))


@remembered
def coverage(
    sheet: Sheet, first: str, second: str, within: Mapping[str, str] | None = None, confidence: float = 0.95
) -> Coverage:
    """How often each pair of values of two fields was met, and what it earned; either of them may be "action".

    `within`: of the decisions with these values of other fields. Each interval holds by itself.
    """
    across, down = column_of(sheet, second), column_of(sheet, first)
    shape = len(down.values), len(across.values)
    cell = down.codes.astype(np.int32) * shape[1] + across.codes
    these = among(sheet, within or {})
    found = clustered(pairs(sheet, cell, shape[0] * shape[1], these if within else None), sheet.reward)
    half = half_widths(found.error, found.people - 1, confidence)
    count = np.bincount(cell[these], minlength=shape[0] * shape[1])
    rows, columns = ([str(each) for each in column.values] for column in (down, across))
    counted = [each.reshape(shape) for each in (count, found.rows, found.people)]
    mean, low, high = (each.reshape(shape) for each in (found.mean, found.mean - half, found.mean + half))
    return Coverage(rows, columns, counted[0], counted[1], counted[2], mean, low, high)
