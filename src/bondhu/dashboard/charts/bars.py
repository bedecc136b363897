"""Bars from the left, with what each stands for beside it and its interval where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from bondhu.dashboard.charts.plot import WIDE, About, below, named, picture, share_of
from bondhu.dashboard.charts.plot import Plot as Frame
from bondhu.dashboard.page import Chart, Table
from bondhu.report.axis import Axis
from bondhu.report.markup import Markup, tag
from bondhu.report.pictures import Words
from bondhu.report.words import NOTHING, rounded

THICK, GAP, BETWEEN = 14.0, 2.0, 8.0  # pixels: of a bar, to the next of its row, to the next row
NAMES = (25, 17)  # letters of a line of a row's name: where there is room, and on a narrow screen


class Row(NamedTuple):
    """One name with a bar for each of the groups."""

    name: str
    values: Sequence[float]  # NaN: nothing is known
    low: Sequence[float] = ()  # of each, where there are intervals
    high: Sequence[float] = ()
    tip: str = ""


class Groups(NamedTuple):
    """What the bars of a row are of, and how they are measured."""

    names: Sequence[str]
    unit: str = ""
    kinds: Sequence[str] = ("one", "other", "three", "four", "five")
    shares: bool = False  # whether values are parts of a whole


def bars(about: About, rows: Sequence[Row], groups: Groups) -> Chart:
    """The chart: a row below the other, all from one axis."""
    tops = [value for row in rows for value in (*row.values, *row.high) if isfinite(value)]
    lows = [value for row in rows for value in (*row.values, *row.low) if isfinite(value)]
    least, most = min([0.0, *lows]), max([0.0, *tops])
    axis = Axis(least, most * 1.02 if most > least else 1.0, 0.0, WIDE)
    each = len(groups.names) * (THICK + GAP) + BETWEEN
    bottom = 6 + each * len(rows)
    frame = Frame(axis, Axis(0.0, 1.0, bottom, 0.0))
    parts = _below(frame, groups)
    for number, row in enumerate(rows):
        parts += _row(row, 6 + each * number, axis, groups)
    says = f"{len(rows)} rows. The table has all of it."
    drawn = picture(Words(about.title, says, groups.unit), bottom + 34, parts, kind="named")
    pairs = list(zip(groups.kinds, groups.names, strict=False))
    signs = _legend(pairs) if len(pairs) > 1 else Markup("")
    return Chart(about.name, about.title, drawn, _table(rows, groups), about.caption, signs)


def _below(frame: Frame, groups: Groups) -> list[Markup]:
    across = frame.across
    if groups.shares:
        frame = frame._replace(across=across._replace(low=100 * across.low, high=100 * across.high))
    unit = f"{groups.unit} (%)" if groups.shares else groups.unit
    grid = [
        tag("line", class_="grid", x1=frame.left(value), x2=frame.left(value), y1=0, y2=frame.up.start)
        for value, _ in frame.across.ticks(8)
    ]
    return [*grid, *below(frame, times=False, unit=unit)]


def _row(of: Row, top: float, axis: Axis, groups: Groups) -> list[Markup]:
    middle = top + len(of.values) * (THICK + GAP) / 2
    parts = named(of.name, NAMES, "label", folded=True, x=-8, y=f"{middle + 4:.1f}", text_anchor="end")
    nothing = axis.at(0.0)
    for number, value in enumerate(of.values):
        height = top + number * (THICK + GAP)
        if not isfinite(value):
            said: dict[str, str | float] = {"x": share_of(nothing), "dx": 5, "y": f"{height + THICK - 3:.1f}"}
            parts.append(tag("text", NOTHING, class_="tick", **said))
            continue
        left, right = sorted((nothing, axis.at(value)))
        tip = of.tip or f"{of.name}\n{groups.names[number]}: {_said(value, groups)}"
        box = {"x": share_of(left), "width": share_of(right - left), "y": f"{height:.1f}", "height": f"{THICK:.0f}"}
        parts.append(tag("rect", class_=f"bar {groups.kinds[number]}", data_tip=tip, **box))
        parts += _whisker(of, number, axis, height)
    return parts


def _said(value: float, groups: Groups) -> str:
    return f"{100 * value:.3g} %" if groups.shares else rounded(value)


def _whisker(of: Row, number: int, axis: Axis, height: float) -> list[Markup]:
    if not (len(of.low) and isfinite(of.low[number]) and isfinite(of.high[number])):
        return []
    at = f"{height + THICK / 2:.1f}"
    ends = {"x1": share_of(axis.at(of.low[number])), "x2": share_of(axis.at(of.high[number]))}
    return [tag("line", class_="whisker", y1=at, y2=at, **ends)]


def _legend(pairs: Sequence[tuple[str, str]]) -> Markup:
    parts = []
    for kind, words in pairs:
        box = tag("rect", class_=f"bar {kind}", x=1, y=3, width=18, height=10)
        drawn = tag("svg", box, viewBox="0 0 20 16", width=20, height=16, aria_hidden="true")
        parts.append(tag("span", drawn, f" {words}"))
    return tag("p", *parts, class_="legend")


def _table(rows: Sequence[Row], groups: Groups) -> Table:
    banded = any(len(row.low) for row in rows)
    columns = ["name", "of", groups.unit or "value", *(["low", "high"] if banded else [])]
    cells = []
    for row in rows:
        for number, value in enumerate(row.values):
            bounds = [row.low[number], row.high[number]] if len(row.low) else [None, None]
            cells.append([row.name, groups.names[number], value, *(bounds if banded else [])])
    return Table(columns, cells)
