"""To begin, to run, and to see how it stands."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from bondhu import __version__, screen
from bondhu.cli.shared import Directory, Here, app, opened
from bondhu.errors import InvalidInput
from bondhu.screen import releases


class Ways(StrEnum):
    """Who writes to SQLite."""

    auto = "auto"
    thread = "thread"
    process = "process"


@app.command()
def version() -> None:
    """Show the release."""
    screen.say(f"bondhu {__version__}")


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where to write bondhu.toml.")] = Here,
    domain: Annotated[
        str, typer.Option(help="'example' to declare your own, 'recommendation', 'personalizer' or 'assistant'.")
    ] = "example",
) -> None:
    """Write a commented bondhu.toml."""
    from bondhu.domains import assistant, declared, ranking
    from bondhu.errors import nearest

    rest = resources.files("bondhu").joinpath("template.toml").read_text("utf-8")
    texts = {
        "example": declared.template() + rest,
        "recommendation": '[domain]\nextends = "recommendation"\n' + rest,
        "personalizer": ranking.template(),
        "assistant": assistant.template(),
    }
    if domain not in texts:
        raise InvalidInput(f"There is no domain {domain!r}.", field="domain", fix=nearest(domain, texts))
    file = directory / "bondhu.toml"
    if file.exists():
        raise InvalidInput(f"{file} is there already.", field="directory", fix="Edit it, or choose another directory.")
    directory.mkdir(parents=True, exist_ok=True)
    file.write_text(texts[domain], encoding="utf-8")
    screen.say(f"Wrote {file}. Read it, change it, then start with `bondhu serve` or `bondhu import`.")


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(help="A folder for the demonstration; its data is made anew.")] = Path(
        "demo"
    ),
    stay: Annotated[bool | None, typer.Option(help="Keep the API running afterwards; default: at a terminal.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Serve, let people come, and watch it in the browser.")] = False,
    port: Annotated[int, typer.Option(help="With --live; 0: any that is free.", min=0, max=65535)] = 8000,
    seconds: Annotated[float | None, typer.Option(help="With --live: how long; default: until Ctrl-C.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated users.")] = 0,
) -> None:
    """Watch a policy learn from simulated users and beat the rule it replaces."""
    if live:
        from bondhu.demo.live import run as run_live

        run_live(directory, port=port, seed=seed, seconds=seconds)
        return
    from bondhu.demo.story import run

    run(directory, seed=seed, stay=sys.stdout.isatty() if stay is None else stay)


@app.command()
def serve(
    directory: Directory = Here,
    host: Annotated[str | None, typer.Option(help="Default: [server] host.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: [server] port.", min=0, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(help="Default: [server] workers.", min=1, max=64)] = None,
    writer: Annotated[Ways | None, typer.Option(help="Who writes to SQLite. Default: [server] writer.")] = None,
) -> None:
    """Run the HTTP service with its weekly training."""
    from bondhu.server import serve as run

    deployment = opened(directory)
    run(deployment, host=host, port=port, workers=workers, writer=writer.value if writer else None)


@app.command()
def reload(directory: Directory = Here) -> None:
    """Have the running server take over new settings, or a new release, without a break."""
    from bondhu.server.running import reload as told

    number = told(opened(directory))
    screen.say(f"Process {number} was told; its own messages say what came of it.")


@app.command()
def status(directory: Directory = Here) -> None:
    """Show what is live, what was learned and what the log holds."""
    releases.status(opened(directory))


@app.command()
def doctor(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Look at what `bondhu run` wrote to this folder instead.")
    ] = None,
    directory: Directory = Here,
    server: Annotated[str | None, typer.Option(help="Look at the server at this address instead.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="BONDHU_KEY", help="Of the role reader, to see its metrics.")
    ] = None,
) -> None:
    """Look for the usual troubles; exit status 1 where there are any."""
    from datetime import UTC, datetime

    from bondhu.monitor import diagnosis
    from bondhu.monitor.doctor import examine
    from bondhu.monitor.visit import visit

    if run is not None:
        findings = diagnosis.examine(diagnosis.read(run))
    elif server is not None:
        findings = visit(server, key, datetime.now(UTC))
    else:
        findings = examine(opened(directory).facts())
    screen.findings(findings)
    if findings:
        raise typer.Exit(1)
