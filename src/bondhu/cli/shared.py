"""What the commands share: the application they belong to, the options that many take, and who is at the keyboard."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from bondhu.app import App, open_app
from bondhu.settings import load

app = typer.Typer(
    help="Learn which action to take in each context from feedback, and prove a policy before it ships.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # [server] is a table of settings, not a style
)

Directory = Annotated[Path, typer.Option("--directory", "-C", help="Where bondhu.toml stands.")]
Here = Path(".")
Newest = Annotated[str | None, typer.Argument(help="Default: the newest.")]
Reason = Annotated[str, typer.Option(help="Kept in the history.")]


def opened(directory: Path) -> App:
    """The deployment of a folder."""
    return open_app(load(directory))


def operator() -> str:
    """Who is at the keyboard, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know its users by number only
        return f"user {os.getuid()}"
