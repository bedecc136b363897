"""What the process that shows pages asks of SQLite, in a process of its own: every statement is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import process_time

import apsw

from benchmarks.serving_processes import memory_of
from bondhu.app import App, open_app
from bondhu.dashboard.columns.errands import Beside
from bondhu.dashboard.columns.reading import FRESH, Reading
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.page import Asked, Desk, Viewer
from bondhu.dashboard.web.drawing import VIEWS, viewed
from bondhu.settings import load

LOOKER = Viewer("anybody", frozenset({"read"}))


@dataclass(frozen=True)
class Told:
    """What it took."""

    decisions: int  # that were read
    reading: float  # seconds of work for all of them
    freshening: float  # seconds of work to read what is newest once more
    columns: float  # MiB of the columns
    grown: float  # MiB that the process has grown by
    longest: float  # ms of one statement
    statement: str
    views: dict[str, float]  # ms of work for each view of columns that nobody looked at before


def told(folder: Path) -> Told:
    """In a process of its own."""
    command = [sys.executable, "-m", "benchmarks.dashboard_statements", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Told(**json.loads(done.stdout.splitlines()[-1]))


def _measured(folder: Path) -> Told:
    slowest = (0, "")

    def timed(statement: str, nanoseconds: int) -> None:
        nonlocal slowest
        slowest = max(slowest, (nanoseconds, " ".join(statement.split())))

    apsw.connection_hooks.append(lambda connection: connection.set_profile(timed))
    clock = {"ahead": 0.0}
    settings = load(folder)
    with ExitStack() as stack:
        app = open_app(settings)
        stack.callback(app.stores.close)
        now = app.now
        app = replace(app, now=lambda: now() + clock["ahead"])
        before, began = memory_of(os.getpid())["Rss"], process_time()
        reading = Reading(app)
        while reading.step():
            pass
        seconds, grown = process_time() - began, memory_of(os.getpid())["Rss"] - before
        clock["ahead"] = FRESH
        began = process_time()
        reading.step()
        again = process_time() - began
        views = _views(app, reading)
    sheet = reading.sheet()
    return Told(len(sheet), seconds, again, sheet.size / 2**20, grown, slowest[0] / 1e6, slowest[1], views)


class Anew:
    """The columns as if they had just changed: nothing that was computed of them is remembered."""

    def __init__(self, reading: Reading) -> None:
        self.progress = reading.progress
        self._sheet = replace(reading.sheet())

    def sheet(self) -> Sheet:
        return self._sheet


def _views(app: App, reading: Reading) -> dict[str, float]:
    """Looked at once before, since what is imported or compiled at first is not the columns' fault."""
    found, errands = {}, Beside()
    for address in VIEWS:
        viewed(Desk(app, Anew(reading), errands), Asked(LOOKER, path=address))
        anew = Desk(app, Anew(reading), errands)
        began = process_time()
        viewed(anew, Asked(LOOKER, path=address))
        found[address] = (process_time() - began) * 1e3
    errands.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asdict(_measured(Path(sys.argv[1])))))
