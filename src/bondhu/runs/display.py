"""A run while it goes: one line that renews itself at a terminal, plain lines elsewhere. It is a tracker too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from bondhu.monitor.tracking import FINISHED

SHOWN = {
    "total_reward": "return",
    "evaluation_return": "evaluation",
    "steps_per_second": "steps/s",
    "loss": "loss",
    "value_loss": "value loss",
    "kl": "KL",
    "entropy": "entropy",
    "exploration_rate": "exploration",
}
PLAIN_EVERY = 10.0  # seconds between plain lines


class Display:
    """Shows how far a run is and its main figures. Where `lines`, a line now and then, with `label` before it."""

    def __init__(
        self,
        console: Console,
        label: str = "",
        *,
        lines: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._label, self._clock = console, label, clock
        self._lines = not console.is_terminal if lines is None else lines
        self._figures: dict[str, float] = {}
        self._live: Live | None = None
        self._steps = self._planned = self._speeds = 0
        self._over = False
        self._told = -PLAIN_EVERY

    def begin(self, configuration: Mapping[str, Any], /) -> None:
        """Everything begins at 0."""
        self._planned = int(configuration.get("steps") or 0)
        self._label = self._label or f"seed {configuration.get('seed', '')}"
        self._told = self._clock() - PLAIN_EVERY / 2
        if not self._lines:
            self._live = Live(self._table(), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    def record(self, metrics: Mapping[str, float], step: int, /) -> None:
        """New figures."""
        self._figures |= metrics
        self._steps = step
        self._speeds += "steps_per_second" in metrics
        if self._live is not None:
            self._live.update(self._table())
        elif self._clock() - self._told >= PLAIN_EVERY:
            self._told = self._clock()
            self._console.print(self.line(), markup=False, soft_wrap=True)

    def file(self, path: Path, kind: str = "", /) -> None:
        """A file of which people may want to know."""
        self._console.print(f"{self._label}: wrote {path}" + f" ({kind})" * bool(kind), markup=False, soft_wrap=True)

    def end(self, _status: str = FINISHED, /) -> None:
        """The last figures, as a line that stays."""
        self._over = True
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._figures:
            self._console.print(self.line(), markup=False, soft_wrap=True)
            self._figures = {}

    def line(self) -> str:
        """Everything in one line."""
        done = f"{self._label}: {self._reached():,} of {self._planned:,} steps"
        shown = [f"{title} {number(self._figures[name])}" for name, title in self._shown()]
        return " · ".join(each for each in (done, *shown, self._left()) if each)

    def _reached(self) -> int:
        """A run ends with a whole phase, which may go beyond what was asked for."""
        return min(self._steps, self._planned) if self._planned else self._steps

    def _shown(self) -> list[tuple[str, str]]:
        """Names and titles of what there is; how fast it goes, from the second record on: the first one compiles."""
        there = [(name, title) for name, title in SHOWN.items() if name in self._figures]
        return [each for each in there if each[0] != "steps_per_second" or self._speeds > 1]

    def _table(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(self._planned, 1), completed=self._reached(), width=30)
        grid.add_row(self._label, bar, f"{self._reached():,} / {self._planned:,}", self._left())
        figures = Table.grid(padding=(0, 2))
        there = self._shown()
        figures.add_row(*(f"[dim]{title}[/]" for _, title in there))
        figures.add_row(*(number(self._figures[name]) for name, _ in there))
        whole = Table.grid()
        whole.add_row(grid)
        whole.add_row(figures)
        return whole

    def _left(self) -> str:
        speed = self._figures.get("steps_per_second")
        if not speed or self._speeds < 2 or self._over or self._steps >= self._planned:
            return ""
        seconds = int(max(0, self._planned - self._steps) / speed)
        return f"ETA {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def number(value: float) -> str:
    """Four digits; large ones whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
