"""For those who call the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bondhu import screen
from bondhu.cli.shared import Directory, Here, app, opened


@app.command()
def client(
    path: Annotated[Path, typer.Argument(help="To write, such as bondhu.ts.")],
    directory: Directory = Here,
) -> None:
    """Write a TypeScript client of this deployment: its fields and their values are types."""
    from bondhu.client.typescript import written
    from bondhu.server.assembly import description

    deployment = opened(directory)
    path.write_text(written(description(deployment)), encoding="utf-8")
    screen.say(f"Wrote {path}: a client of {deployment.domain.name!r} for browsers and Node.js.")
