"""What interactions and conversations tell: their records, trackers, and records for training models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bondhu import screen
from bondhu.app import App
from bondhu.cli.shared import Directory, Here, app, opened
from bondhu.log.checks import encode
from bondhu.train.window import DAY

Days = Annotated[float | None, typer.Option(help="Days of the log; default: all of it.", min=0)]


@app.command()
def interactions(
    directory: Directory = Here,
    user: Annotated[str | None, typer.Option(help="As your application sends it, or as it is stored.")] = None,
    session: Annotated[str | None, typer.Option(help="The same.")] = None,
    days: Days = None,
    limit: Annotated[int, typer.Option(help="The newest of them.", min=1)] = 20,
    json: Annotated[bool, typer.Option("--json", help="Whole records, one a line.")] = False,
) -> None:
    """Show the record of each interaction: how it was decided, what was expected, what came of it, and the totals."""
    from bondhu.recording import Wanted, plain
    from bondhu.recording import interactions as read
    from bondhu.screen.interactions import interactions as show

    deployment = opened(directory)
    shown = read(deployment, Wanted(user, session, _since(deployment, days), limit))
    if json:
        for each in shown.records:
            typer.echo(encode(plain(each)).decode())
        return
    show(shown.records, shown.totals, shown.found)


@app.command()
def track(
    to: Annotated[list[str], typer.Option(help="mlflow:ADDRESS, tensorboard:FOLDER or wandb:FOLDER.")],
    directory: Directory = Here,
    days: Annotated[float | None, typer.Option(help="Days back; default: since the last time.", min=0)] = None,
) -> None:
    """Tell trackers of interactions, trainings, versions and conversations; again: only of what is new."""
    from bondhu.corpora.tracking import target_of
    from bondhu.corpora.tracking import track as tell

    deployment = opened(directory)
    targets = [target_of(each) for each in to]
    for target in targets:
        with screen.console.status(f"Telling {target.kind} …"):
            told = tell(deployment, target, _since(deployment, days))
        screen.say(
            f"Told {target.name}: interactions {told.interactions:,}, trainings {told.trainings:,},"
            f" conversations {told.conversations:,}."
        )


@app.command(name="export-training")
def export_training(
    kind: Annotated[str, typer.Argument(help="preferences, prompt-completion, binary or trajectories.")],
    path: Annotated[Path, typer.Argument(help="A new folder.")],
    directory: Directory = Here,
    form: Annotated[str, typer.Option("--format", help="jsonl or parquet.")] = "jsonl",
    test: Annotated[float, typer.Option(help="Share of people in the test split.")] = 0.1,
    days: Days = None,
) -> None:
    """Write conversations as records for training models (TRL's formats), with a card of what was left out and why."""
    from bondhu.corpora.exporting import export_training as write
    from bondhu.corpora.wanted import Wanted

    deployment = opened(directory)
    with screen.console.status("Writing …"):
        done = write(deployment, Wanted(kind, form, test, _since(deployment, days)), path)
    shown = ", ".join(f"{count:,} in {name}" for name, count in done.rows.items())
    screen.say(f"Wrote {sum(done.rows.values()):,} records to {path}: {shown}.")
    screen.say(f"They hold {done.used:,} of {done.turns:,} turns. {path / 'README.md'} says what they are.")
    rows = [[why, f"{count:,}"] for why, count in done.left_out.most_common()]
    if rows:
        screen.table("Left out", ["why", "turns"], rows)


def _since(deployment: App, days: float | None) -> float:
    return float("-inf") if days is None else deployment.now() - days * DAY
