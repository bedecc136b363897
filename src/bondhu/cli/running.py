"""To train in environments: runs, sweeps over hyper-parameters, and what a trained policy earns."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bondhu import screen
from bondhu.cli.shared import app
from bondhu.errors import InvalidInput

if TYPE_CHECKING:
    from bondhu.runs.plan import Plan
    from bondhu.runs.run import Done

INTERRUPTED = 130  # as shells have it: 128 and the number of the signal
Environment = Annotated[str, typer.Argument(metavar="ENV", help="Such as CartPole-v1, ALE/Pong-v5, envpool:Ant-v4.")]
Learner = Annotated[str, typer.Option(help="Of the catalogue, such as deep.ppo.")]
Steps = Annotated[
    str | None,
    typer.Option(help="In all environments together: 1e6, 100_000; up to one phase more. Default: the preset's."),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="A hyper-parameter: learning_rate=1e-3.")]
Option = Annotated[list[str] | None, typer.Option("--option", help="Of the environment: gravity=9.8.")]
PresetName = Annotated[str | None, typer.Option(help="Its name, or a TOML file. Default: the one that fits.")]
NoPreset = Annotated[bool, typer.Option("--no-preset", help="Only defaults, and what is set here.")]
Side = Annotated[int | None, typer.Option(help="Environments side by side.", min=1)]
Phase = Annotated[int | None, typer.Option(help="Steps in each environment between updates.", min=1)]
Episodes = Annotated[int | None, typer.Option(help="Of an evaluation.", min=1)]
Workers = Annotated[
    int | None,
    typer.Option(help="That play and learn at their own pace (deep.a3c); of several, no run comes out twice.", min=1),
]
Kind = Annotated[str | None, typer.Option(help="Of workers: threads (the default), processes or ray.")]
Every = Annotated[str | None, typer.Option(help="Steps.")]


@app.command()
def run(  # noqa: PLR0913, PLR0917  each is an option
    environment: Annotated[str | None, typer.Argument(metavar="[ENV]", help="Such as CartPole-v1.")] = None,
    learner: Annotated[str | None, typer.Option(help="Of the catalogue. Default: deep.ppo.")] = None,
    steps: Steps = None,
    seed: Annotated[str | None, typer.Option(help="3, 1..5 or 1,4,7. Default: 0.")] = None,
    set_: Set = None,
    option: Option = None,
    preset: PresetName = None,
    no_preset: NoPreset = False,
    environments: Side = None,
    phase: Phase = None,
    track: Annotated[str | None, typer.Option(help="Of jsonl (the default), tensorboard, mlflow and wandb.")] = None,
    evaluate_every: Every = None,
    episodes: Episodes = None,
    checkpoint_every: Every = None,
    patience: Annotated[int | None, typer.Option(help="Evaluations without a better one, then stop.", min=1)] = None,
    until: Annotated[float | None, typer.Option(help="Stop when an evaluation returns so much.")] = None,
    video: Annotated[bool, typer.Option("--video", help="Film an episode when the run ends.")] = False,
    jobs: Annotated[int, typer.Option(help="Seeds at a time, a process each.", min=1)] = 1,
    workers: Workers = None,
    kind: Kind = None,
    folder: Annotated[Path | None, typer.Option(help="Default: runs/ENV-LEARNER-DATE.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run of this folder.")] = None,
) -> None:
    """Train a learner in an environment; everything is kept in a folder, and Ctrl-C loses nothing."""
    with interruptible():
        from bondhu.runs import planning, seeds
    given, wishes = planning.settings(set_ or ()), {
        "steps": planning.count(steps) if steps else None,
        "options": planning.settings(option, "--option") if option else None,
        "environments": environments, "phase": phase, "workers": workers, "kind": kind,
        "evaluate_every": planning.count(evaluate_every) if evaluate_every else None,
        "checkpoint_every": planning.count(checkpoint_every) if checkpoint_every else None,
        "episodes": episodes, "patience": patience, "until": until, "video": video or None,
        "track": tuple(track.split(",")) if track else None,
    }  # fmt: skip
    if resume is not None:
        _refused({"--seed": seed, "--preset": preset, "--no-preset": no_preset, "--folder": folder})
        change = _change(environment, learner, wishes, given)
        return _say(seeds.resumed(resume, change, screen.console, jobs), resume)
    if environment is None:
        raise InvalidInput("Which environment?", field="environment", fix="Write bondhu run ENV, or --resume FOLDER.")
    learner, numbers = learner or "deep.ppo", seeds.numbers(seed or "0")
    with interruptible():
        found, said = planning.preset_for(environment, learner, preset, none=no_preset)
        plan = planning.planned(environment, learner, found, wishes, given)
    home = folder or _named(environment, learner)
    _tell(plan, f"{said} {plan.steps:,} steps of {_side_by_side(plan)}, in {home}.")
    _say(seeds.every(plan, numbers, home, screen.console, jobs), home)


@app.command()
def sweep(  # noqa: PLR0913, PLR0917  each is an option
    environment: Environment,
    space: Annotated[Path, typer.Option(help="TOML: a table with low and high, or choices, for each name.")],
    learner: Learner = "deep.ppo",
    steps: Steps = None,
    trials: Annotated[int, typer.Option(help="In all, those of before as well.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Of every trial; report other seeds.", min=0)] = 100,
    set_: Set = None,
    option: Option = None,
    preset: PresetName = None,
    no_preset: NoPreset = False,
    environments: Side = None,
    phase: Phase = None,
    episodes: Episodes = None,
    folder: Annotated[Path | None, typer.Option(help="Default: sweeps/ENV-LEARNER. It goes on where it was.")] = None,
) -> None:
    """Search for hyper-parameters; writes best.toml for `bondhu run --preset`."""
    with interruptible():
        from bondhu.runs import planning, seeds
        from bondhu.runs import sweep as sweeping

    wishes = {
        "steps": planning.count(steps) if steps else None,
        "options": planning.settings(option, "--option") if option else None,
        "environments": environments,
        "phase": phase,
        "episodes": episodes,
        "seed": seed,
    }
    with interruptible():
        ranges = sweeping.space_in(space, learner)
        found, said = planning.preset_for(environment, learner, preset, none=no_preset)
        plan = planning.planned(environment, learner, found, wishes, planning.settings(set_ or ()))
    home = folder or Path("sweeps") / _plain(f"{environment}-{learner}")
    _tell(plan, f"{said} Trials of {plan.steps:,} steps, in {home}.")
    with seeds.asked_to_stop() as asked:
        done = sweeping.sweep(plan, ranges, home, trials, ask=asked, tell=screen.say)
    if done.value is None:
        screen.say("No trial is over yet; the same command goes on.")
        return
    trials_over = f"{done.trials} trial" + "s" * (done.trials != 1)
    screen.say(f"{trials_over}, {done.pruned} of them pruned; the best returned {done.value:.6g}.")
    screen.say(f"bondhu run {environment} --learner {learner} --preset {home / sweeping.BEST}")


@app.command()
def play(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="What `bondhu run` wrote.")],
    episodes: Annotated[int, typer.Option(help="To play.", min=1)] = 10,
    explore: Annotated[bool, typer.Option("--explore", help="As it explores; else as it prefers.")] = False,
    last: Annotated[bool, typer.Option("--last", help="The last state; else the best one.")] = False,
    video: Annotated[bool, typer.Option("--video", help="Film one more episode.")] = False,
) -> None:
    """Show what a trained policy earns."""
    with interruptible():
        from bondhu.runs.playing import play as played

    done = played(folder, episodes=episodes, explore=explore, last=last, video=video)
    returns, lengths = done.evaluation
    screen.say(f"{done.plan.name}, after {int(done.checkpoint.name):,} steps:")
    screen.table(
        f"{len(returns)} episode" + "s" * (len(returns) != 1),
        ["episode", "return", "steps"],
        [
            [number, f"{each:,.6g}", length]
            for number, (each, length) in enumerate(zip(returns, lengths, strict=True), 1)
        ],
    )
    screen.say(f"mean {returns.mean():,.6g}, from {returns.min():,.6g} to {returns.max():,.6g}")
    if done.film is not None:
        screen.say(f"Wrote {done.film.path}: {done.film.frames} frames, return {done.film.total_reward:,.6g}.")


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C while packages are imported and before anything is written: one line, and the end of the process. An
    exception would be a traceback, or lost: JAX's import has callbacks in which Python ignores what is raised."""

    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(2, b"Interrupted before anything began.\n")
        os._exit(INTERRUPTED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _side_by_side(plan: Plan) -> str:
    """The environments of a run, and who plays in them."""
    count = f"{plan.environments} environment" + "s" * (plan.environments != 1)
    who = f"each of {plan.workers} workers" if plan.workers > 1 else "one worker"
    return f"{count} for {who} ({plan.kind})" if plan.shared else count


def _tell(plan: Plan, begins: str) -> None:
    """What begins, and what may be wrong with it."""
    from bondhu.runs import planning

    screen.say(begins)
    if warning := planning.warning(plan.learner, plan.hyperparameters):
        screen.say(warning)


def _refused(options: Mapping[str, Any]) -> None:
    """What makes no sense of a run that goes on."""
    for name, value in options.items():
        if value:
            fix = "Leave it out, or begin a new run without --resume."
            raise InvalidInput(f"{name} cannot be changed by --resume.", field=name, value=str(value), fix=fix)


def _change(
    environment: str | None, learner: str | None, wishes: dict[str, Any], hyperparameters: dict[str, Any]
) -> Any:
    """What is asked of a run that goes on; what it cannot change, its checkpoint refuses."""
    said = {name: value for name, value in wishes.items() if value is not None}

    def changed(plan: Plan) -> Plan:
        if learner not in {None, plan.learner}:  # before its hyper-parameters are given to another
            what, fix = f"The run was begun with {plan.learner}, not with {learner}.", "Leave --learner out."
            raise InvalidInput(what, field="learner", value=learner, fix=fix)
        together = {**plan.hyperparameters, **hyperparameters}
        return replace(plan, environment=environment or plan.environment, hyperparameters=together, **said)

    return changed


def _say(done: list[Done], folder: Path) -> None:
    """What came of each seed, and of all."""
    from bondhu.runs import results

    for each in done:
        screen.say(f"{each.folder}: {each.status} after {each.progress.steps:,} steps, since {each.why}.")
    if any(each.status == "stopped" for each in done):
        screen.say(f"Everything is kept: `bondhu run --resume {folder}` goes on.")
    last = results.read(folder).get("last")
    if last and last.get("iqm") is not None:
        sure = f" ({last['low']:,.6g} to {last['high']:,.6g})" if last["low"] is not None else ""
        seeds = f"{last['seeds']} seed" + "s" * (last["seeds"] > 1)
        screen.say(f"Interquartile mean of the last evaluations of {seeds}: {last['iqm']:,.6g}{sure}.")


def _named(environment: str, learner: str) -> Path:
    return Path("runs") / _plain(f"{environment}-{learner}-{datetime.now(UTC):%Y%m%d-%H%M%S}")


def _plain(name: str) -> str:
    """As the name of a folder."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
