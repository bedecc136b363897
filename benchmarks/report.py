"""One row per figure, printed as a table and written as JSON: what every benchmark shares.

The table goes to standard output at the end, progress to standard error. The file is whole after every row: a benchmark
that is stopped leaves what it has measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

Each = TypeVar("Each")
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C has ended


@dataclass(frozen=True)
class Row:
    """One measured figure, what it was measured against, and whether it meets its goal."""

    name: str
    value: float  # NaN: it could not be measured, which is null in the file
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


def main(name: str, measure: Callable[[bool], Iterable[Row]]) -> None:
    """Parse --quick and --json, call `measure(quick)` and print the table of its rows, all at once or as they come.

    With --json the file is rewritten after every row. Where the measuring is interrupted (status 130) or fails, what
    was measured until then is printed, and is in the file.
    """
    options = _options(name)
    rows: list[Row] = []
    ended = "stopped before its end"
    try:
        for row in measure(options.quick):
            rows.append(row)
            _keep(options.json, rows)
        _keep(options.json, rows)  # of none, too
        ended = ""
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        Console(width=max(Console().width, 140)).print(_table(name, rows, ended))


def progress(each: Sequence[Each], what: str) -> Iterable[Each]:
    """Goes through `each` under a bar on standard error, where it stays out of the table and of files."""
    return track(each, what, console=Console(stderr=True))


def _options(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="smaller inputs; ends within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE, after every row")
    options = parser.parse_args()
    if options.json and not options.json.parent.is_dir():  # rather now than after the first hour
        parser.error(f"--json {options.json}: there is no folder {options.json.parent}. Make it first.")
    return options


def _keep(file: Path | None, rows: list[Row]) -> None:
    """Replace the file at once, so that whoever reads it or stops the benchmark finds a whole one."""
    if file is None:
        return
    beside = file.with_name(f"{file.name}.partial")
    content = json.dumps([*map(_plain, rows)], indent=1, ensure_ascii=False, allow_nan=False)
    beside.write_text(content + "\n", encoding="utf-8")
    beside.replace(file)


def _plain(row: Row) -> dict[str, Any]:
    """JSON has no numbers but finite ones."""
    plain = asdict(row).items()
    return {key: None if isinstance(each, float) and not math.isfinite(each) else each for key, each in plain}


def _table(name: str, rows: list[Row], ended: str = "") -> Table:
    table = Table(title=", ".join(filter(None, (f"benchmarks.{name}", ended))), caption=machine())
    for heading in ("what", "value", "unit", "goal", "holds", "peer", "peer value"):
        table.add_column(heading, justify="right" if "value" in heading else "left")
    for row in rows:
        holds = {None: "", True: "yes", False: "no"}[row.holds]
        peer_value = "" if row.peer_value is None else _figure(row.peer_value)
        table.add_row(row.name, _figure(row.value), row.unit, row.goal, holds, row.peer, peer_value)
    return table


def _figure(value: float) -> str:
    if not math.isfinite(value):
        return "not measured"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
