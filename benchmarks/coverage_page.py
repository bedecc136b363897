"""docs/coverage.md: the table of the coverage study; what stands before the mark is written by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks.report import Row

MARK = "<!-- What follows is written by `python -m benchmarks.coverage`: edit above. -->\n"
NAMED = re.compile(
    r"(?P<world>[^:]+): (?P<what>.+?); truth above (?P<above>[\d.]+)% below (?P<below>[\d.]+)%; "
    r"mean width (?P<width>[\d.a-z]+); refused (?P<refused>[\d.]+)%(; (?P<note>.*))?"
)


def page(rows: Sequence[Row], logs: int, before: str) -> str:
    """The document as it was `before`, with all that follows the mark written anew."""
    parts = [before.partition(MARK)[0] + MARK, f"{logs:,} logs of each world.\n"]
    found = [(row, match) for row in rows if (match := NAMED.fullmatch(row.name))]
    for world in dict.fromkeys(match["world"] for _, match in found):
        parts += [f"## {world.capitalize()}\n", HEAD]
        parts += [line(row, match) for row, match in found if match["world"] == world]
        parts.append("")
    parts += [
        "## Looked at again and again\n",
        "| interval | held at every look, % | goal | holds |\n|---|--:|---|---|",
    ]
    for row in rows:
        if row.name.endswith("; at every look"):
            parts.append(f"| {row.name.partition(';')[0]} | {row.value:.1f} | {row.goal} | {held(row)} |")
    return "\n".join([*parts, ""])


HEAD = (
    "| interval | covers, % | truth above, % | below, % | mean width | refused, % | goal | holds | |\n"
    "|---|--:|--:|--:|--:|--:|---|---|---|"
)


def line(row: Row, found: re.Match[str]) -> str:
    cells = [found["what"], f"{row.value:.1f}", found["above"], found["below"], found["width"], found["refused"]]
    return f"| {' | '.join([*cells, row.goal, held(row), found['note'] or ''])} |"


def held(row: Row) -> str:
    return {None: "", True: "yes", False: "**no**"}[row.holds]
