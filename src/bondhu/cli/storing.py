"""What goes into the store and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bondhu import screen
from bondhu.app import App
from bondhu.cli.shared import Directory, Here, app, opened
from bondhu.errors import InvalidInput
from bondhu.ports import ERASURE
from bondhu.settings import load


@app.command(name="import")
def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="CSV, JSONL, Parquet, an Open Bandit folder, a Vowpal Wabbit log; what `export` or `archive` wrote."
        ),
    ],
    directory: Directory = Here,
    kind: Annotated[str | None, typer.Option(help="Of the log, where its name and first line do not tell.")] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="part=column, such as action=arm or context.age=AGE.")
    ] = None,
    declare: Annotated[bool, typer.Option(help="Write a bondhu.toml that fits the log first.")] = False,
    strict: Annotated[bool, typer.Option(help="Import nothing if any row is refused.")] = False,
) -> None:
    """Bring in a log made elsewhere; every row is checked, and what is refused is reported with its reason."""
    from bondhu.imports import declare_from, import_facts, import_log, mapping_of
    from bondhu.log.parquet import holds_facts

    if kind is None and holds_facts(path):
        moved = import_facts(opened(directory), path)
        screen.say(
            f"{path} holds {moved.decisions:,} decisions and {moved.feedback:,} feedback; {moved.new_decisions:,} and"
            f" {moved.new_feedback:,} of them are new here, and {moved.new_beside:,} records beside them."
        )
        if moved.transcripts:
            screen.say(f"With {moved.transcripts:,} transcripts of what was said around them.")
        return
    mapping = mapping_of(map_ or [])
    if declare:
        file = declare_from(path, directory, kind, mapping)
        screen.say(f"Wrote {file}: what the log holds, as a declaration. Read it before you rely on it.")
    screen.imported(import_log(opened(directory), path, kind, mapping, strict=strict))


@app.command()
def export(
    path: Annotated[
        Path,
        typer.Argument(help="A .parquet, .csv or .jsonl file; or a folder, for all facts as they arrived."),
    ],
    directory: Directory = Here,
    days: Annotated[float | None, typer.Option(help="Days of the log; default: all of it.")] = None,
) -> None:
    """Write decisions with feedback for other tools, or everything for another store; `bondhu import` reads it."""
    from bondhu.erasing import note_export
    from bondhu.imports import export_facts
    from bondhu.log.export import export as write
    from bondhu.train.window import DAY

    deployment = opened(directory)
    if not path.suffix:
        if days is not None:
            fix = "Name a .parquet, .csv or .jsonl file, or leave --days out."
            raise InvalidInput("A folder takes the whole log.", field="days", value=days, fix=fix)
        written = export_facts(deployment, path)
        note_export(deployment, path, written.decisions)
        screen.say(f"Wrote {written.decisions:,} decisions and {written.feedback:,} feedback to {path}.")
        _tell_of_archive(deployment, float("-inf"))
        return
    start = float("-inf") if days is None else deployment.now() - days * DAY
    with screen.console.status("Writing …"):
        records = deployment.deployment.log.read(deployment.domain.name, start, float("inf"))
        rows = write(records, deployment.domain, path, now=deployment.now())
    note_export(deployment, path, rows)
    screen.say(f"Wrote {rows:,} decisions to {path}.")
    _tell_of_archive(deployment, start)


def _tell_of_archive(deployment: App, start: float) -> None:
    """How many decisions since `start`, in seconds, an export leaves out: those that have left the log."""
    from bondhu.archives import archived

    left = sum(len(each.decisions) for each in archived(deployment, start, float("inf")))
    if left:
        folder = deployment.settings.store.archive
        screen.say(f"{left:,} more decisions are in the archive, and not in it: they are Parquet files in {folder}.")


@app.command()
def archive(
    directory: Directory = Here,
    days: Annotated[float | None, typer.Option(help="Of age; default: [store] retain_days.", min=0)] = None,
) -> None:
    """Move old decisions and their feedback from the log to Parquet files under [store] archive. Transcripts of
    conversations are not archived: they end with their decisions; `bondhu export FOLDER` before keeps them."""
    from bondhu.imports import archive_old

    moved = archive_old(opened(directory), days)
    if moved.pair is None:
        screen.say("Nothing is old enough.")
    else:
        screen.say(f"Moved {moved.decisions:,} decisions and {moved.feedback:,} feedback to {moved.pair.decisions}.")


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(help="A new file.")],
    directory: Directory = Here,
) -> None:
    """Copy the whole store as it is at one moment, while others write; the copy is checked."""
    from bondhu.erasing import note_backup

    deployment = opened(directory)
    with screen.console.status("Copying …"):
        deployment.log.backup(path)
        note_backup(deployment, path)
    screen.say(f"Wrote {path}: {path.stat().st_size / 2**20:,.1f} MiB, checked.")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="What `bondhu backup` wrote.")],
    directory: Directory = Here,
    replace: Annotated[bool, typer.Option("--replace", help="Give up what the store holds now.")] = False,
) -> None:
    """Put a backup in the place of the store, while no server is running; the backup is checked first."""
    from bondhu.imports import restore_backup

    done = restore_backup(load(directory), path, replace=replace)
    screen.say(f"Restored {path} to {done.where}.")
    if done.carried:
        shown = ", ".join(f"{count:,} of kind {kind}" for kind, count in sorted(done.carried.items()))
        screen.say(f"Entries of the ledger that are newer were kept: {shown}.")
    if done.carried.get(ERASURE):
        screen.say("People who were erased since then are in the log again: erase them again.")
    if done.lost:
        screen.say(
            "The ledger of the damaged store could not be read. What was revoked since the backup is good again."
        )
        screen.say(f"Keys that are good now: {', '.join(done.good) or 'none'}.")
