"""The story of the demonstration: one version fails on trial, one never gets out, and one climbs to live."""

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
from bondhu.app import App, open_app
from bondhu.client import Client
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
from bondhu.demo.picture import Judged, Seen, Story, draw
from bondhu.domains import declared
from bondhu.domains import recommendation as recommendation_domain
from bondhu.domains.recommendation.planning import optimum
from bondhu.errors import BondhuError, Conflict
from bondhu.ports import Deployment
from bondhu.registry.lifecycle import BASELINE
from bondhu.registry.memory import MemoryRegistry
from bondhu.release.loop import Look
from bondhu.serve.decide import Decider
from bondhu.server import make_asgi
from bondhu.settings import FILE, load
from bondhu.train.judge import evaluation_batch
from bondhu.train.run import train
from bondhu.train.window import DAY
from bondhu.wiring import merged

EXPLORATION = 0.5  # share of random decisions while little is known
USERS = 6000  # different people in each week of learning
SESSIONS = 3  # of each of them in a week
DAILY = 1200  # people who come on a day of a release, with one session each
DAYS = 20  # of a release, at most
WRONG = 0.5  # share of the decisions of the first version that the application shows wrongly
SETTINGS = """\
# The demonstration's deployment. `bondhu status`, `bondhu history` and `bondhu serve` work on it as on any other.
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
automatic = true           # what passes the gate climbs, and is taken back, by itself
minimum_decisions = 500
"""


def run(directory: Path, *, seed: int, stay: bool) -> None:
    """Play the whole story in `directory`; at the end keep the API up while `stay`."""
    started = time.perf_counter()
    world = make_world(directory, seed)
    best = optimum(world.population, sample_of_people(world.population))
    story = Story(exact_value(world, None), best, [], [])
    screen.say(f"Simulated users meet a rule that earns {story.baseline:.3f} a decision; {best:.3f} is possible.")
    learn(world, story, "The first version")
    screen.say(f"On trial, a mistake in the application shows {WRONG:.0%} of what it decides as something else.")
    climb(world, story, wrong=WRONG)
    screen.say("The mistake is mended. People go on using the product.")
    learn(world, story, "The second version")
    poison(world)
    climb(world, story)
    with serving(world.app) as address:
        with screen.console.status("New people: the rule for half of them, the API for the other half …"):
            arms = compare(world, Client(address))
        report(world, story, arms)
        picture = draw(story, directory / "learning.png")
        screen.say(f"Picture: {picture}   ({time.perf_counter() - started:.0f} s)")
        farewell(address, directory, stay=stay)


def make_world(directory: Path, seed: int) -> World:
    """A fresh deployment whose clock stands two months back."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("data", "models"):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / FILE).write_text(SETTINGS, encoding="utf-8")
    clock = Clock(time.time() - 60 * DAY)
    return World(open_app(load(directory), now=clock), clock, np.random.default_rng(seed))


# -------------------------------------------------------------------------------------------------------- the acts


def learn(world: World, story: Story, name: str) -> None:
    """People use the product for a week; then the system trains, judges, and lets what passes into the shadow."""
    app, live, week = world.app, world.app.live(), f"week-{len(story.judged)}"
    decider = Decider(app.deployment, app.acting, exploration=EXPLORATION, now=world.clock)
    with screen.progress() as bar:
        task = bar.add_task("People use the product for a week", total=USERS * SESSIONS)
        traits = world.population.users(USERS, world.rng)
        for session in range(SESSIONS):
            world.clock.now += 7 * DAY / SESSIONS
            for ended in sessions(world, decider, traits, week, session):
                bar.advance(task, ended)
    world.clock.now += 1.01 * DAY  # until the last feedback is settled
    with screen.console.status("Training and judging …"):
        trained = app.train()
    version, judgement = trained.trained.version, trained.judgement
    assert version is not None, "a week of decisions always trains"
    assert judgement is not None, "people were kept back"
    batch, _ = evaluation_batch(app.deployment, trained.trained.window, app.settings.training.holdout)
    truths = [truth_on(world, app.acting(each), batch) for each in (version.id, live)]
    story.judged.append(Judged(name, judgement, *truths))
    gain, low, high = (judgement.verdict.figures[f"advantage_{each}"] for each in ("value", "low", "high"))
    screen.say(
        f"{name}: learned from {trained.trained.report.rows:,} decisions. Gain over the rule: judged {gain:+.3f} "
        f"[{low:+.3f}, {high:+.3f}], true {truths[0] - truths[1]:+.3f}."
    )
    tell(judgement.verdict.decision, judgement.verdict.reasons)


def climb(world: World, story: Story, wrong: float = 0.0) -> None:
    """Days pass, people come, and the release under way is looked at once a day, until it has ended.

    `wrong`: share of the trial's decisions that the application shows as something else: no log could foretell it.
    """
    app = world.app
    for day in range(DAYS):
        traits = world.population.users(DAILY, world.rng)
        tag = f"release-{len(story.judged)}-{day}"
        for _ in sessions(world, app.decider(), traits, tag, 0, wrong):
            pass
        world.clock.now += 1.01 * DAY
        look = app.look()
        if look is None:
            return
        story.seen.append(Seen.of(world.clock.now, story.judged[-1].name, look))
        if look.moved:
            screen.say(f"  Day {day + 1}: {described(look)}")
        if look.move.kind in ("promoted", "withdrawn"):
            return


def poison(world: World) -> None:
    """A version is trained where every signal counts for its opposite; the gate does not let it out."""
    app = world.app
    table = recommendation_domain.table()
    weights = {name: {"weight": -signal.weight} for name, signal in app.domain.reward.signals.items()}
    turned = declared.from_table(merged(table, {"reward": {"signals": weights}}))
    elsewhere = Deployment(turned, app.deployment.log, MemoryRegistry())
    version = train(elsewhere, app.plan(), now=app.now(), rng=world.rng).version
    assert version is not None, "there are decisions to learn from"
    app.deployment.registry.add(version, reason="trained elsewhere, where likes counted as dislikes")
    screen.say(f"A poisoned version arrives: it would earn {exact_value(world, version.id):.3f} a decision.")
    try:
        app.release(version.id, reason="it looked fine there", by="a colleague")
    except Conflict:
        verdict = app.verdicts(version.id)[-1]
        tell(verdict.figures["decision"], verdict.figures["reasons"])


def tell(decision: str, reasons: list[str] | tuple[str, ...]) -> None:
    """What the gate says and why."""
    screen.console.print(f"  The gate: [{screen.COLOURS[decision]}]{decision}[/]")
    for reason in reasons:
        screen.say(f"    · {reason}")


def described(look: Look) -> str:
    """One look in one line."""
    verb = {"tried": "on trial", "promoted": "live", "withdrawn": "taken back"}[look.move.kind]
    return f"{verb}. {' '.join(look.move.reasons)}"


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


# -------------------------------------------------------------------------------------------------------- the end


def report(world: World, story: Story, arms: list[Arm]) -> None:
    """How the estimators did, and what the new people got."""
    last = story.judged[-1]
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
