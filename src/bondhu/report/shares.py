"""Pictures of shares: of rewards below a value, and of decisions by how much they count."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

import numpy as np

from bondhu.report.axis import Axis
from bondhu.report.markup import Markup, tag
from bondhu.report.pictures import EDGE, WIDTH, Words, below, picture
from bondhu.report.study import Curve, Weights
from bondhu.types import Floats

HEIGHT, LEFT = 220.0, 48.0


def curves(words: Words, found: Sequence[Curve]) -> Markup:
    """Distribution functions with their bands: the first policy's line is whole, the second's dashed."""
    shown = [each for each in found if not each.refused]
    low = min((float(each.values[0]) for each in shown), default=0.0)
    high = max((float(each.values[-1]) for each in shown), default=1.0)
    room = (high - low) * 0.03 or 0.5
    across, up = Axis(low - room, high + room, LEFT, WIDTH - EDGE), Axis(0.0, 1.0, HEIGHT, 10.0)
    parts = [below(across, across.ticks(), HEIGHT, words.unit), *_beside(up)]
    kinds = [(each, kind) for each, kind in zip(found, ("candidate", "against"), strict=False) if not each.refused]
    for each, kind in kinds:
        parts.append(_band(each, kind, across, up))
    for each, kind in kinds:
        path = _stairs(each.values, each.cdf, across, up)
        parts.append(tag("path", class_=f"curve {kind}", d=path))
    return picture(words, HEIGHT + 40, parts)


def _band(of: Curve, kind: str, across: Axis, up: Axis) -> Markup:
    upper = _corners(of.values, of.high, across, up)
    lower = _corners(of.values, of.low, across, up)[::-1]
    return tag("path", class_=f"band {kind}", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in upper + lower) + "Z")


def _stairs(values: Floats, shares: Floats, across: Axis, up: Axis) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in _corners(values, shares, across, up))


def _corners(values: Floats, shares: Floats, across: Axis, up: Axis) -> list[tuple[float, float]]:
    """The corners of a function that jumps at each value, from edge to edge."""
    points, height = [(across.start, up.start)], up.start
    for value, share in zip(values.tolist(), shares.tolist(), strict=True):
        x = across.at(value)
        points += [(x, height), (x, up.at(share))]
        height = up.at(share)
    return [*points, (across.end, height)]


def _beside(up: Axis, unit: str = "share of decisions") -> list[Markup]:
    """The vertical axis: shares from 0 to all, or to the greatest."""
    parts = [
        tag(
            "text",
            unit,
            class_="unit",
            transform=f"translate(11 {(up.start + up.end) / 2:.0f}) rotate(-90)",
            text_anchor="middle",
        )
    ]
    for value, _ in up.ticks(4):
        at = up.at(value)
        parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - EDGE, y1=f"{at:.1f}", y2=f"{at:.1f}"))
        text = f"{100 * value:.3g} %"
        parts.append(tag("text", text, class_="tick", x=LEFT - 5, y=f"{at + 4:.1f}", text_anchor="end"))
    return parts


def histogram(words: Words, of: Weights) -> Markup:
    """Decisions by their weight on a logarithmic scale (bars), and the part of all weight they carry (outline)."""
    rows, weight = max(of.zeros + int(of.counts.sum()), 1), max(float(of.sums.sum()), 1e-300)
    shares, carried = of.counts / rows, of.sums / weight
    tallest = max([of.zeros / rows, *shares.tolist(), *carried.tolist(), 1e-9])
    up = Axis(0.0, tallest * 1.05, HEIGHT, 10.0)
    across = Axis(log10(of.edges[0]), log10(of.edges[-1]), LEFT + 46, WIDTH - EDGE)
    parts = [below(across, _powers(across), HEIGHT, words.unit), *_beside(up)]
    parts.append(_bar("none", LEFT + 8, 24.0, of.zeros / rows, up))
    parts.append(tag("text", "0", class_="tick", x=LEFT + 20, y=HEIGHT + 15, text_anchor="middle"))
    edges = np.array([across.at(log10(edge)) for edge in of.edges.tolist()])
    for left, width, share in zip(edges, np.diff(edges), shares.tolist(), strict=False):
        parts.append(_bar("rows", float(left) + 0.5, float(width) - 1, share, up))
    outline = [(float(edges[0]), up.start)]
    for left, right, share in zip(edges[:-1].tolist(), edges[1:].tolist(), carried.tolist(), strict=True):
        outline += [(left, up.at(share)), (right, up.at(share))]
    outline.append((float(edges[-1]), up.start))
    parts.append(tag("path", class_="carried", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in outline)))
    if across.low < 0 < across.high:
        at = f"{across.at(0.0):.1f}"
        parts.append(tag("line", class_="reference", x1=at, x2=at, y1=4, y2=HEIGHT))
    return picture(words, HEIGHT + 40, parts)


def _bar(kind: str, left: float, width: float, share: float, up: Axis) -> Markup:
    top = up.at(share)
    return tag(
        "rect",
        class_=f"bar {kind}",
        x=f"{left:.1f}",
        y=f"{top:.1f}",
        width=f"{width:.1f}",
        height=f"{up.start - top:.1f}",
    )


def _powers(across: Axis) -> list[tuple[float, str]]:
    """Ticks at 1, 2 and 5 times powers of ten; the powers alone where there are many."""
    wide = across.high - across.low > 2.5
    found = []
    for power in range(floor(across.low), ceil(across.high) + 1):
        for times in (1,) if wide else (1, 2, 5):
            place = power + log10(times)
            if across.low - 1e-9 <= place <= across.high + 1e-9:
                found.append((place, f"{times * 10.0**power:g}"))
    return found
