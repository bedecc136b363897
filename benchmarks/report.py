"""One row per figure, printed as a table and written as JSON: what every benchmark shares."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measured figure, what it was measured against, and whether it meets its goal."""

    name: str
    value: float
    unit: str
    goal: str = ""  # such as ">= 5e6"
    holds: bool | None = None  # None: nothing was promised
    peer: str = ""  # what does the same work in the same run
    peer_value: float | None = None  # in `unit`


def machine() -> str:
    """The processor, its cores, the memory and the versions that the figures belong to."""
    parts = [_processor(), f"{len(os.sched_getaffinity(0))} cores"]
    parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB")
    return ", ".join([*parts, f"Python {platform.python_version()}", f"NumPy {np.__version__}"])


def main(name: str, measure: Callable[[bool], list[Row]]) -> None:
    """Parse --quick and --json, call `measure(quick)`, print the table and write the rows."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="smaller inputs; ends within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    options = parser.parse_args()
    rows = measure(options.quick)
    Console(width=max(Console().width, 140)).print(_table(name, rows))
    if options.json:
        content = [asdict(row) for row in rows]
        options.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _table(name: str, rows: list[Row]) -> Table:
    table = Table(title=f"benchmarks.{name}", caption=machine())
    for heading in ("what", "value", "unit", "goal", "holds", "peer", "peer value"):
        table.add_column(heading, justify="right" if "value" in heading else "left")
    for row in rows:
        holds = {None: "", True: "yes", False: "no"}[row.holds]
        peer_value = "" if row.peer_value is None else _figure(row.peer_value)
        table.add_row(row.name, _figure(row.value), row.unit, row.goal, holds, row.peer, peer_value)
    return table


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
