"""What the command line shows: tables, verdicts and errors, in one place and one style."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bondhu.errors import BondhuError
from bondhu.log.importers import ImportReport
from bondhu.log.join import JoinReport
from bondhu.monitor.doctor import Finding
from bondhu.serve.messages import Audit
from bondhu.train.judge import Judgement
from bondhu.training import TrainingRun
from bondhu.types import Estimate, Verdict

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
NUMERIC = re.compile(r"[\d\s,.+%—\-\[\]]*")  # what a cell of numbers, intervals or nothing is made of
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
        disable=not console.is_terminal,
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; columns of numbers are aligned to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    shown = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD)
    shown.padding, shown.pad_edge, shown.show_edge = (0, 1, 0, 0), False, False  # narrow enough for 80 columns
    for position, column in enumerate(columns):
        numbers = all(NUMERIC.fullmatch(row[position]) for row in cells)
        shown.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        shown.add_row(*map(escape, row))
    console.print(shown)


def say(text: str) -> None:
    """One line, as it is: paths and commands stay whole."""
    console.print(text, markup=False, soft_wrap=True)


def facts(title: str, pairs: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    shown = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    shown.add_column(style="dim")
    shown.add_column(overflow="fold")
    for name, value in pairs.items():
        shown.add_row(name, escape(str(value)))
    console.print(shown)


def estimate(result: Estimate) -> tuple[str, str, str]:
    """Value, interval and effective samples; `refusals` says why there are none."""
    if result.refused:
        return "refused", "", ""
    return f"{result.value:.4f}", f"[{result.low:.4f}, {result.high:.4f}]", f"{result.effective_samples:,.0f}"


def estimates(title: str, by_policy: Mapping[str, Mapping[str, Estimate]]) -> None:
    """Each estimator's view of each policy."""
    rows = [
        (policy, name, *estimate(result)) for policy, results in by_policy.items() for name, result in results.items()
    ]
    table(title, ("policy", "estimator", "mean reward", "95 % interval", "eff. samples"), rows)
    refusals(by_policy)


def interval(result: Estimate) -> str:
    """A value with its interval, or a dash."""
    return "—" if result.refused else f"{result.value:+.4f} ({result.low:+.4f} to {result.high:+.4f})"


def refusals(by_policy: Mapping[str, Mapping[str, Estimate]]) -> None:
    """Why estimates were refused, each reason once."""
    for policy, results in by_policy.items():
        for reason in dict.fromkeys(result.refused for result in results.values() if result.refused):
            say(f"{policy} refused: {reason}")


def verdict(result: Verdict) -> None:
    """The gate's word and its reasons."""
    colour = COLOURS.get(result.decision, "white")
    console.print(f"Gate: [bold {colour}]{result.decision}[/]")
    for reason in result.reasons:
        console.print(f"  · {escape(reason)}", soft_wrap=True)


def problem(error: BondhuError) -> None:
    """One error: what happened, and what to do."""
    errors.print(f"[bold red]{escape(error.what)}[/]", soft_wrap=True)
    if error.fix:
        errors.print(f"  {escape(error.fix)}", soft_wrap=True)


def training(run: TrainingRun) -> None:
    """What a training did and what the gate says of its candidate."""
    trained = run.trained
    learned = {"average reward": f"{trained.report.mean_reward:.4f}"} if trained.version else {}
    facts(
        "Training",
        {
            "version": trained.version.id if trained.version else "none: there is nothing new to learn from",
            **joined(trained.report),
            **learned,
            **{name: f"{value:,.4g}" for name, value in trained.metrics.items()},
        },
    )
    if trained.version is None:
        say(nothing_learned(trained.report))
        return
    if run.judgement:
        judgement(trained.version.id, "the policy in force", run.judgement)
    elif run.verdict:
        verdict(run.verdict)
    else:
        say("It was not judged: [training] holdout = 0 keeps nobody back. `bondhu evaluate` can, on later decisions.")
    if run.release:
        say(f"It was {run.release.move.kind}. {' '.join(run.release.move.reasons)}")
    elif run.verdict and run.verdict.decision == "promote":
        say(f"Release it with `bondhu release {trained.version.id}`.")


