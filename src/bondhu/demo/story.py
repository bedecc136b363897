"""The story of the demonstration: three weeks of learning with a gate at each end, then a comparison over the API."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import uvicorn

from bondhu import screen
from bondhu.app import App, TrainingRun, open_app
from bondhu.demo.people import (
    NEW_USERS,
    Arm,
    Clock,
    World,
    compare,
    exact_value,
    sample_of_people,
    sessions,
    truth_on,
)
from bondhu.demo.picture import Story, Week, draw
from bondhu.domains.recommendation.planning import optimum
from bondhu.errors import BondhuError
from bondhu.registry.lifecycle import BASELINE
from bondhu.serve.client import Client
from bondhu.serve.decide import Decider
from bondhu.server import make_asgi
from bondhu.settings import FILE, load
from bondhu.train.judge import evaluation_batch
from bondhu.train.window import DAY

EXPLORATION = (0.5, 0.4, 0.3)  # share of random decisions in each week: much while little is known
USERS = (6000, 3000, 3000)  # different people every week
SESSIONS = 3  # of each of them in a week
SETTINGS = """\
# The demonstration's deployment. `bondhu status`, `bondhu evaluate` and `bondhu serve` work on it as on any other.
[domain]
extends = "recommendation"

[learner]
name = "tabular.q_learning"
learning_rate = 1.0
step_power = 1.0           # the mean of what was seen
discount = 0.3             # moods carry over within a session, a little
passes = 3
pessimism = 1.0            # act on Q - 1 / √tries: what was lucky once is not trusted

[exploration]
rate = 0.05

[release]
automatic = true           # a candidate that passes the gate goes live by itself
shadow = false
steps = []                 # at once
"""


def run(directory: Path, *, seed: int, stay: bool) -> None:
    """Play the whole story in `directory`; at the end keep the API up while `stay`."""
    started = time.perf_counter()
    world = make_world(directory, seed)
    truth = exact_value(world, None)
    story = Story(baseline=truth, optimum=optimum(world.population, sample_of_people(world.population)), weeks=[])
    screen.console.print(
        f"Simulated users meet a rule that earns {truth:.3f} a decision; {story.optimum:.3f} is possible."
    )
    for number, (users, exploration) in enumerate(zip(USERS, EXPLORATION, strict=True), start=1):
        story.weeks.append(play_week(world, number, users, exploration))
    with serving(world.app) as address:
        with screen.console.status("New people: the rule for half of them, the API for the other half …"):
            arms = compare(world, Client(address))
        report(world, story, arms)
        picture = draw(story, directory / "learning.png")
        screen.console.print(f"Picture: {picture}   ({time.perf_counter() - started:.0f} s)")
        farewell(address, directory, stay=stay)


def make_world(directory: Path, seed: int) -> World:
    """A fresh deployment whose clock stands four weeks back."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("data", "models"):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / FILE).write_text(SETTINGS, encoding="utf-8")
    clock = Clock(time.time() - 8 * DAY * len(EXPLORATION) - DAY)
    return World(open_app(load(directory), now=clock), clock, np.random.default_rng(seed))


def play_week(world: World, number: int, users: int, exploration: float) -> Week:
    """People use the product for a week; then the system trains, judges and perhaps promotes."""
    app, live = world.app, world.app.live()
    decider = Decider(app.deployment, app.acting, exploration=exploration, now=world.clock)
    with screen.progress() as bar:
        task = bar.add_task(f"Week {number}: people use the product", total=users * SESSIONS)
        traits = world.population.users(users, world.rng)
        for session in range(SESSIONS):
            world.clock.now += 7 * DAY / SESSIONS
            for ended in sessions(world, decider, traits, f"week-{number}", session):
                bar.advance(task, ended)
    world.clock.now += 1.01 * DAY  # until the last feedback is settled
    with screen.console.status(f"Week {number}: training and judging …"):
        trained = app.train()
    week = judged(world, number, live, trained)
    tell(week, trained)
    return week


