"""Reads and checks the settings, in an interpreter of its own, and prints what a server is to run."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from bondhu import screen
from bondhu.app import open_app
from bondhu.errors import BondhuError
from bondhu.server.plan import Asked, apps_of, check, plan_of
from bondhu.settings import load


def main(asked: Asked) -> int:
    """Print the plan, or say what is wrong."""
    try:
        apps = apps_of(open_app(load(Path(asked.directory))))
        plan = plan_of(apps, asked)
        check(apps)
    except BondhuError as error:
        screen.problem(error)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(plan))
    return 0


if __name__ == "__main__":
    sys.exit(main(msgspec.json.decode(sys.argv[1], type=Asked)))
