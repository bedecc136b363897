"""Who may do what: API keys, and the log of every administrative act."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bondhu.access import Caller
from bondhu.access.acts import Acts, Where
from bondhu.access.keys import DAY, Ring, Wanted
from bondhu.app import App
from bondhu.cli.shared import Directory, Here, app, opened, operator
from bondhu.errors import BondhuError
from bondhu.screen import keys as shown
from bondhu.screen import say

LONGEST_GRACE = 366  # days
KEYBOARD = Where("command line")
# The commands that are acts; whoever adds a command that changes what a server does adds it here.
ACTS = frozenset(
    {"train", "release", "look", "withdraw", "promote", "rollback", "stop", "import", "export", "erase", "restore",
     "export-training", "track", "archive", "backup", "watch", "reload", "key create", "key rotate", "key revoke"}
)  # fmt: skip
keys = typer.Typer(help="API keys: make, show, replace and revoke them.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys, name="key")
Identity = Annotated[str, typer.Argument(help="Of the key: what stands between bd_ and the next _.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, for the history and the audit log.")],
    directory: Directory = Here,
    role: Annotated[str, typer.Option(help="reader, app, operator or admin.")] = "app",
    everywhere: Annotated[bool, typer.Option("--everywhere", help="For all domains of the server.")] = False,
    days: Annotated[float | None, typer.Option(help="That it is good for; default: until it is revoked.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second; default: [server] rate.")] = None,
) -> None:
    """Make a key. Its text is shown this once."""
    deployment = opened(directory)
    wanted = Wanted(name, role, None if everywhere else deployment.domain.name, days, rate)
    shown.made(ring(deployment).create(wanted, operator(), deployment.now()))


@keys.command(name="list")
def list_(directory: Directory = Here) -> None:
    """Show every key, without its secret."""
    deployment = opened(directory)
    shown.keys(ring(deployment).keys().values(), deployment.now())


@keys.command()
def rotate(
    identity: Identity,
    directory: Directory = Here,
    grace: Annotated[
        float, typer.Option(help="Days for which the old key is good as well.", min=0, max=LONGEST_GRACE)
    ] = 1.0,
) -> None:
    """Make a key like this one, so that nobody is shut out while the old one is replaced."""
    deployment = opened(directory)
    shown.made(ring(deployment).rotate(identity, operator(), deployment.now(), grace=grace * DAY))


@keys.command()
def revoke(identity: Identity, directory: Directory = Here) -> None:
    """End a key; a running server refuses it within a second."""
    deployment = opened(directory)
    key = ring(deployment).revoke(identity, operator(), deployment.now())
    say(f"Key {key.id} of {key.name} is revoked.")


@app.command()
def audit(
    directory: Directory = Here,
    after: Annotated[int, typer.Option(help="Only what has a higher number.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="The first of them.", min=1)] = 100,
) -> None:
    """Show every administrative act: who, what, when, from where, and what came of it."""
    deployment = opened(directory)
    shown.acts(Acts(deployment.ledger, deployment.domain.name, deployment.now).after(after, limit))


def ring(deployment: App) -> Ring:
    """All keys of the store: whoever sits at it may see to each of them."""
    return Ring(deployment.ledger, None)


# ---------------------------------------------------------------------------------------------------------------- acts


def noted(deployment: App, what: str, *, status: int = 200, **arguments: Any) -> None:
    """Note an act of whoever is at the keyboard; `status` as HTTP would say what came of it."""
    who = Caller(operator(), "operator")
    Acts(deployment.ledger, deployment.domain.name, deployment.now).note(who, what, arguments, status, KEYBOARD)


def note_acts(commands: typer.Typer = app, before: str = "") -> None:
    """Have every command that is an act noted when it has ended, whatever came of it. To be called once, when all
    commands are there."""
    for command in commands.registered_commands:
        run = command.callback
        if run is not None:
            name = before + (command.name or run.__name__)
            if name in ACTS:
                command.callback = noting(name, run)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            note_acts(group.typer_instance, f"{before}{group.name} ")


def noting(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    """The command, noted."""

    @functools.wraps(run)
    def command(*given: Any, **arguments: Any) -> Any:
        status = 500  # whatever else may end it
        try:
            done = run(*given, **arguments)
            status = 200
            return done
        except BondhuError as error:
            status = error.status
            raise
        except typer.Exit as end:  # done, and what it found is told by the exit status
            status = 200 if end.exit_code == 0 else 422
            raise
        except typer.Abort:  # whoever was asked said no
            status = 400
            raise
        finally:
            _note(name, arguments, status)

    return command


def _note(name: str, arguments: dict[str, Any], status: int) -> None:
    """Note a command in the audit log of its deployment; what could not be opened has none."""
    directory: Path = arguments.get("directory", Here)
    told = {key: value for key, value in arguments.items() if key != "directory" and value is not None}
    try:
        noted(opened(directory), f"bondhu {name}", status=status, **told)
    except (BondhuError, OSError):
        return
