"""The frame of a picture that is as wide as the page lets it be, while its text keeps its size.

The picture has no view box: everything stands at a percentage from the left and at pixels from the top, and what is
drawn with a path lies in an inner picture that is stretched. So a telephone sees the same text as a wide screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bondhu.dashboard.charts.hours import ticks as moments
from bondhu.report.axis import Axis
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.pictures import SVG, Words

WIDE = 1000.0  # units of the inner picture, from edge to edge
EDGE = 0.97  # of the width: labels beyond end at their place
LOW = 34.0  # pixels below the plot, for the axis
SAMPLES = {  # how each kind of line is told apart without colours: its shape around (0, 0)
    "one": "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",  # a disc
    "other": "M-3 -3h6v6h-6z",  # a square, hollow
    "three": "M0 -4.2L4 3L-4 3z",  # a triangle
    "four": "M0 -4.5L4.5 0L0 4.5L-4.5 0z",  # a diamond
    "five": "M-3.5 -3.5L3.5 3.5M-3.5 3.5L3.5 -3.5",  # a cross
}
KINDS = tuple(SAMPLES)


class About(NamedTuple):
    """What a chart is called."""

    name: str  # in addresses: letters, digits and dashes; once a page
    title: str
    caption: str = ""


class Plot(NamedTuple):
    """Where things lie: across in units of the inner picture, up in pixels."""

    across: Axis
    up: Axis

    def left(self, value: float) -> str:
        """How far from the left a value lies."""
        return share_of(self.across.at(value))


def share_of(units: float) -> str:
    """Units of the inner picture as a percentage."""
    return f"{units / WIDE * 100:.4g}%"


def picture(words: Words, height: float, parts: Sequence[Markup], *, kind: str = "", links: bool = False) -> Markup:
    """The parts as one picture that can be read aloud; `links`: some of them lead elsewhere."""
    inside = [tag("title", words.name), tag("desc", words.says), *parts]
    role = "group" if links else "img"  # what is an image for a screen reader has nothing to follow in it
    label = f"{words.name}. {words.says}".strip()
    classes = f"plot {kind}".strip()
    return tag("svg", *inside, role=role, aria_label=label, class_=classes, height=f"{height:.0f}", xmlns=SVG)


def stretched(plot: Plot, parts: Sequence[Markup]) -> Markup:
    """Paths, which know no percentages: from edge to edge of the plot, lines as thick as ever."""
    height = f"{plot.up.start:.0f}"
    box = {"viewBox": f"0 0 {WIDE:.0f} {height}", "preserveAspectRatio": "none"}
    return tag("svg", *parts, width="100%", height=height, class_="stretched", aria_hidden="true", **box)


def placed(left: str, top: float, *parts: Markup, kind: str = "") -> Markup:
    """Parts around a place."""
    return tag("svg", *parts, x=left, y=f"{top:.1f}", **({"class_": kind} if kind else {}))


def beside(up: Axis, unit: str, *, shares: bool = False) -> list[Markup]:
    """The vertical axis: faint lines, what they stand for, and the unit above them."""
    parts = [tag("text", unit, class_="unit", x=-44, y=f"{up.end - 12:.0f}")]
    for value, text in up.ticks(4):
        at = f"{up.at(value):.1f}"
        said = f"{100 * value:.4g} %" if shares else f"{value:,.{len(text.partition('.')[2])}f}"
        parts.append(tag("line", class_="grid", x1=0, x2="100%", y1=at, y2=at))
        parts.append(tag("text", said, class_="tick", x=-8, y=f"{up.at(value) + 4:.1f}", text_anchor="end"))
    return parts


def below(plot: Plot, *, times: bool, unit: str = "") -> list[Markup]:
    """The horizontal axis. Every other moment is left out where there is little room."""
    bottom = plot.up.start
    parts = [tag("line", class_="axis", x1=0, x2="100%", y1=bottom, y2=bottom)]
    if times:
        found = [(each.at, each.says, each.under) for each in moments(plot.across.low, plot.across.high)]
    else:
        found = [(value, text, "") for value, text in plot.across.ticks(8)]
    for number, (at, says, under) in enumerate(found):
        left, spare = plot.left(at), " spare" if number % 2 else ""
        parts.append(tag("line", class_=f"notch{spare}", x1=left, x2=left, y1=bottom, y2=bottom + 4))
        anchor = "end" if plot.across.at(at) > EDGE * WIDE else "middle"  # the last one is not cut off
        parts.append(tag("text", says, class_=f"tick{spare}", x=left, y=bottom + 17, text_anchor=anchor))
        if under:
            parts.append(tag("text", under, class_="tick under", x=left, y=bottom + 31, text_anchor="middle"))
    if unit:
        parts.append(tag("text", unit, class_="unit", x="50%", y=bottom + 31, text_anchor="middle"))
    return parts


def named(text: str, most: tuple[int, int], kind: str, *, folded: bool = False, **place: str | float) -> list[Markup]:
    """A name with at most so many letters where there is room, and so many on a narrow screen; `folded`: in each of its
    two lines, where one is not enough."""
    wide, narrow = (clipped(text, letters) for letters in most)
    if folded and narrow != text:
        sizes = zip((wide, narrow), most, ("full", "short"), strict=True)
        return [
            tag("text", tag("title", text), *_lines(text, said, letters, place["x"]), class_=f"{kind} {size}", **place)
            for said, letters, size in sizes
        ]
    whole = [] if narrow == text else [tag("title", text)]
    if wide == narrow:
        return [tag("text", *whole, wide, class_=kind, **place)]
    return [
        tag("text", *whole, said, class_=f"{kind} {size}", **place)
        for said, size in ((wide, "full"), (narrow, "short"))
    ]


def clipped(text: str, most: int) -> str:
    """The text, or as much of its beginning and of its end as there is room for: names often differ there alone."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def _lines(text: str, said: str, most: int, left: str | float) -> list[Markup]:
    """The text in one line, or in two, around its place."""
    if said == text:
        return [joined([text])]
    down = zip(halves(text, most), ("-.45em", "1.1em"), strict=True)
    return [tag("tspan", clipped(line, most), x=left, dy=dy) for line, dy in down]


def halves(text: str, most: int) -> tuple[str, str]:
    """A name in two lines of about as many letters: after an arrow, a stroke, a colon or a space, where there is one
    that lets both fit."""
    found = [at + len(sign) for sign in (" →", "/", ": ", " ", "_") for at in _places(text, sign)]
    fits = [at for at in found if max(at, len(text) - at) <= most] or [at for at in found if " →" in text[at - 2 : at]]
    middle = min(fits, key=lambda at: abs(2 * at - len(text)), default=-(-len(text) // 2))
    return text[:middle].strip(), text[middle:].strip()


def _places(text: str, sign: str) -> list[int]:
    return [at for at in range(1, len(text) - len(sign)) if text.startswith(sign, at)]


def sample(kind: str) -> Markup:
    """A line as it is drawn, for a legend."""
    line = tag("line", x1=0, x2=26, y1=8, y2=8)
    shape = tag("path", class_="shape", d=SAMPLES[kind], transform="translate(13 8)")
    group = tag("g", line, shape, class_=f"series {kind}")
    return tag("svg", group, viewBox="0 0 26 16", width=26, height=16, aria_hidden="true")


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the lines stand for: (kind, words)."""
    parts = [tag("span", sample(kind), f" {words}") for kind, words in entries]
    return tag("p", *parts, class_="legend")
