"""Lines over time, or over anything: with bands, gaps where nothing is known, and marks of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from bondhu.dashboard.charts.plot import (
    KINDS,
    LOW,
    SAMPLES,
    WIDE,
    About,
    Plot,
    below,
    beside,
    legend,
    picture,
    placed,
    share_of,
    stretched,
)
from bondhu.dashboard.page import Chart, Table
from bondhu.report.axis import Axis, holding
from bondhu.report.markup import Markup, tag
from bondhu.report.pictures import Words, shortened
from bondhu.report.study import Figure
from bondhu.report.words import NOTHING, digits_of, moment
from bondhu.types import Booleans, Floats

HEIGHT = 210.0  # pixels of the plot
SPARSE = 10  # markers on a line, at most: they tell lines apart, and a line of markers is none
ROOM = 15.0  # pixels between two labels
NAME = 22  # letters of a label


class Series(NamedTuple):
    """One line."""

    name: str
    at: Floats  # [N] ascending; seconds, or any number
    value: Floats  # [N] NaN: a gap
    low: Floats | None = None  # [N] of its band
    high: Floats | None = None
    kind: str = ""  # one of `plot.KINDS`; "": by its place. "other" is for what is compared with, such as the rule
    tells: Sequence[str] = ()  # [N] what a point says beside its figures, such as how many decisions it is of


class Mark(NamedTuple):
    """Something that happened."""

    at: float
    says: str


class Drawn(NamedTuple):
    """How lines are drawn."""

    unit: str = ""
    times: bool = True  # whether they run over time, in seconds
    across: str = ""  # unit of what they run over otherwise
    shares: bool = False  # whether values are parts of a whole
    zero: bool = False  # whether the axis begins at 0
    steps: bool = False  # whether a value holds until the next
    height: float = HEIGHT
    reference: float | None = None
    window: tuple[float, float] | None = None  # what the axis across holds at least


PLAIN = Drawn()


def lines(about: About, found: Sequence[Series], marks: Sequence[Mark] = (), drawn: Drawn = PLAIN) -> Chart:
    """The chart of these lines and of what happened meanwhile."""
    series = [each._replace(kind=each.kind or _free(found, number)) for number, each in enumerate(found)]
    known = [each for each in series if np.isfinite(each.value).any()]
    shown = _picture(Words(about.title, _told(known, drawn), drawn.unit), known, marks, drawn)
    signs = legend([(each.kind, each.name) for each in series]) if len(series) > 1 else Markup("")
    return Chart(about.name, about.title, shown, _table(series, drawn), about.caption, signs)


def _free(found: Sequence[Series], number: int) -> str:
    """The kind of a line that names none: the first that no other names, in their order."""
    taken = {each.kind for each in found}
    free = [kind for kind in KINDS if kind not in taken and kind != "other"] or list(KINDS)
    nameless = sum(not each.kind for each in found[:number])
    return free[nameless % len(free)]


def _told(found: Sequence[Series], drawn: Drawn) -> str:
    """The last of every line, for those who cannot see them."""
    last = [f"{each.name}: {_figure(each, _last(each), shares=drawn.shares)}" for each in found]
    return f"At the end: {'; '.join(last)}. The table has all of it." if last else "There is nothing to draw yet."


# ------------------------------------------------------------------------------------------------------------ drawing


def _picture(words: Words, found: Sequence[Series], marks: Sequence[Mark], drawn: Drawn) -> Markup:
    top = 22.0
    plot = Plot(_across(found, drawn), _up(found, drawn, top))
    low, high = plot.across.low, plot.across.high
    marks = [each for each in marks if low <= each.at <= high]
    parts = [*beside(plot.up, words.unit, shares=drawn.shares), *below(plot, times=drawn.times, unit=drawn.across)]
    parts += _flags(marks, plot)
    if drawn.reference is not None:
        at = f"{plot.up.at(drawn.reference):.1f}"
        parts.append(tag("line", class_="reference", x1=0, x2="100%", y1=at, y2=at))
    drawings = [*(_band(each, plot) for each in found), *(_line(each, plot, drawn) for each in found)]
    parts.append(stretched(plot, drawings))
    parts += [point for each in found for point in _points(each, plot)]
    reaching = [each for each in found if plot.across.at(float(each.at[_last(each)])) > WIDE * 0.95]
    ends = _ends(reaching, plot) if len(found) > 1 else []
    parts += [*ends, *_tips(found, marks, plot, drawn)]
    kind = "" if not ends else "labelled whole" if len(reaching) == len(found) else "labelled"
    return picture(words, drawn.height + top + LOW, parts, kind=kind)


def _across(found: Sequence[Series], drawn: Drawn) -> Axis:
    ends = [float(each.at[row]) for each in found for row in (0, -1)] + list(drawn.window or ())
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if high <= low:
        room = 1800.0 if drawn.times else 0.5
        low, high = low - room, high + room
    return Axis(low, high, 0.0, WIDE)


def _up(found: Sequence[Series], drawn: Drawn, top: float) -> Axis:
    bottom = top + drawn.height
    figures = [_at(each, row) for each in found for row in np.flatnonzero(np.isfinite(each.value)).tolist()]
    axis = holding(figures, drawn.reference, bottom, top)
    if drawn.zero and figures:
        highest = max(max(each.value, each.high if isfinite(each.high) else each.value) for each in figures)
        axis = axis._replace(low=min(0.0, axis.low if min(each.value for each in figures) < 0 else 0.0))
        axis = axis._replace(high=max(min(axis.high, highest * 1.12), 1e-9) if highest > 0 else 1.0)
    return axis


def _at(of: Series, row: int) -> Figure:
    value = float(of.value[row])
    low = float(of.low[row]) if of.low is not None else value
    high = float(of.high[row]) if of.high is not None else value
    return Figure(value, low if isfinite(low) else value, high if isfinite(high) else value)


def stretches(there: Booleans) -> list[tuple[int, int]]:
    """Rows [start, end) of each unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8))).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _line(of: Series, plot: Plot, drawn: Drawn) -> Markup:
    pieces = []
    for start, end in stretches(np.isfinite(of.value)):
        points = [(plot.across.at(float(of.at[row])), plot.up.at(float(of.value[row]))) for row in range(start, end)]
        if drawn.steps:
            points = [points[0], *(at for one, two in pairwise(points) for at in ((two[0], one[1]), two))]
        pieces.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
    return tag("path", class_=f"series {of.kind}", d="".join(pieces))


