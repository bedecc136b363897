"""What has been seen and tried, drawn: decisions by two fields of the context, and what was done in one cell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from bondhu.dashboard import layout
from bondhu.dashboard.charts.heat import Cell, Grid, heat
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures import series
from bondhu.dashboard.figures.cells import Coverage, coverage, narrowed
from bondhu.dashboard.page import DASHBOARD, Asked, Chart
from bondhu.report.layout import say
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.study import Figure
from bondhu.report.words import NOTHING, percent
from bondhu.types import Integers

DOWN, ACROSS = 24, 12  # rows and columns that are drawn at most
EVERY = ""  # action: all of them


class Wanted(NamedTuple):
    """What the address asks for."""

    down: str  # field of the rows
    across: str  # field of the columns
    action: str  # EVERY, or one action
    cell: tuple[str, str] | None  # values of both fields: what is looked into


def wanted(asked: Asked, sheet: Sheet, declared: Sequence[Mapping[str, Any]]) -> Wanted | None:
    """Two fields of the context, those with categories first; None where there are no two."""
    names = fields(sheet, declared)
    if len(names) < 2:
        return None
    kinds = {each["name"]: each["kind"] for each in declared}
    first, second = sorted(names, key=lambda name: kinds.get(name) != "category")[:2]
    if len(sheet.context[first].values) < len(sheet.context[second].values):
        first, second = second, first
    down = asked.query.get("down", "")
    down = down if down in names else first
    across = asked.query.get("across", "")
    across = across if across in names and across != down else next(each for each in (second, first) if each != down)
    action = asked.query.get("action", EVERY)
    action = action if action in map(str, sheet.action.values) else EVERY
    cell = asked.query.get("row"), asked.query.get("column")
    values = [[str(each) for each in sheet.context[name].values] for name in (down, across)]
    known = cell[0] in values[0] and cell[1] in values[1]
    return Wanted(down, across, action, (str(cell[0]), str(cell[1])) if known else None)


def fields(sheet: Sheet, declared: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields by which decisions can be told apart, in declared order."""
    return [
        each["name"] for each in declared if each["name"] in sheet.context and len(sheet.context[each["name"]].values)
    ]


def section(asked: Asked, sheet: Sheet, declared: Sequence[Mapping[str, Any]]) -> tuple[Markup, Chart | None]:
    """The heat map with its form, and what is in the cell that was chosen."""
    of = wanted(asked, sheet, declared)
    if of is None:
        return layout.status("empty", "There are no two fields of the context to lay decisions out by."), None
    chart = drawn(asked, sheet, of)
    shown = layout.chart(asked, chart)
    both = [layout.row(shown, _inside(asked, sheet, of))] if of.cell else [shown, _hint()]
    return joined([_form(asked, sheet, declared, of), layout.answer("coverage-answer", *both)]), chart


def _hint() -> Markup:
    return say("Follow a cell to see what was done there.", "note")


def _form(asked: Asked, sheet: Sheet, declared: Sequence[Mapping[str, Any]], of: Wanted) -> Markup:
    names = fields(sheet, declared)
    actions = {EVERY: "all actions", **{str(each): str(each) for each in sheet.action.values}}
    kept = [name for name in asked.query if name not in ("down", "across", "action", "row", "column", "csv")]
    return layout.asking(
        asked,
        layout.choice("down", "Rows", names, of.down),
        layout.choice("across", "Columns", names, of.across),
        layout.choice("action", "Action", actions, of.action),
        layout.button("Show", kind="unscripted"),
        keep=kept,
    )


def drawn(asked: Asked, sheet: Sheet, of: Wanted) -> Chart:
    """The heat map."""
    within = {"action": of.action} if of.action else {}
    found = coverage(sheet, of.down, of.across, within)
    rows, columns = most(found.decisions.sum(axis=1), DOWN), most(found.decisions.sum(axis=0), ACROSS)
    cells = [[_cell(asked, found, of, (row, column)) for column in columns] for row in rows]
    tried = found.decisions[np.ix_(rows, columns)]
    never = int((tried == 0).sum())
    of_action = f" of {of.action}" if of.action else ""
    none = f"{never} of {tried.size} cells were never met." if never else "Every cell was met."
    left = found.decisions.size - tried.size
    more = f" The {left} cells of rarer values are not drawn." if left else ""
    about = About("coverage", f"Decisions{of_action} by {of.down} and {of.across}", f"{none}{more}")
    names = [found.rows[row] for row in rows], [found.columns[column] for column in columns]
    return heat(about, Grid(*names, cells, of.down, of.across, "decisions"))


def most(count: Integers, limit: int) -> list[int]:
    """The places of the largest counts, at most so many, in their own order."""
    return sorted(np.argsort(-count, kind="stable")[:limit].tolist())


def _cell(asked: Asked, found: Coverage, of: Wanted, place: tuple[int, int]) -> Cell:
    row, column = found.rows[place[0]], found.columns[place[1]]
    number = int(found.decisions[place])
    earned = Figure(float(found.mean[place]), float(found.low[place]), float(found.high[place]))
    tip = f"{of.down} = {row}, {of.across} = {column}\n{layout.counted(number, 'decision')}\nreward {_earned(earned)}"
    where = f"{asked.link(row=row, column=column, down=of.down, across=of.across, csv=None)}#coverage"
    return Cell(float(number), tip, where if number else "", (row, column) == of.cell)


def _earned(of: Figure) -> str:
    if not isfinite(of.value):
        return "not settled yet"
    said, between = layout.within(of)
    return f"{said} ({between})" if between else said


def _inside(asked: Asked, sheet: Sheet, of: Wanted) -> Markup:
    """What was done in one cell, action by action."""
    if of.cell is None:
        return Markup("")
    there = dict(zip((of.down, of.across), of.cell, strict=True))
    part = narrowed(sheet, there)
    means = series.overall(part, "action")
    count = np.bincount(part.action.codes, minlength=len(part.action.values))
    about = {f"context.{name}": value for name, value in there.items()}
    rows = []
    for number in np.argsort(-count, kind="stable").tolist():
        action, taken = str(part.action.values[number]), int(count[number])
        where = asked.link(f"{DASHBOARD}/decisions", **about, action=action)
        name: str | Markup = layout.link(action, where) if taken else action
        earned = _earned(Figure(*means[action][:3])) if action in means else NOTHING
        rows.append((name, f"{taken:,}", percent(taken / max(len(part), 1)), earned))
    title = f"{of.down} = {of.cell[0]}, {of.across} = {of.cell[1]}"
    said = tag("h3", title)
    never = int((count == 0).sum())
    tried = f"{never} of {len(count)} actions were never tried here" if never else "every action was tried here"
    told = f"{layout.counted(len(part), 'decision')}; {tried}."
    columns = ("action", "decisions", "of all here", "reward of a decision")
    close = tag("p", layout.link("Close", f"{asked.link(row=None, column=None)}#coverage"))
    return tag(
        "div", said, say(told, "note"), layout.table(f"Actions where {title}", columns, rows), close, class_="block"
    )
