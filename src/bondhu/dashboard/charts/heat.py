"""Cells by two fields: the deeper the colour, the more there is; what a cell holds is written where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from bondhu.dashboard.charts.plot import WIDE, About, named, picture, share_of
from bondhu.dashboard.page import Chart, Table
from bondhu.report.markup import Markup, tag
from bondhu.report.pictures import Words
from bondhu.report.words import NOTHING, rounded

CELL = 34.0  # pixels, from top to bottom
PALEST, DEEPEST = 0.08, 0.62  # of the colour: text stays readable on all of it, by day and by night
NAMES = (22, 12)  # letters of a row's name: where there is room, and on a narrow screen
ACROSS = (96, 38)  # letters of all columns' names together
CROWDED = 11  # columns above which cells hold no figures on a narrow screen


class Cell(NamedTuple):
    """What stands at one place."""

    value: float  # NaN: nothing
    tip: str = ""
    href: str = ""
    chosen: bool = False  # whether it is the one that is looked into


class Grid(NamedTuple):
    """Rows and columns of cells, and what they are of."""

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Cell]]  # a row each
    down: str  # what the rows are
    across: str  # what the columns are
    unit: str  # what a cell's number counts


def heat(about: About, grid: Grid) -> Chart:
    """The chart; cells that lead somewhere are links."""
    known = [cell.value for line in grid.cells for cell in line if isfinite(cell.value)]
    highest = max(known, default=0.0)
    tried = sum(value > 0 for value in known)
    places = len(grid.rows) * len(grid.columns)
    says = f"{tried} of {places} cells hold anything; the most {grid.unit} in one: {rounded(highest)}."
    width = WIDE / max(len(grid.columns), 1)
    parts = [tag("text", grid.down, class_="unit", x=-8, y=12, text_anchor="end")]
    for number, name in enumerate(grid.rows):
        middle = 20 + CELL * (number + 0.5)
        parts += named(name, NAMES, "label", x=-8, y=f"{middle + 4:.0f}", text_anchor="end")
    placed = [(cell, (number, at)) for at, line in enumerate(grid.cells) for number, cell in enumerate(line)]
    placed.sort(key=lambda each: each[0].chosen)  # its edge lies on top of its neighbours
    parts += [_cell(cell, place, width, highest) for cell, place in placed]
    bottom = 20 + CELL * len(grid.rows)
    wide, narrow = (max(3, most // max(len(grid.columns), 1)) for most in ACROSS)
    for number, name in enumerate(grid.columns):
        left = share_of(width * (number + 0.5))
        parts += named(name, (wide, narrow), "tick", x=left, y=f"{bottom + 16:.0f}", text_anchor="middle")
    parts.append(tag("text", grid.across, class_="unit", x="50%", y=f"{bottom + 33:.0f}", text_anchor="middle"))
    links = any(cell.href for line in grid.cells for cell in line)
    kind = "named crowded" if len(grid.columns) > CROWDED else "named"
    drawn = picture(Words(about.title, says, grid.unit), bottom + 38, parts, kind=kind, links=links)
    return Chart(about.name, about.title, drawn, _table(grid), about.caption, _scale(highest, grid.unit))


def _cell(of: Cell, place: tuple[int, int], width: float, highest: float) -> Markup:
    number, at = place
    box = {
        "x": share_of(width * number),
        "y": f"{20 + CELL * at:.0f}",
        "width": share_of(width),
        "height": f"{CELL:.0f}",
    }
    tip = {"data_tip": of.tip} if of.tip else {}
    none = not isfinite(of.value) or of.value <= 0
    opaque = {} if none else {"fill_opacity": f"{depth(of.value, highest):.2f}"}
    kind = f"cell{' none' if none else ''}{' chosen' if of.chosen else ''}"
    drawn = [tag("rect", class_=kind, **opaque, **box, **tip)]
    middle = {"x": share_of(width * (number + 0.5)), "y": f"{20 + CELL * (at + 0.5) + 4:.0f}"}
    said = rounded(of.value) if isfinite(of.value) else NOTHING
    drawn.append(tag("text", said, class_="inside", text_anchor="middle", **middle))
    if not of.href:
        return tag("g", *drawn)
    return tag("a", *drawn, href=of.href, aria_label=of.tip.replace("\n", ", ") or said)


def depth(value: float, highest: float) -> float:
    """How opaque a cell is: by the root of its share of the highest, as counts are skewed."""
    share = max(value, 0.0) / highest if highest > 0 else 0.0
    return PALEST + (DEEPEST - PALEST) * float(share**0.5)


def _scale(highest: float, unit: str) -> Markup:
    """From nothing to the most."""
    steps = [
        tag(
            "rect",
            class_="cell",
            x=14 * number,
            y=2,
            width=14,
            height=12,
            fill_opacity=f"{PALEST + (DEEPEST - PALEST) * number / 6:.2f}",
        )
        for number in range(7)
    ]
    drawn = tag("svg", *steps, viewBox="0 0 98 16", width=98, height=16, aria_hidden="true")
    return tag("p", tag("span", "0 ", drawn, f" {rounded(highest)} {unit}", class_="scale"), class_="legend")


def _table(grid: Grid) -> Table:
    rows = [
        [name, column, cell.value if isfinite(cell.value) else None]
        for name, line in zip(grid.rows, grid.cells, strict=True)
        for column, cell in zip(grid.columns, line, strict=True)
    ]
    return Table([grid.down, grid.across, grid.unit], rows)
