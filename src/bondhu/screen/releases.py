"""What the command line shows of releases: where they stand, how they came there, and what the gate said."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from bondhu.app import App
from bondhu.errors import BondhuError
from bondhu.ports import Event, Task
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE, Traffic
from bondhu.release.loop import Look
from bondhu.screen import COLOURS, console, facts, moment, say, table
from bondhu.watching import Watched

MOVED = {
    "wait": "waits",
    "shadowed": "is in shadow",
    "tried": "is on trial",
    "promoted": "is live",
    "withdrawn": "is withdrawn",
}


def look(found: Look | None) -> None:
    """What one look at the release under way came to."""
    if found is None:
        say("No version is in shadow or on trial.")
        return
    console.print(f"[bold]{escape(found.version)}[/] {MOVED[found.move.kind]}.")
    for reason in found.move.reasons:
        console.print(f"  · {escape(reason)}", soft_wrap=True)


def watched(found: Watched) -> None:
    """What drifted or fell, and what was done about it."""
    colours = {"critical": "red", "warning": "yellow", "info": "dim"}
    if not found.findings:
        console.print("[green]Nothing drifted, and no reward fell.[/]")
    for each in found.findings:
        about = f" ({escape(each.subject)})" if each.subject else ""
        console.print(
            f"[bold {colours[each.severity]}]{escape(each.kind)}[/]{about}: {escape(each.title)}", soft_wrap=True
        )
        for line in each.evidence:
            say(f"  · {line}")
    if found.taken_back:
        say(f"{found.taken_back} was taken back.")
    if found.failed:
        say(f"These could not be told: {', '.join(found.failed)}.")


def standing(traffic: Traffic) -> str:
    """Who decides for whom, in a few words."""
    live = traffic.live or BASELINE
    if traffic.stopped:
        return f"{live}; stopped by hand, until a version is promoted"
    if traffic.step is None:
        return live
    if not traffic.step.share:
        return f"{live}; {traffic.step.version} in shadow"
    return f"{live}; {traffic.step.version} on trial for {traffic.step.share:.0%} of the people"


def history(app: App, limit: int) -> None:
    """Every transition with who or what made it and why, and what changed in the hyper-parameters."""
    events = [event for event in app.events() if event.kind != "judged"][-limit:]
    if not events:
        say("Nothing has happened yet: `bondhu train` makes the first version.")
        return
    rows = [
        (moment(each.time), each.version, _what(each), each.by or "—", each.reason or "—", _changed(app, each))
        for each in events
    ]
    table("History", ("at", "version", "what", "by", "why", "hyper-parameters changed"), rows)


def _what(event: Event) -> str:
    share = "" if event.share is None else f" {event.share:.0%}"
    return f"{event.kind.replace('_', ' ')}{share}"


def _changed(app: App, event: Event) -> str:
    """What differs from the version it learned on from, or from the one added before it."""
    if event.kind != "added":
        return ""
    names = [each.version for each in app.events() if each.kind == "added"]
    place = names.index(event.version)
    load = app.deployment.registry.load
    try:
        now = load(event.version)
        then = load(names[place - 1]) if place else None
    except BondhuError:
        return "its files are gone or damaged"
    if then is None:
        return f"{now.learner}"
    keys = {**then.hyperparameters, **now.hyperparameters}
    differ = [
        f"{key}: {then.hyperparameters.get(key)} → {now.hyperparameters.get(key)}"
        for key in keys
        if then.hyperparameters.get(key) != now.hyperparameters.get(key)
    ]
    learner = [f"{then.learner} → {now.learner}"] if then.learner != now.learner else []
    return "; ".join(learner or differ)


def verdicts(events: Sequence[Event]) -> None:
    """What the gate said, when, and with which figures."""
    if not events:
        say("The gate was not asked yet: `bondhu evaluate` asks it.")
    for event in events:
        decision = str(event.figures.get("decision"))
        colour = COLOURS.get(decision, "white")
        against = event.figures.get("against", "—")
        console.print(
            f"{moment(event.time)}  [bold]{escape(event.version)}[/] against {escape(str(against))}: "
            f"[bold {colour}]{decision}[/]"
        )
        for reason in event.figures.get("reasons", ()):
            console.print(f"  · {escape(reason)}", soft_wrap=True)
        figures = {name: each for name, each in event.figures.items() if type(each) in (int, float)}
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        console.print(f"  [dim]{escape(shown)}[/]", soft_wrap=True)


def versions(app: App) -> None:
    """The latest versions and where they stand."""
    standings = lifecycle.versions(app.events())[-10:]
    if standings:
        rows = [(each.version, each.status, moment(each.changed), each.why or "—") for each in standings]
        table("Versions", ("version", "status", "since", "why"), rows)


def status(app: App) -> None:
    """What is live, what the log holds and what the last trainings did."""
    name, now = app.domain.name, app.now()
    log = app.deployment.log.summary(name)
    facts(
        f"{name}",
        {
            "live": standing(lifecycle.traffic(app.events())),
            "decisions": f"{log.decisions:,} from {moment(log.first)} to {moment(log.last)}"
            if log.decisions
            else "none yet",
            "feedback": f"{log.feedback:,}"
            + (f"; {log.unmatched:,} more wait for their decision" if log.unmatched else ""),
            "store": f"{log.bytes / 1e6:,.1f} MB",
            "exploration": f"{app.settings.exploration.rate:.0%} of decisions",
            "now": moment(now),
        },
    )
    versions(app)
    runs = app.tasks.recent("rl_training", 5)
    if runs:
        columns = ("at", "status", "users", "decisions", "average reward", "error")
        table("Trainings", columns, [_training_row(run) for run in runs])
    else:
        say("There was no training yet: `bondhu train`.")


def _training_row(run: Task) -> tuple[str, ...]:
    reward = run.metadata.get("training", {}).get("average_reward")
    return (
        *(moment(run.executed_at), run.status, f"{run.users_processed:,}", f"{run.records_processed:,}"),
        *("—" if reward is None else f"{reward:.4f}", run.error or ""),
    )
