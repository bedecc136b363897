"""The command line: one sub-command, one call into the application."""

from __future__ import annotations

import getpass
import os
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from bondhu import __version__, screen
from bondhu.app import App, open_app
from bondhu.errors import BondhuError, InvalidInput
from bondhu.screen import experiments, releases
from bondhu.settings import load

app = typer.Typer(
    help="Learn which action to take in each context from feedback, and prove a policy before it ships.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Directory = Annotated[Path, typer.Option("--directory", "-C", help="Where bondhu.toml stands.")]
Here = Path(".")
Newest = Annotated[str | None, typer.Argument(help="Default: the newest.")]
Reason = Annotated[str, typer.Option(help="Kept in the history.")]


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


def _open(directory: Path) -> App:
    return open_app(load(directory))


def _operator() -> str:
    """Who is at the keyboard, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know its users by number only
        return f"user {os.getuid()}"


@app.command()
def version() -> None:
    """Show the release."""
    screen.say(f"bondhu {__version__}")


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where to write bondhu.toml.")] = Here,
    domain: Annotated[str, typer.Option(help="'example' to declare your own, or 'recommendation'.")] = "example",
) -> None:
    """Write a commented bondhu.toml."""
    from bondhu.domains.declared import template
    from bondhu.errors import nearest

    if domain not in ("example", "recommendation"):
        raise InvalidInput(
            f"There is no domain {domain!r}.", field="domain", fix=nearest(domain, ["example", "recommendation"])
        )
    file = directory / "bondhu.toml"
    if file.exists():
        raise InvalidInput(f"{file} is there already.", field="directory", fix="Edit it, or choose another directory.")
    directory.mkdir(parents=True, exist_ok=True)
    problem = template() if domain == "example" else '[domain]\nextends = "recommendation"\n'
    file.write_text(problem + resources.files("bondhu").joinpath("template.toml").read_text("utf-8"), encoding="utf-8")
    screen.say(f"Wrote {file}. Read it, change it, then start with `bondhu serve` or `bondhu import`.")


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(help="A folder for the demonstration; its data is made anew.")] = Path(
        "demo"
    ),
    stay: Annotated[bool | None, typer.Option(help="Keep the API running afterwards; default: at a terminal.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated users.")] = 0,
) -> None:
    """Watch a policy learn from simulated users and beat the rule it replaces."""
    from bondhu.demo.story import run

    run(directory, seed=seed, stay=sys.stdout.isatty() if stay is None else stay)


@app.command()
def serve(
    directory: Directory = Here,
    host: Annotated[str | None, typer.Option(help="Default: [server] host.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: [server] port.", min=0, max=65535)] = None,
) -> None:
    """Run the HTTP service with its weekly training."""
    from bondhu.server import serve as run

    deployment = _open(directory)
    run(deployment, host=host, port=port)


@app.command(name="import")
def import_(
    path: Annotated[Path, typer.Argument(help="CSV, JSONL, Parquet, an Open Bandit folder, or a Vowpal Wabbit log.")],
    directory: Directory = Here,
    kind: Annotated[str | None, typer.Option(help="Of the log, where its name and first line do not tell.")] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="part=column, such as action=arm or context.age=AGE.")
    ] = None,
    declare: Annotated[bool, typer.Option(help="Write a bondhu.toml that fits the log first.")] = False,
    strict: Annotated[bool, typer.Option(help="Import nothing if any row is refused.")] = False,
) -> None:
    """Bring in a log made elsewhere; every row is checked, and what is refused is reported with its reason."""
    from bondhu.imports import declare_from, import_log, mapping_of

    mapping = mapping_of(map_ or [])
    if declare:
        file = declare_from(path, directory, kind, mapping)
        screen.say(f"Wrote {file}: what the log holds, as a declaration. Read it before you rely on it.")
    screen.imported(import_log(_open(directory), path, kind, mapping, strict=strict))


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="To write: .parquet, .csv or .jsonl.")],
    directory: Directory = Here,
    days: Annotated[float | None, typer.Option(help="Days of the log; default: all of it.")] = None,
) -> None:
    """Write decisions with their feedback to a file that other tools, and `bondhu import`, read."""
    from bondhu.log.export import export as write
    from bondhu.train.window import DAY

    deployment = _open(directory)
    start = float("-inf") if days is None else deployment.now() - days * DAY
    with screen.console.status("Writing …"):
        rows = write(
            deployment.deployment.log.read(deployment.domain.name, start, float("inf")), deployment.domain, path
        )
    screen.say(f"Wrote {rows:,} decisions to {path}.")


@app.command()
def train(
    directory: Directory = Here,
    days: Annotated[float | None, typer.Option(help="Days of feedback to read; default: [training] days_back.")] = None,
    from_scratch: Annotated[bool, typer.Option(help="Forget earlier versions and read the whole log.")] = False,
    imitate: Annotated[bool, typer.Option(help="Learn what the application did by itself (apprentice).")] = False,
) -> None:
    """Learn from the log; stores a candidate, judges it, and begins its release where that is automatic."""
    from dataclasses import replace

    deployment = _open(directory)
    plan = replace(deployment.plan(), from_scratch=from_scratch, imitate=imitate)
    if days is not None:
        plan = replace(plan, days_back=days)
    with screen.console.status("Training …"):
        run = deployment.train(plan)
    if imitate and run.trained.version is None:
        screen.say("No decision was the application's own: set [release] apprentice = true, and send `default` along.")
        return
    screen.training(run)


@app.command()
def evaluate(  # noqa: PLR0913, PLR0917  each is an option
    directory: Directory = Here,
    version: Annotated[str | None, typer.Argument(help="Default: the newest.")] = None,
    against: Annotated[
        str | None, typer.Option(help="A version or 'baseline'; default: the live one, or what it replaced.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="Days of the log to read; default: all of it.")] = None,
    holdout: Annotated[
        float | None,
        typer.Option(help="Share of people kept back; 0: everybody, on decisions later than it learned from."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page with pictures.")] = None,
    every: Annotated[bool, typer.Option("--every", help="Ask every estimator, and which errs the least.")] = False,
) -> None:
    """Estimate a version on logged decisions of people it was not trained on, and ask the gate."""
    from bondhu.registry.lifecycle import BASELINE
    from bondhu.train.window import DAY, Window

    deployment = _open(directory)
    now = deployment.now()
    window = Window(float("-inf") if days is None else now - days * DAY, now)
    name = version if version == BASELINE else deployment.candidate(version)
    with screen.console.status("Evaluating …"):
        judgement = deployment.evaluate(name, against=against, window=window, holdout=holdout)
    against = against or deployment.opponent(name)
    screen.judgement(name, against, judgement)
    if html is not None or every:
        from bondhu.studying import study

        with screen.console.status("Asking every estimator …"):
            found = study(deployment, name, against=against, window=window, judgement=judgement)
        if every:
            experiments.study(found)
        if html is not None:
            from bondhu.report.page import write

            write(found, html)
            screen.say(f"Wrote {html}: one page, with pictures.")


@app.command()
def release(
    directory: Directory = Here,
    version: Newest = None,
    reason: Reason = "by hand",
    unproven: Annotated[bool, typer.Option(help="Whatever the gate says.")] = False,
) -> None:
    """Begin the release of a version that the gate lets pass: shadow, trials at growing shares, live."""
    deployment = _open(directory)
    with screen.console.status("Asking the gate …"):
        found = deployment.release(version, reason=reason, by=_operator(), unproven=unproven)
    releases.look(found)


@app.command()
def look(directory: Directory = Here) -> None:
    """Look at the release under way, and take its next step if the rules say so (the server does by itself)."""
    releases.look(_open(directory).look())


@app.command()
def watch(directory: Directory = Here) -> None:
    """Look for drift and falling rewards with their cause, alert, and take back what is to blame where that is
    automatic; exit status 1 for anything found."""
    from bondhu.watching import watch as run

    with screen.console.status("Reading the last weeks …"):
        watched = run(_open(directory))
    releases.watched(watched)
    if any(each.severity != "info" for each in watched.findings):
        raise typer.Exit(1)


@app.command()
def withdraw(directory: Directory = Here, reason: Reason = "by hand") -> None:
    """End the release under way."""
    screen.say(f"{_open(directory).withdraw(reason=reason, by=_operator())} is withdrawn.")


@app.command()
def promote(
    directory: Directory = Here,
    version: Newest = None,
    reason: Reason = "by hand",
    over: Annotated[str | None, typer.Option(help="Only if this version is live, or 'baseline'.")] = None,
) -> None:
    """Put any version in force for everybody, at once."""
    name = _open(directory).promote(version, reason=reason, by=_operator(), over=over)
    screen.say(f"{name} is live.")


@app.command()
def rollback(directory: Directory = Here, reason: Reason = "by hand") -> None:
    """Put the version before the live one in force again."""
    name = _open(directory).rollback(reason=reason, by=_operator())
    screen.say(f"{name} is live again.")


@app.command()
def stop(directory: Directory = Here, reason: Reason = "by hand") -> None:
    """The kill switch: the rule decides for everybody, and nothing is released by itself until somebody acts."""
    _open(directory).stop(reason=reason, by=_operator())
    screen.say("The rule decides for everybody, and nothing is released by itself until somebody promotes or releases.")


@app.command()
def experiment(
    directory: Directory = Here,
    treated: Annotated[str, typer.Option(help="A variant: 'trial', or 'live'.")] = "trial",
    control: Annotated[str, typer.Option(help="What it is compared with: 'live', or 'holdout'.")] = "live",
    by: Annotated[list[str] | None, typer.Option(help="Fields of the context to tell segments by.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="More: a signal, or the ratio of two, such as share/like.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="Default: since the release under way began.")] = None,
) -> None:
    """Show what the people of two variants say: the effect, and whether they are split as they were to be."""
    from bondhu.experimenting import Question, analysis

    asked = Question(treated, control, tuple(metric or ()), tuple(by or ()), days)
    experiments.analysis(analysis(_open(directory), asked))


@app.command()
def plan(
    directory: Directory = Here,
    effect: Annotated[float, typer.Option(help="Reward of a decision that is worth finding.", min=1e-9)] = 0.05,
    power: Annotated[float, typer.Option(help="Chance to find it.", min=0.5, max=0.99)] = 0.8,
    within: Annotated[int, typer.Option(help="Days, to say what can be found in them.", min=1, max=365)] = 14,
) -> None:
    """Say how many days and people a release takes to find an effect, from the traffic of the last four weeks."""
    from bondhu.experimenting import findable, planned

    deployment = _open(directory)
    found, traffic = planned(deployment, effect, power=power)
    experiments.plan(found, traffic, within, findable(deployment, within, power=power))


@app.command()
def replay(
    directory: Directory = Here,
    learner: Annotated[str | None, typer.Option(help="Default: that of the settings.")] = None,
) -> None:
    """Play the log to a learner with its own exploration: what it would have earned while it learned."""
    from bondhu.experimenting import replayed

    with screen.console.status("Playing the log …"):
        found = replayed(_open(directory), learner)
    experiments.replayed(found)


@app.command()
def history(
    directory: Directory = Here,
    limit: Annotated[int, typer.Option(help="The latest events.", min=1)] = 30,
) -> None:
    """Show every transition of every version: when, by whom or what, why, and what changed in it."""
    releases.history(_open(directory), limit)


@app.command()
def verdicts(
    directory: Directory = Here,
    version: Annotated[str | None, typer.Argument(help="Default: all of them.")] = None,
) -> None:
    """Show what the gate said, with every figure it looked at."""
    releases.verdicts(_open(directory).verdicts(version))


@app.command()
def status(directory: Directory = Here) -> None:
    """Show what is live, what was learned and what the log holds."""
    releases.status(_open(directory))


@app.command()
def doctor(directory: Directory = Here) -> None:
    """Look for the usual troubles; exit status 1 where there are any."""
    from bondhu.monitor.doctor import examine

    findings = examine(_open(directory).facts())
    screen.findings(findings)
    if findings:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
