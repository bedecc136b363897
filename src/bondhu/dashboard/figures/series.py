"""What the decisions in memory say over time: how many there are, what they earn, what is tried.

Comparisons stand in `differences`, the regret in `regrets`, counts by fields of the context in `cells`.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf, nan
from typing import NamedTuple

import numpy as np

from bondhu.dashboard.columns.clusters import Mean, clustered, half_widths, means_of, pairs, stretch_of
from bondhu.dashboard.columns.remembering import remembered
from bondhu.dashboard.columns.sheets import MINUTE, Sheet, minutes
from bondhu.equations.delays import delay_distribution
from bondhu.log.delays import AT_RISK, SAMPLE
from bondhu.types import Floats, Integers, Names

HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800.0  # seconds
STEPS = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, WEEK)
MONDAY = 4 * DAY  # seconds; 5 January 1970 began a week
ALL = "all"  # the one group where nothing tells groups apart


class Bins(NamedTuple):
    """Stretches of time of one length; at most one of them has only begun."""

    step: float  # seconds
    edges: Floats  # [K + 1] seconds


class Rates(NamedTuple):
    """How much there is in a minute, in each stretch."""

    decisions: Floats  # [K]
    feedback: Floats  # [K]


class Track(NamedTuple):
    """Mean rewards of one group in K stretches; NaN where nothing is known."""

    mean: Floats  # [K]
    low: Floats  # [K] NaN where fewer than two people have been heard
    high: Floats  # [K]
    people: Integers  # [K]
    decisions: Integers  # [K] settled ones


class Taken(NamedTuple):
    """Which actions were taken in K stretches, of A."""

    actions: list[str]  # [A]
    share: Floats  # [A, K] of the decisions; NaN where there were none
    entropy: Floats  # [K] nats, of these shares


class Outstanding(NamedTuple):
    """What is not settled yet."""

    decisions: int
    reward: float  # that they are still expected to earn by what is said in time; NaN where nobody can tell


# ----------------------------------------------------------------------------------------------------------------- time


def bins(start: float, end: float, most: int = 60) -> Bins:
    """Stretches of a round length in UTC, at most `most`, that hold every time from start to end; weeks begin on
    Monday, and where there would be too many weeks several of them make one."""
    end = max(start, end)
    for step in (*STEPS, *(WEEK * 2**power for power in range(1, 20))):
        zero = MONDAY if step >= WEEK else 0.0
        first = (start - zero) // step
        count = int((end - zero) // step - first) + 1
        if count <= most:
            break
    return Bins(step, zero + step * (first + np.arange(count + 1)))


def window(sheet: Sheet) -> tuple[float, float]:
    """Time of the earliest decision and of the latest; raises IndexError where there is none."""
    return float(sheet.time[0]), float(sheet.time[-1])


@remembered
def rates(sheet: Sheet, edges: Floats, now: float = inf) -> Rates:
    """In the stretches between these edges, which lie on minutes; of one that is not over by `now`, so far."""
    length = np.maximum(np.minimum(edges[1:], now) - edges[:-1], MINUTE) / MINUTE
    decisions = np.diff(np.searchsorted(sheet.time, edges))
    heard = minutes([sheet.feedback])
    before = np.append(0, np.cumsum(heard.number))
    feedback = np.diff(before[np.searchsorted(heard.minute * MINUTE, edges)])
    return Rates(decisions / length, feedback / length)


def column_of(sheet: Sheet, by: str | None) -> Names:
    """What tells groups apart: "version", "variant", "action", a field of the context, or nothing at all."""
    if by is None:
        return Names(np.zeros(len(sheet), np.int16), [ALL])
    if by in ("version", "variant", "action"):
        column: Names = getattr(sheet, by)
        return column
    return sheet.context[by]


# -------------------------------------------------------------------------------------------------------------- rewards


@remembered
def reward_over_time(
    sheet: Sheet, edges: Floats, by: str | None = "version", confidence: float = 0.95
) -> dict[str, Track]:
    """The mean reward of settled decisions in each stretch, by group, in order of first decision; groups of which no
    decision is settled in all of the time are left out. Rewards of one person may depend on each other."""
    column, (stretch, inside) = column_of(sheet, by), stretch_of(sheet, edges)
    size, number = len(column.values), len(edges) - 1
    groups = pairs(sheet, column.codes.astype(np.int32) * number + stretch, size * number, inside)
    found = clustered(groups, sheet.reward)
    half = half_widths(found.error, found.people - 1, confidence)
    parts = found.mean, found.mean - half, found.mean + half, found.people, found.rows
    tracks = list(zip(*(each.reshape(size, number) for each in parts), strict=True))
    known = np.isfinite(sheet.reward) & inside
    return {str(column.values[group]): Track(*tracks[group]) for group in _in_order(column.codes[known], size)}


@remembered
def overall(sheet: Sheet, by: str | None = "version", confidence: float = 0.95) -> dict[str, Mean]:
    """The same of all decisions together, whenever they were made."""
    column, size = column_of(sheet, by), len(column_of(sheet, by).values)
    found = means_of(clustered(pairs(sheet, column.codes, size), sheet.reward), confidence)
    order = _in_order(column.codes[np.isfinite(sheet.reward)], size)
    return {str(column.values[group]): found[group] for group in order}


def _in_order(code: Integers, size: int) -> list[int]:
    """The groups that there are, the one with the earliest row first."""
    first = np.full(size, len(code))
    first[code[::-1]] = np.arange(len(code))[::-1]
    return [group for group in np.argsort(first, kind="stable").tolist() if first[group] < len(code)]


# ------------------------------------------------------------------------------------------------------ what is tried


@remembered
def exploration_rate(sheet: Sheet, edges: Floats) -> Floats:
    """The share of random decisions that was in force, averaged over the decisions of each stretch: `[K]`, NaN where
    there are none."""
    found = [sheet.exploration[first:last] for first, last in pairwise(np.searchsorted(sheet.time, edges).tolist())]
    return np.array([float(each.mean(dtype=np.float64)) if len(each) else nan for each in found])


@remembered
def taken(sheet: Sheet, edges: Floats) -> Taken:
    """Which actions were taken, in the order of the domain's."""
    size = len(sheet.action.values)
    places = pairwise(np.searchsorted(sheet.time, edges).tolist())
    counts = [np.bincount(sheet.action.codes[first:last], minlength=size) for first, last in places]
    table = np.array(counts, np.float64).reshape(-1, size).T
    total = table.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = table / total
        entropy = -np.where(share > 0, share * np.log(share), 0.0).sum(axis=0)
    entropy[total == 0] = nan
    return Taken([str(each) for each in sheet.action.values], share, entropy)


