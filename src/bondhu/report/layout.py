"""The blocks of the page: sections, figures with captions, tables that a reader of any kind can follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import unescape
from typing import Any, NamedTuple

from bondhu.report.markup import Markup, joined, spoken, tag

TAGS = re.compile(r"<[^>]*>")
NUMERIC = re.compile(r"refused|[\d\s,.+%—−∞()\-]*(\sto\s[\d\s,.+—−∞()\-]*)?")  # what a cell of numbers is made of

MOMENT = re.compile(r"[\d:\- ]+ UTC|—")
LONG = 40  # letters of a sentence
NAME = 28  # letters of a word, at most, that is not broken into lines where the page says so


class Drawn(NamedTuple):
    """A picture, what is said below it, and the plain numbers that it was drawn from."""

    name: str  # letters, digits and dashes; once a page
    title: str
    picture: Markup
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    legend: Markup | None = None


Show = Callable[[Drawn], Markup]  # how a picture is put on its page


def section(name: str, title: str, *parts: Markup) -> Markup:
    """A section with its heading, which other places can point to."""
    return tag("section", tag("h2", title, id=name), *parts, aria_labelledby=name)


def block(title: str, *parts: Markup) -> Markup:
    """A part of a section."""
    return tag("div", tag("h3", title), *parts, class_="block")


def say(text: str, kind: str = "said") -> Markup:
    """A paragraph; what stands between backticks is code."""
    return tag("p", spoken(text), class_=kind)


def figure(picture: Markup, caption: str, legend: Markup | None = None) -> Markup:
    """A picture, what its shapes mean, and what it shows."""
    parts = [picture, *([] if legend is None else [legend]), tag("figcaption", caption)]
    return tag("figure", *parts)


def framed(of: Drawn) -> Markup:
    """A picture as the page of an evaluation has it."""
    return figure(of.picture, of.caption, of.legend)


def side_by_side(*parts: Markup) -> Markup:
    """Two beside each other where there is room."""
    return tag("div", *parts, class_="pair")


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, stacked: bool = False) -> Markup:
    """A table whose first column names the rows; columns of numbers are aligned to the right. `stacked`: on a narrow
    screen each row becomes a block in which every cell says its column."""
    kinds = [_kind([row[at] for row in rows]) for at in range(len(columns))]
    head = [tag("th", each, scope="col", class_=kind) for each, kind in zip(columns, kinds, strict=True)]
    body = [tag("tr", *_cells(row, kinds, columns if stacked else ())) for row in rows]
    parts = tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *body)
    made = tag("table", *parts, class_="stacked") if stacked else tag("table", *parts)
    return tag("div", made, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _kind(cells: Sequence[str]) -> str:
    """How a column is set: numbers, moments, names, words, or sentences, which need some room."""
    cells = [unescape(TAGS.sub("", cell)) if isinstance(cell, Markup) else cell for cell in cells]
    if cells and all(NUMERIC.fullmatch(cell) for cell in cells):
        return "number"
    if cells and all(MOMENT.fullmatch(cell) for cell in cells):
        return "moment"
    if all(len(cell) <= NAME and " " not in cell for cell in cells):
        return "name"
    return "long" if any(len(cell) > LONG for cell in cells) else "text"


def _cells(row: Sequence[str], kinds: Sequence[str], labels: Sequence[str]) -> list[Markup]:
    first = tag("th", row[0], scope="row", class_=kinds[0])
    said = [{"data_label": each} for each in labels[1:]] or [{} for _ in row[1:]]
    cells = zip(row[1:], kinds[1:], said, strict=True)
    return [first, *(tag("td", cell, class_=kind, **about) for cell, kind, about in cells)]


def facts(pairs: Sequence[tuple[str, ...]], kind: str = "facts") -> Markup:
    """Names, what they stand for, and what is to be added, if anything."""
    return tag(
        "dl",
        *(tag("div", tag("dt", name), *(tag("dd", each) for each in found)) for name, *found in pairs),
        class_=kind,
    )


def refusals(found: Sequence[tuple[str, str, str]]) -> Markup:
    """Who said nothing, of whom, and why: names that give the same reason together."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, whom, reason in found:
        reasons.setdefault((whom, reason), []).append(name)
    items = [
        tag("li", tag("b", ", ".join(names), f" of {whom}" if whom else ""), f": {reason}")
        for (whom, reason), names in reasons.items()
    ]
    return tag("ul", *items, class_="refusals") if items else joined([])
