"""A line as small as a word."""

from __future__ import annotations

import numpy as np

from bondhu.dashboard.charts.lines import stretches
from bondhu.report.axis import Axis
from bondhu.report.markup import Markup, tag
from bondhu.types import Floats

WIDTH, HEIGHT = 100.0, 24.0


def spark(value: Floats) -> Markup:
    """The course of a figure, `[N]`, from its least to its most; NaN is a gap. What it says stands beside it."""
    known = value[np.isfinite(value)]
    if len(known) < 2:
        return Markup("")
    low, high = float(known.min()), float(known.max())
    up = Axis(low, high if high > low else low + 1.0, HEIGHT - 2, 2.0)
    across = Axis(0.0, len(value) - 1.0, 0.0, WIDTH)
    pieces = [
        "M" + "L".join(f"{across.at(row):.1f} {up.at(float(value[row])):.1f}" for row in range(start, end))
        for start, end in stretches(np.isfinite(value))
    ]
    box = {"viewBox": f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", "preserveAspectRatio": "none"}
    return tag("svg", tag("path", d="".join(pieces)), class_="spark", aria_hidden="true", **box)
