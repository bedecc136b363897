"""Pictures as SVG inside the page: intervals in a row each, distributions, weights. Shapes say what colours say."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from bondhu.report.axis import Axis, holding
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.study import Figure

WIDTH = 460.0  # pixels at which text has its size
EDGE = 12.0
ROW = 24.0
LETTER = 7.0  # pixels of a letter, about
SHAPES = {  # around (0, 0)
    "candidate": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",  # a disc
    "against": "M-4.5 -4.5h9v9h-9z",  # a square, hollow
    "gain": "M0 -6.5L6.5 0L0 6.5L-6.5 0z",  # a diamond
    "unsure": "M0 -6.5L6.5 0L0 6.5L-6.5 0z",  # hollow: 0 is not ruled out
}


class Mark(NamedTuple):
    """A figure and how it is drawn: a key of SHAPES."""

    kind: str
    figure: Figure


class Line(NamedTuple):
    """One row of a picture of intervals."""

    label: str
    marks: tuple[Mark, ...]
    strong: bool = False


class Words(NamedTuple):
    """What a picture is called, what it tells those who cannot see it, and the unit of its axis."""

    name: str
    says: str
    unit: str


def forest(words: Words, lines: Sequence[Line], *, reference: float | None = None, labels: float = 110.0) -> Markup:
    """Intervals below each other on one axis; an arrow where one goes on beyond the picture."""
    figures = [mark.figure for line in lines for mark in line.marks]
    axis = holding(figures, reference, labels + 8, WIDTH - EDGE)
    step = ROW + (8 if any(len(line.marks) > 1 for line in lines) else 0)
    bottom = 8 + step * len(lines)
    parts = [below(axis, axis.ticks(), bottom, words.unit)]
    if reference is not None:
        at = f"{axis.at(reference):.1f}"
        parts.append(tag("line", class_="reference", x1=at, x2=at, y1=4, y2=bottom))
    for number, line in enumerate(lines):
        middle = 8 + step * (number + 0.5)
        parts += [_label(line, middle, labels), *_marks(line, axis, middle)]
    return picture(words, bottom + 40, parts)


def _label(line: Line, middle: float, width: float) -> Markup:
    short = shortened(line.label, int(width / LETTER))
    kind = "label strong" if line.strong else "label"
    whole = [] if short == line.label else [tag("title", line.label)]
    return tag("text", *whole, short, class_=kind, x=f"{width:.0f}", y=f"{middle + 4:.1f}", text_anchor="end")


def _marks(line: Line, axis: Axis, middle: float) -> list[Markup]:
    """One row's intervals, above each other where there are two."""
    found, gap = [], 13.0
    top = middle - gap * (len(line.marks) - 1) / 2
    for number, (kind, figure) in enumerate(line.marks):
        height = f"{top + gap * number:.1f}"
        if isfinite(figure.value):
            found.append(_interval(kind, figure, axis, height))
        else:
            found.append(tag("text", "refused", class_="refused", x=f"{axis.start:.1f}", y=f"{float(height) + 4:.1f}"))
    return found


def _interval(kind: str, figure: Figure, axis: Axis, height: str) -> Markup:
    low, high = axis.at(figure.low), axis.at(figure.high)
    parts = [tag("line", x1=f"{low:.1f}", x2=f"{high:.1f}", y1=height, y2=height)]
    for beyond, at, way in ((figure.low < axis.low, low, 1), (figure.high > axis.high, high, -1)):
        if beyond:
            arrow = f"M{at + 6 * way:.1f} {float(height) - 5:.1f}l{-6 * way} 5l{6 * way} 5"
            parts.append(tag("path", class_="beyond", d=arrow))
    parts.append(
        tag("path", class_="shape", d=SHAPES[kind], transform=f"translate({axis.at(figure.value):.1f} {height})")
    )
    return tag("g", *parts, class_=f"mark {kind}")


def below(axis: Axis, ticks: Sequence[tuple[float, str]], bottom: float, unit: str) -> Markup:
    """The horizontal axis with its ticks, faint lines above them, and its unit."""
    parts = [tag("line", class_="axis", x1=f"{axis.start:.1f}", x2=f"{axis.end:.1f}", y1=bottom, y2=bottom)]
    for value, text in ticks:
        at = f"{axis.at(value):.1f}"
        parts.append(tag("line", class_="grid", x1=at, x2=at, y1=4, y2=bottom))
        parts.append(tag("text", text, class_="tick", x=at, y=bottom + 15, text_anchor="middle"))
    middle = (axis.start + axis.end) / 2
    parts.append(tag("text", unit, class_="unit", x=f"{middle:.1f}", y=bottom + 32, text_anchor="middle"))
    return tag("g", *parts, class_="below")


def picture(words: Words, height: float, parts: Sequence[Markup]) -> Markup:
    """The parts as one picture that can be read aloud."""
    inside = [tag("title", words.name), tag("desc", words.says), *parts]
    box = f"0 0 {WIDTH:.0f} {height:.0f}"
    return tag("svg", *inside, role="img", aria_label=f"{words.name}. {words.says}", viewBox=box, xmlns=SVG)


SVG = "http://www.w3.org/2000/svg"


def legend(entries: Sequence[tuple[str, str]], *, shapes: bool = True) -> Markup:
    """What the shapes, or the lines alone, stand for: (a key of SHAPES, words)."""
    parts = []
    for kind, words in entries:
        line = tag("line", x1=0, x2=24, y1=8, y2=8)
        shape = tag("path", class_="shape", d=SHAPES[kind], transform="translate(12 8)")
        mark = tag("g", line, *([shape] if shapes else []), class_=f"mark {kind}")
        sample = tag("svg", mark, viewBox="0 0 24 16", width=24, height=16, aria_hidden="true")
        parts.append(tag("span", sample, f" {words}"))
    return tag("p", joined(parts), class_="legend")


def shortened(text: str, most: int) -> str:
    """The text, or as much of it as there is room for."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
