"""How much more one group of people earns than another: from the first day on, and by segment; at every look.

Shapes: T rows, G segments that are compared each with itself, K looks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from math import inf, nan, sqrt
from typing import NamedTuple

import numpy as np

from bondhu.dashboard.columns.clusters import Pairs, pairs, stretch_of
from bondhu.dashboard.columns.remembering import remembered
from bondhu.dashboard.columns.sheets import Sheet, persons
from bondhu.equations.effects import effective_rows
from bondhu.equations.sequences import radius
from bondhu.equations.tails import t_of_normal
from bondhu.experiments.effects import Looks
from bondhu.registry.share import HOLDOUT, LIVE, TRIAL
from bondhu.types import Booleans, Floats, Integers

SIDES = (LIVE, TRIAL), (HOLDOUT,)  # variants that meet what was learned, and those that meet the rule


class Segment(NamedTuple):
    """The difference in one value of a field."""

    value: str
    difference: float  # NaN where one side has no settled decision
    low: float  # -inf where too few people have been heard; these hold at every look
    high: float
    people: tuple[int, int]  # treated, control
    decisions: tuple[int, int]

    @property
    def told(self) -> bool:
        """Whether enough people have been heard on both sides to say anything."""
        return self.high < inf


class Course(NamedTuple):
    """How the difference stood at K looks, each time by all that was settled until then."""

    time: Floats  # [K] seconds; of each look
    value: Floats  # [K] NaN where one side has nothing
    low: Floats  # [K] these hold at all looks together; -inf where too few people have been heard
    high: Floats  # [K]
    treated: Floats  # [K] mean reward
    control: Floats  # [K]
    people: Integers  # [K, 2] treated, control
    since: float | None  # seconds; the look from which on the interval is above 0; None: it is not at the last
    refused: str = ""  # why there is nothing to compare; there are no looks then


# ----------------------------------------------------------------------------------------------------- from day to day


@remembered
def against_rule(
    sheet: Sheet,
    edges: Floats,
    treated: Collection[str] = SIDES[0],
    control: Collection[str] = SIDES[1],
    looks: Looks | None = None,
) -> Course:
    """What all that was released has brought, beside those who always met the rule: a look at each edge but the first,
    with intervals that hold at all of them (`equations.sequences.radius`), whoever looks how often.

    A person is of one side: who is in the holdout is drawn once for all. Where the holdout's share was changed, some
    are on both, which makes the interval too wide. The standard error is the larger of that of the persons on either
    side and that of the assignment if there were no effect, as in `experiments.effects`, which is the exact tool: it
    also knows with which probability each person was assigned.
    """
    looks = looks or Looks()
    sides = [sheet.variant.among(*names) for names in (treated, control)]
    missing = [names for names, side in zip((treated, control), sides, strict=True) if not side.any()]
    if missing:
        return _nothing(f"There is no decision of the variant {' or '.join(map(repr, missing[0]))}.")
    keep = _together(sheet, sides)
    known = keep & np.isfinite(sheet.reward)
    if not all((side & known).any() for side in sides):
        return _nothing("No decision is settled yet since there have been both.")
    stretch, inside = stretch_of(sheet, edges)
    cells = pairs(sheet, 2 * stretch + sides[1], 2 * (len(edges) - 1), keep & inside)
    middle = float(sheet.reward[known].mean(dtype=np.float64))
    both = _Running(len(persons(sheet)[1])), _Running(len(persons(sheet)[1]))
    grown = _grown(both, cells, sheet.reward - np.float32(middle))
    found = [
        (*_look(first, second, looks), first.mean, second.mean, first.people, second.people) for first, second in grown
    ]
    value, low, high, *means = np.array([each[:5] for each in found]).T
    time = np.minimum(edges[1:], sheet.time[np.flatnonzero(known)[-1]])
    people = np.array([each[5:] for each in found], np.int64)
    middle = float(np.float32(middle))
    return Course(time, value, low, high, means[0] + middle, means[1] + middle, people, _since(time, low))


def _grown(both: tuple[_Running, _Running], cells: Pairs, value: Floats) -> Iterator[tuple[_Side, _Side]]:
    """Both sides as they grow, stretch by stretch; cells are the sides of each stretch in turn."""
    top, count = cells.sums(value), cells.counts.astype(np.float64)
    squares = cells.sums(value.astype(np.float64) ** 2)
    ends = np.searchsorted(cells.group, np.arange(cells.size + 1)).tolist()
    for number, (start, end) in enumerate(pairwise(ends)):
        of = slice(start, end)
        both[number % 2].add(cells.person[of], top[of], count[of], float(squares[of].sum()))
        if number % 2:
            yield both[0].side, both[1].side


class _Side(NamedTuple):
    """What the rewards of one side add up to, by person."""

    people: int
    sums: Floats  # [6] of x, n, x x, x n and n n over persons, and of x x over rows

    @property
    def mean(self) -> float:
        return float(self.sums[0] / self.sums[1]) if self.people else nan

    @property
    def squares(self) -> float:
        """`sum_u (sum_{t in u} (x_t - mean))^2`."""
        x_x, x_n, n_n = self.sums[2:5].tolist()
        return float(max(x_x - 2 * self.mean * x_n + self.mean**2 * n_n, 0.0))

    @property
    def worth(self) -> float:
        """Equally active persons that would tell as much."""
        return float(self.sums[1] ** 2 / self.sums[4]) if self.people else 0.0


class _Running:
    """The side so far: squares are kept up to date, not computed anew."""

    def __init__(self, people: int) -> None:
        self._top, self._rows = np.zeros(people), np.zeros(people)  # by person
        self._sums = np.zeros(6)
        self._people = 0

    def add(self, who: Integers, x: Floats, n: Floats, squares: float) -> None:
        """What different persons earned `[C]` in how many decisions, and the sum of the squared rewards."""
        old_x, old_n = self._top[who], self._rows[who]
        new_x, new_n = old_x + x, old_n + n
        self._people += int((old_n == 0).sum())
        self._sums += [
            *(x.sum(), n.sum(), new_x @ new_x - old_x @ old_x, new_x @ new_n - old_x @ old_n),
            *(new_n @ new_n - old_n @ old_n, squares),
        ]
        self._top[who], self._rows[who] = new_x, new_n

    @property
    def side(self) -> _Side:
        return _Side(self._people, self._sums)


def _look(treated: _Side, control: _Side, looks: Looks) -> tuple[float, float, float]:
    """Difference and its bounds at one look."""
    value, both = treated.mean - control.mean, (treated, control)
    if min(each.worth for each in both) < max(looks.minimum_users, 2):
        return value, -inf, inf
    parts = [each.people / (each.people - 1) * each.squares / each.sums[1] ** 2 for each in both]
    rows, people = sum(each.sums[1] for each in both), treated.people + control.people
    share = treated.people / people
    own = sqrt(sum(parts))
    design = sqrt(sum(each.squares for each in both) / (share * (1 - share))) / rows
    spread = sum(each.sums[5] for each in both) / rows - (sum(each.sums[0] for each in both) / rows) ** 2
    degrees = sum(each.worth for each in both) - 2
    error = max(own, design)
    if own > 0:
        freedom = sum(part**2 / (each.worth - 1) for part, each in zip(parts, both, strict=True))
        degrees = min(sum(parts) ** 2 / freedom, degrees)
    elif spread > 0:  # nothing varies on either side: people then vary as both sides together do
        error = sqrt(spread * sum(1 / each.people for each in both))
    if not error > 0:
        return value, -inf, inf  # nothing varies yet
    effective = float(effective_rows(np.array(spread), np.array(error)))
    half = float(t_of_normal(radius(effective, looks.confidence, looks.tuned), float(max(int(degrees), 1)))) * error
    return value, value - half, value + half


def _together(sheet: Sheet, sides: list[Booleans]) -> Booleans:
    """The decisions of both sides since there have been both, `[T]`; each side has one."""
    keep: Booleans = sides[0] | sides[1]
    began = max(sheet.time[side.argmax()] for side in sides)
    keep[: np.searchsorted(sheet.time, began)] = False
    return keep


def _since(time: Floats, low: Floats) -> float | None:
    """The first look from which on the lower bound is above 0."""
    below = np.flatnonzero(~(low > 0))
    first = int(below[-1]) + 1 if len(below) else 0
    return float(time[first]) if first < len(time) else None


def _nothing(why: str) -> Course:
    none = np.zeros(0)
    return Course(none, none, none, none, none, none, np.zeros((0, 2), np.int64), None, why)


# ---------------------------------------------------------------------------------------------------------- by segment


@remembered
def segments(
    sheet: Sheet,
    field: str,
    treated: Collection[str] = SIDES[0],
    control: Collection[str] = SIDES[1],
    looks: Looks | None = None,
) -> list[Segment]:
    """The same in each value of a field of the context, at the last look, by the recipe of `against_rule`: nothing is
    said before there are enough people on both sides, and it holds whoever looks how often. Each interval holds by
    itself; values that nobody has are left out."""
    looks = looks or Looks()
    sides = [sheet.variant.among(*names) for names in (treated, control)]
    if not all(each.any() for each in sides):
        return []
    column = sheet.context[field]
    number = len(column.values)
    cells = pairs(sheet, 2 * column.codes.astype(np.int32) + sides[1], 2 * number, _together(sheet, sides))
    middle = float(sheet.reward[cells.rows].mean(dtype=np.float64)) if len(cells.rows) else 0.0
    found = _sides_of(cells, sheet.reward.astype(np.float64) - middle)
    return [
        _segment(str(name), found[2 * row], found[2 * row + 1], looks)
        for row, name in enumerate(column.values)
        if found[2 * row].people or found[2 * row + 1].people
    ]


def _segment(name: str, treated: _Side, control: _Side, looks: Looks) -> Segment:
    people, decisions = (treated.people, control.people), (int(treated.sums[1]), int(control.sums[1]))
    return Segment(name, *_look(treated, control, looks), people, decisions)


def _sides_of(cells: Pairs, value: Floats) -> list[_Side]:
    """What each group adds up to."""
    x, n = cells.sums(value), cells.counts.astype(np.float64)
    columns = (x, n, x * x, x * n, n * n, cells.sums(value**2))
    sums = np.stack([np.bincount(cells.group, each, cells.size) for each in columns], axis=1)
    people = np.bincount(cells.group, minlength=cells.size).tolist()
    return [_Side(*each) for each in zip(people, sums, strict=True)]
