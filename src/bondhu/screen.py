"""What the command line shows: tables, verdicts and errors, in one place and one style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bondhu.app import App, TrainingRun
from bondhu.errors import BondhuError
from bondhu.log.importers import ImportReport
from bondhu.monitor.doctor import Finding
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE
from bondhu.train.judge import Judgement
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


def training(run: TrainingRun) -> None:
    """What a training did and what the gate says of its candidate."""
    trained, report = run.trained, run.trained.report
    facts(
        "Training",
        {
            "version": trained.version.id if trained.version else "none: there was nothing new to learn from",
            "decisions": f"{report.rows:,} of {report.users:,} users; {report.too_few:,} of users with too few left out",
            "outstanding": f"{report.outstanding:,} still wait for feedback; a later training takes them up",
            "without feedback": f"{report.defaulted:,} count as the default reward",
            "late feedback": f"{report.late:,} rows, worth {report.late_reward:+.2f} in all",
            "average reward": f"{report.mean_reward:.4f}",
            **{name: f"{value:,.4g}" for name, value in trained.metrics.items()},
        },
    )
    if run.judgement and trained.version:
        judgement(trained.version.id, "the policy in force", run.judgement)
        word = "It is live." if run.promoted else f"Put it in force with `bondhu promote {trained.version.id}`."
        if run.promoted or run.judgement.verdict.decision == "promote":
            console.print(word)


def judgement(candidate: str, live: str, result: Judgement) -> None:
    """Estimates of both policies, and the verdict."""
    title = f"On {result.report.rows:,} decisions of people it was not trained on"
    estimates(title, {candidate: result.candidate, live: result.live})
    verdict(result.verdict)


def imported(report: ImportReport) -> None:
    """What an import took, and why it refused the rest."""
    facts(
        "Import",
        {
            "rows read": f"{report.read:,}",
            "decisions": f"{report.accepted:,}",
            "feedback": f"{report.feedback:,}",
            "repeated": f"{report.repeated:,}",
            **{f"skipped: {why}": f"{count:,}" for why, count in report.skipped.items()},
            **{f"note: {note}": f"{count:,}" for note, count in report.notes.items()},
            "refused": f"{report.refused:,}",
        },
    )
    if report.refused:
        table("Refused", ("why", "rows"), [(why, f"{count:,}") for why, count in report.reasons.most_common()])
        table("The first of them", ("row", "reason"), [(each.number, each.reason) for each in report.refusals[:5]])


def status(app: App) -> None:
    """What is live, what the log holds and what the last trainings did."""
    name, now = app.domain.name, app.now()
    log = app.deployment.log.summary(name)  # type: ignore[attr-defined]  # beyond the port
    facts(
        f"{name}",
        {
            "live": app.live() or BASELINE,
            "decisions": f"{log.decisions:,} from {moment(log.first)} to {moment(log.last)}",
            "feedback": f"{log.feedback:,}, of which {log.unmatched:,} wait for their decision",
            "store": f"{log.bytes / 1e6:,.1f} MB",
            "exploration": f"{app.settings.exploration.rate:.0%} of decisions",
            "now": moment(now),
        },
    )
    standings = lifecycle.versions(app.deployment.registry.events(name))[-10:]
    table("Versions", ("version", "status", "since"), [(each.version, each.status, moment(each.changed)) for each in standings])
    runs = app.tasks.recent("rl_training", 5)
    table(
        "Trainings",
        ("at", "status", "users", "decisions", "average reward", "error"),
        [
            (
                moment(run.executed_at),
                run.status,
                f"{run.users_processed:,}",
                f"{run.records_processed:,}",
                f"{run.metadata.get('training', {}).get('average_reward', 0.0):.4f}",
                run.error or "",
            )
            for run in runs
        ],
    )


def findings(found: Sequence[Finding]) -> None:
    """What the doctor found."""
    if not found:
        console.print("[green]Nothing is wrong.[/]")
    for finding in found:
        console.print(f"[bold yellow]{escape(finding.case)}[/]: {escape(finding.evidence)}")
        for fix in finding.fixes:
            console.print(f"  · {escape(fix)}")