# ------------------------------------------------------------------------------------------------------ what is to come


def outstanding(sheet: Sheet, wait: float, now: float) -> Outstanding:
    """Decisions that are not settled, and what they are expected to earn from now, to the minute, until they are
    `wait` seconds old.

    A decision is taken to earn all by its first feedback: `sum_t m (1 - F(now - t))`, with m what settled decisions
    have earned by feedback in the mean, and F how late it comes (`equations.delays`). With several signals of different
    delays that is rough; `log.join` says it of each signal.
    """
    young = ~sheet.settled
    number = int(young.sum())
    if not number or number == len(sheet):
        return Outstanding(number, nan if number else 0.0)
    return Outstanding(number, _expected(sheet, wait, now // MINUTE * MINUTE))


@remembered
def _expected(sheet: Sheet, wait: float, now: float) -> float:
    heard = np.flatnonzero(sheet.heard)
    if not len(heard):
        return 0.0
    heard = heard[np.linspace(0, len(heard) - 1, min(SAMPLE, len(heard))).astype(np.int64)]
    delay, age = sheet.delay[heard].astype(np.float64), now - sheet.time[heard]
    late = delay_distribution(delay, np.maximum(age, delay), AT_RISK)
    earned = np.where(sheet.heard, sheet.reward, 0.0)[sheet.settled]
    ages = np.maximum(now - sheet.time[~sheet.settled], 0.0)
    coming = late.within(np.maximum(wait, ages)) - late.within(ages)
    return float(earned.mean(dtype=np.float64)) * float(coming.sum())