def judged(world: World, number: int, live: str | None, trained: TrainingRun) -> Week:
    """The week's figures, with the truth that only a simulator knows."""
    assert trained.judgement is not None, "a week of decisions always trains"
    assert trained.trained.version is not None
    batch, _ = evaluation_batch(world.app.deployment, trained.trained.window, world.app.settings.training.holdout)
    candidate = world.app.acting(trained.trained.version.id)
    return Week(
        number=number,
        live_value=exact_value(world, live),
        candidate_value=exact_value(world, candidate.version),
        candidate_truth=truth_on(world, candidate, batch),
        live_truth=truth_on(world, world.app.acting(live), batch),
        judgement=trained.judgement,
    )


@contextmanager
def serving(app: App) -> Iterator[str]:
    """The HTTP service of the deployment, in this process at a free port; yields its address."""
    present = replace(app, now=time.time)  # people come in real time from here on
    server = uvicorn.Server(uvicorn.Config(make_asgi(present), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise BondhuError("The server did not start.", fix="Its messages stand above.")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


# -------------------------------------------------------------------------------------------------------- telling


def tell(week: Week, run: TrainingRun) -> None:
    """One week in two lines."""
    verdict = week.judgement.verdict
    gain, low, high = (verdict.figures[f"advantage_{name}"] for name in ("value", "low", "high"))
    truth = week.candidate_truth - week.live_truth
    screen.console.print(
        f"Week {week.number}: learned from {run.trained.report.rows:,} decisions.\n"
        f"  Gain over the live policy: judged {gain:+.3f} [{low:+.3f}, {high:+.3f}], true {truth:+.3f}: "
        f"[{screen.COLOURS[verdict.decision]}]{verdict.decision}[/]"
    )


def report(world: World, story: Story, arms: list[Arm]) -> None:
    """How the estimators did, and what the new people got."""
    last = story.weeks[-1]
    names = {
        "candidate": (last.judgement.candidate, last.candidate_truth),
        "in force": (last.judgement.live, last.live_truth),
    }
    rows = [
        (policy, name, *screen.estimate(each), f"{truth:.4f}")
        for policy, (estimates, truth) in names.items()
        for name, each in estimates.items()
    ]
    columns = ("policy", "estimator", "mean reward", "95 % interval", "effective samples", "truth")
    screen.table(
        f"Judged before release, on {last.judgement.report.rows:,} decisions of held-out people", columns, rows
    )
    screen.refusals({"candidate": last.judgement.candidate, "in force": last.judgement.live})
    exact = {
        BASELINE: story.baseline,
        "learned": exact_value(world, world.app.live(), world.app.settings.exploration.rate),
    }
    gap = story.optimum - story.baseline
    rows = []
    for arm in arms:
        mean, low, high = arm.interval()
        share = f"{(exact[arm.name] - story.baseline) / gap:.0%}"
        rows.append(
            (
                arm.name,
                f"{len(arm.reward):,}",
                f"{mean:.4f}",
                f"[{low:.4f}, {high:.4f}]",
                f"{exact[arm.name]:.4f}",
                share,
            )
        )
    rows.append(("best possible", "", "", "", f"{story.optimum:.4f}", "100%"))
    columns = ("policy", "decisions", "mean reward", "95 % interval", "exact", "share of gain")
    explored = f"{world.app.settings.exploration.rate:.0%} at random"
    screen.table(f"Live: {NEW_USERS:,} new people each; the learned policy over HTTP, {explored}", columns, rows)


def farewell(address: str, directory: Path, *, stay: bool) -> None:
    """Where to go from here."""
    screen.console.print(f"The API runs at [bold]{address}[/] ({address}/openapi.json)")
    if not stay:
        screen.console.print(f"It stops now; start it again with: bondhu serve -C {directory}")
        return
    screen.console.print("Try it from another terminal; Ctrl-C stops it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        screen.console.print("Stopped.")
