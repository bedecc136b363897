"""To learn, and to prove what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bondhu import screen
from bondhu.cli.shared import Directory, Here, app, opened
from bondhu.screen import experiments, releases


@app.command()
def train(
    directory: Directory = Here,
    days: Annotated[float | None, typer.Option(help="Days of feedback to read; default: [training] days_back.")] = None,
    from_scratch: Annotated[bool, typer.Option(help="Forget earlier versions and read the whole log.")] = False,
    imitate: Annotated[bool, typer.Option(help="Learn what the application did by itself (apprentice).")] = False,
) -> None:
    """Learn from the log; stores a candidate, judges it, and begins its release where that is automatic."""
    from dataclasses import replace

    deployment = opened(directory)
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

    deployment = opened(directory)
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
def replay(
    directory: Directory = Here,
    decision: Annotated[str | None, typer.Argument(metavar="[ID]", help="A decision, to be decided again.")] = None,
    learner: Annotated[str | None, typer.Option(help="Default: that of the settings.")] = None,
) -> None:
    """Decide a logged decision again, bit for bit; without an ID, play the log to a learner with its own exploration:
    what it would have earned while it learned."""
    if decision is not None:
        audit = opened(directory).decider().explain(decision)
        screen.decided(audit)
        if not audit.replayed:
            raise typer.Exit(1)
        return
    from bondhu.experimenting import replayed

    with screen.console.status("Playing the log …"):
        found = replayed(opened(directory), learner)
    experiments.replayed(found)


@app.command()
def verdicts(
    directory: Directory = Here,
    version: Annotated[str | None, typer.Argument(help="Default: all of them.")] = None,
) -> None:
    """Show what the gate said, with every figure it looked at."""
    releases.verdicts(opened(directory).verdicts(version))


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
    experiments.analysis(analysis(opened(directory), asked))


@app.command()
def plan(
    directory: Directory = Here,
    effect: Annotated[float, typer.Option(help="Reward of a decision that is worth finding.", min=1e-9)] = 0.05,
    power: Annotated[float, typer.Option(help="Chance to find it.", min=0.5, max=0.99)] = 0.8,
    within: Annotated[int, typer.Option(help="Days, to say what can be found in them.", min=1, max=365)] = 14,
) -> None:
    """Say how many days and people a release takes to find an effect, from the traffic of the last four weeks."""
    from bondhu.experimenting import findable, planned

    deployment = opened(directory)
    found, traffic = planned(deployment, effect, power=power)
    experiments.plan(found, traffic, within, findable(deployment, within, power=power))