def nothing_learned(report: JoinReport) -> str:
    """What to do where a window held nothing to learn from."""
    if report.too_few:
        return "Let people with fewer decisions in: [training] min_interactions_per_user in bondhu.toml."
    if report.outstanding:
        return "Come back when the feedback has settled: [reward] wait in bondhu.toml says how long that takes."
    return "`bondhu train --from-scratch` reads the whole log, however old; `bondhu status` shows what it holds."


def joined(report: JoinReport) -> dict[str, str]:
    """What became of the decisions and the feedback of a window; only what there was."""
    lines = {
        "outstanding": (report.outstanding, "still wait for feedback; a later training takes them up"),
        "reward to come": (round(report.outstanding_reward, 2), "is expected of feedback that is still on its way"),
        **{
            f"{name} in time": (round(100 * share, 1), "% of all that comes; it stands for the rest")
            for name, share in report.arrived.items()
        },
        "without feedback": (report.defaulted, "count as the default reward"),
        "of users with too few": (report.too_few, "left out"),
        "cut off": (report.cut, "left out: nobody knows what came next"),
        "of unknown actions": (report.unknown_actions, "left out"),
        "of other contexts": (report.unfit, f"left out: {report.unfit_why}"),
        "late feedback": (report.late, f"came after the wait, worth {report.late_reward:+.2f} in all"),
        "clipped feedback": (report.clipped, "had values outside of their signal's range"),
        **{f"unknown signal {name}": (count, "ignored") for name, count in report.unknown_signals.items()},
    }
    shown = {name: f"{count:,} {what}" for name, (count, what) in lines.items() if count}
    return {"decisions": f"{report.rows:,} of {report.users:,} people", **shown}


def judgement(candidate: str, live: str, result: Judgement) -> None:
    """Estimates of both policies, and the verdict."""
    whose = "people kept back from training" if result.held_out else "everybody, later than it learned"
    title = f"On {result.report.rows:,} decisions of {whose}"
    estimates(title, {candidate: result.candidate, live: result.live})
    if result.parts.groups:
        rows = [(name, interval(each), f"{len(each.terms):,}") for name, each in result.parts.groups.items()]
        table("Advantage within groups", ("group", "advantage", "decisions"), rows)
    if result.parts.objectives:
        pairs = result.parts.objectives.items()
        rows = [(name, interval(ours), interval(theirs)) for name, (ours, theirs) in pairs]
        table("Parts of the reward", ("part", candidate, live), rows)
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


def decided(audit: Audit) -> None:
    """One decision, why it was made, and whether it came out again."""
    made = audit.decision
    facts(
        f"Decision {made['id']}",
        {
            "time": moment(made["time"]),
            "user": made["user"] or "—",
            "context": ", ".join(f"{name} = {value}" for name, value in made["context"].items()),
            "allowed": ", ".join(made["allowed"]),
            "action": made["action"],
            "probability": f"{made['probability']:.4g}",
            "version": f"{made['version']} ({made['variant']}, given with {made['assigned']:.4g})",
            "feedback": ", ".join(f"{each['signal']} {each['value']}" for each in audit.feedback) or "none",
        },
    )
    say(audit.why)
    if audit.replayed:
        say("Decided again: the same action with the same probability, bit for bit.")
    else:
        say("Decided again, it does NOT come out the same.")


def findings(found: Sequence[Finding]) -> None:
    """What the doctor found."""
    if not found:
        console.print("[green]Nothing is wrong.[/]")
    for finding in found:
        console.print(f"[bold yellow]{escape(finding.case)}[/]: {escape(finding.evidence)}", soft_wrap=True)
        for fix in finding.fixes:
            say(f"  · {fix}")