def _band(of: Series, plot: Plot) -> Markup:
    if of.low is None or of.high is None:
        return Markup("")
    there = np.isfinite(of.value) & np.isfinite(of.low) & np.isfinite(of.high)
    pieces = []
    for start, end in stretches(there):
        rows = range(start, end)
        upper = [(plot.across.at(float(of.at[row])), plot.up.at(float(of.high[row]))) for row in rows]
        lower = [(plot.across.at(float(of.at[row])), plot.up.at(float(of.low[row]))) for row in reversed(rows)]
        pieces.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in upper + lower) + "Z")
    return tag("path", class_=f"band {of.kind}", d="".join(pieces))


def _points(of: Series, plot: Plot) -> list[Markup]:
    """Markers: on some points of the line, on its last one, and, with its interval, wherever a point stands alone."""
    there = np.flatnonzero(np.isfinite(of.value))
    every = max(1, -(-len(there) // SPARSE))
    alone = {start for start, end in stretches(np.isfinite(of.value)) if end - start == 1}
    shown = set(there[::-1][::every].tolist()) | alone
    return [_point(of, plot, row, reaching=row in alone) for row in sorted(shown)]


def _point(of: Series, plot: Plot, row: int, *, reaching: bool) -> Markup:
    figure = _at(of, row)
    height = plot.up.at(figure.value)
    parts = [tag("path", class_="shape", d=SAMPLES[of.kind])]
    if reaching and figure.high > figure.low:
        ends = [f"{plot.up.at(each) - height:.1f}" for each in (figure.low, figure.high)]
        parts.insert(0, tag("line", class_="reach", x1=0, x2=0, y1=ends[0], y2=ends[1]))
    return placed(plot.left(float(of.at[row])), height, *parts, kind=f"series {of.kind}")


def _ends(found: Sequence[Series], plot: Plot) -> list[Markup]:
    """The names of the lines at their ends, apart from each other."""
    ordered = sorted(found, key=lambda each: plot.up.at(float(each.value[_last(each)])))
    heights = [plot.up.at(float(each.value[_last(each)])) + 4 for each in ordered]
    return [
        tag(
            "text",
            shortened(each.name, NAME),
            class_=f"end series {each.kind}",
            x="100%",
            dx=10,
            y=f"{height:.1f}",
        )
        for height, each in zip(apart(heights, plot.up.end, plot.up.start), ordered, strict=True)
    ]


def _last(of: Series) -> int:
    """The last row of which anything is known."""
    return int(np.flatnonzero(np.isfinite(of.value))[-1])


def apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Ascending heights, moved as little as it takes to have ROOM between each two of them."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + ROOM) if moved else max(height, top + 4))
    over = moved[-1] - bottom if moved else 0.0
    if over > 0:
        limit = bottom
        for number in range(len(moved) - 1, -1, -1):
            moved[number] = min(moved[number], limit)
            limit = moved[number] - ROOM
    return moved


def _flags(marks: Sequence[Mark], plot: Plot) -> list[Markup]:
    """What happened: a dotted line with its words at the top, where they do not run into each other."""
    parts, free = [], -1.0
    for each in sorted(marks):
        units = plot.across.at(each.at)
        left = share_of(units)
        parts.append(tag("line", class_="flag", x1=left, x2=left, y1=plot.up.end - 6, y2=plot.up.start))
        width = len(each.says) * 7.5  # units, on a plot of 800 pixels
        if units >= free:
            end = units + width > WIDE
            side = {"text_anchor": "end", "dx": -4} if end else {"dx": 4}
            parts.append(tag("text", each.says, class_="flag", x=left, y=f"{plot.up.end:.0f}", **side))
            free = units + (6 if end else width)
    return parts


# ------------------------------------------------------------------------------------------------ what points tell


def _tips(found: Sequence[Series], marks: Sequence[Mark], plot: Plot, drawn: Drawn) -> list[Markup]:
    """Columns over the whole plot, one for each place across: what stands there, for a pointer or the arrow keys."""
    told: dict[float, list[str]] = {}
    for each in found:
        for row in np.flatnonzero(np.isfinite(each.value)).tolist():
            more = f" · {each.tells[row]}" if len(each.tells) else ""
            name = f"{each.name}: " if len(found) > 1 else ""
            told.setdefault(float(each.at[row]), []).append(f"{name}{_figure(each, row, shares=drawn.shares)}{more}")
    for mark in marks:
        if told:
            nearest = min(told, key=partial(_away, mark.at))
            told[nearest].append(f"{moment(mark.at) if drawn.times else mark.at}: {mark.says}")
    places = sorted(told)
    edges = [plot.across.at(at) for at in places]
    middles = [0.0, *((one + two) / 2 for one, two in pairwise(edges)), WIDE]
    height = f"{plot.up.start - plot.up.end:.0f}"
    parts = []
    for number, at in enumerate(places):
        head = moment(at) if drawn.times else f"{drawn.across} {at:g}".strip()
        tip = "\n".join([head, *told[at]])
        left, right = middles[number], middles[number + 1]
        box = {"x": share_of(left), "width": share_of(right - left), "y": f"{plot.up.end:.0f}", "height": height}
        parts.append(tag("rect", class_="hit", data_tip=tip, **box))
    return parts


def _away(one: float, other: float) -> float:
    return abs(one - other)


def _figure(of: Series, row: int, *, shares: bool = False) -> str:
    """One value with its interval."""
    figure = _at(of, row)
    scale, sign = (100.0, " %") if shares else (1.0, "")
    figure = Figure(*(scale * each for each in figure))
    if figure.high <= figure.low:
        return f"{figure.value:.4g}{sign}" if isfinite(figure.value) else NOTHING
    write = digits_of([figure])
    return f"{write.plain(figure.value)}{sign} ({write.between(figure)})"


def _table(found: Sequence[Series], drawn: Drawn) -> Table:
    """A row for each place and line of which something is known."""
    banded = any(each.low is not None for each in found)
    told = any(len(each.tells) for each in found)
    place = "time" if drawn.times else drawn.across or "at"
    columns = [place, "line", drawn.unit or "value", *(["low", "high"] if banded else []), *(["of"] if told else [])]
    rows = []
    for each in found:
        for row in np.flatnonzero(np.isfinite(each.value)).tolist():
            rows.append([_place(float(each.at[row]), drawn), each.name, _plain(each.value, row)])
            rows[-1] += [_plain(each.low, row), _plain(each.high, row)] if banded else []
            rows[-1] += [each.tells[row] if len(each.tells) else None] if told else []
    rows.sort(key=lambda cells: cells[0])
    return Table(columns, rows)


def _place(at: float, drawn: Drawn) -> Any:
    return moment(at) if drawn.times else at


def _plain(column: Floats | None, row: int) -> float | None:
    value = float("nan") if column is None else float(column[row])
    return value if isfinite(value) else None
