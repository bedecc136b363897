"""To put versions in force and take them back."""

from __future__ import annotations

from typing import Annotated

import typer

from bondhu import screen
from bondhu.cli.shared import Directory, Here, Newest, Reason, app, opened, operator
from bondhu.screen import releases


@app.command()
def release(
    directory: Directory = Here,
    version: Newest = None,
    reason: Reason = "by hand",
    unproven: Annotated[bool, typer.Option(help="Whatever the gate says.")] = False,
) -> None:
    """Begin the release of a version that the gate lets pass: shadow, trials at growing shares, live."""
    deployment = opened(directory)
    with screen.console.status("Asking the gate …"):
        found = deployment.release(version, reason=reason, by=operator(), unproven=unproven)
    releases.look(found)


@app.command()
def look(directory: Directory = Here) -> None:
    """Look at the release under way, and take its next step if the rules say so (the server does by itself)."""
    releases.look(opened(directory).look())


@app.command()
def watch(directory: Directory = Here) -> None:
    """Look for drift and falling rewards with their cause, alert, and take back what is to blame where that is
    automatic; exit status 1 for anything found."""
    from bondhu.watching import watch as run

    with screen.console.status("Reading the last weeks …"):
        watched = run(opened(directory))
    releases.watched(watched)
    if any(each.severity != "info" for each in watched.findings):
        raise typer.Exit(1)


@app.command()
def withdraw(directory: Directory = Here, reason: Reason = "by hand") -> None:
    """End the release under way."""
    screen.say(f"{opened(directory).withdraw(reason=reason, by=operator())} is withdrawn.")


@app.command()
def promote(
    directory: Directory = Here,
    version: Newest = None,
    reason: Reason = "by hand",
    over: Annotated[str | None, typer.Option(help="Only if this version is live, or 'baseline'.")] = None,
) -> None:
    """Put any version in force for everybody, at once."""
    name = opened(directory).promote(version, reason=reason, by=operator(), over=over)
    screen.say(f"{name} is live.")


@app.command()
def rollback(directory: Directory = Here, reason: Reason = "by hand") -> None:
    """Put the version before the live one in force again."""
    name = opened(directory).rollback(reason=reason, by=operator())
    screen.say(f"{name} is live again.")


@app.command()
def stop(directory: Directory = Here, reason: Reason = "by hand") -> None:
    """The kill switch: the rule decides for everybody, and nothing is released by itself until somebody acts."""
    opened(directory).stop(reason=reason, by=operator())
    screen.say("The rule decides for everybody, and nothing is released by itself until somebody promotes or releases.")


@app.command()
def history(
    directory: Directory = Here,
    limit: Annotated[int, typer.Option(help="The latest events.", min=1)] = 30,
) -> None:
    """Show every transition of every version: when, by whom or what, why, and what changed in it."""
    releases.history(opened(directory), limit)
