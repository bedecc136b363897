"""What the command line shows: tables, verdicts and errors, in one place and one style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bondhu.errors import BondhuError
from bondhu.types import Estimate, Verdict

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
COLOURS = {"promote": "green", "wait": "yellow", "refuse": "red"}


def moment(seconds: float | None) -> str:
    """A UNIX time for people."""
    return "—" if not seconds else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def progress() -> Progress:
    """A bar for anything that takes more than a second."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; every column but the first is aligned to the right."""
    shown = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for position, column in enumerate(columns):
        shown.add_column(column, justify="right" if position else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(escape(str(cell)) for cell in row))
    console.print(shown)


def facts(title: str, pairs: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    shown = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    shown.add_column(style="dim")
    shown.add_column(overflow="fold")
    for name, value in pairs.items():
        shown.add_row(name, escape(str(value)))
    console.print(shown)


def estimate(result: Estimate) -> tuple[str, str, str]:
    """Value, interval and effective samples, or the refusal."""
    if result.refused:
        return "refused", result.refused, ""
    return f"{result.value:.4f}", f"[{result.low:.4f}, {result.high:.4f}]", f"{result.effective_samples:,.0f}"


def estimates(title: str, by_policy: Mapping[str, Mapping[str, Estimate]]) -> None:
    """Each estimator's view of each policy."""
    rows = [
        (policy, name, *estimate(result)) for policy, results in by_policy.items() for name, result in results.items()
    ]
    table(title, ("policy", "estimator", "mean reward", "95 % interval", "effective samples"), rows)


def verdict(result: Verdict) -> None:
    """The gate's word and its reasons."""
    colour = COLOURS.get(result.decision, "white")
    console.print(f"Gate: [bold {colour}]{result.decision}[/]")
    for reason in result.reasons:
        console.print(f"  · {escape(reason)}")


def problem(error: BondhuError) -> None:
    """One error: what happened, and what to do."""
    errors.print(f"[bold red]{escape(error.what)}[/]")
    if error.fix:
        errors.print(f"  {escape(error.fix)}")
