"""The command line: one sub-command, one call into the application. A module holds the commands of one purpose."""

from __future__ import annotations

import sys

from bondhu import screen
from bondhu.cli import assisting, calling, coding, forgetting, guarding, learning, releasing, running, starting, storing
from bondhu.cli.shared import app
from bondhu.errors import BondhuError

__all__ = [
    "app",
    "assisting",
    "calling",
    "coding",
    "forgetting",
    "guarding",
    "learning",
    "main",
    "releasing",
    "running",
    "starting",
    "storing",
]  # importing them adds their commands

guarding.note_acts()


def main() -> None:
    """The entry point: every expected error becomes one message and exit status 1."""
    try:
        app()
    except BondhuError as error:
        screen.problem(error)
        sys.exit(1)
    except OSError as error:
        screen.problem(
            BondhuError(f"{error.filename or 'The system'}: {error.strerror or error}.", fix="Mend that and try again.")
        )
        sys.exit(1)
