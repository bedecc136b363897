"""A deployment with a past: people of the simulator, a rule, a version that went live, one on trial, one refused."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from bondhu.app import App, open_app
from bondhu.demo.people import Clock, World, sessions
from bondhu.errors import Conflict
from bondhu.ports import Task
from bondhu.registry import lifecycle
from bondhu.serve.decide import Decider
from bondhu.settings import FILE, load
from bondhu.train.window import DAY
from bondhu.watching import watch

SETTINGS = """\
[domain]
extends = "recommendation"

[learner]
name = "tabular.q_learning"
learning_rate = 1.0
step_power = 1.0
discount = 0.3
passes = 3
pessimism = 1.0

[exploration]
rate = 0.3

[training]
min_interactions_per_user = 1

[gate]
minimum_effective_samples = 50
minimum_average_reward = 0.0
maximum_exploration = 0.5

[release]
automatic = true
minimum_decisions = 150
holdout = 0.2
"""
LEARNING, DAILY = 500, 250  # people in a week of learning (three sessions each), and on a day of a release
FIRST, SECOND, POISONED = 0, 1, 2  # of the versions, as `App.versions` has them


def seed(directory: Path, *, random: int = 0) -> App:
    """Three weeks until now; the app as it stands, with the real clock."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILE).write_text(SETTINGS, encoding="utf-8")
    now = time.time()
    clock = Clock(now - 27 * DAY)
    world = World(open_app(load(directory), now=clock), clock, np.random.default_rng(random))
    app = world.app
    _week(world, "first")
    first = _trained(world)
    if lifecycle.traffic(app.events()).step is None:  # else the gate let it out by itself
        app.release(first, reason="the first one", by="ada", unproven=True)
    _days(world, "rising", 3)
    app.promote(first, reason="it earns more, and we are few", by="ada")
    _week(world, "second")
    second = _trained(world)
    if lifecycle.traffic(app.events()).step is not None:
        app.withdraw(reason="the shop was closed", by="grace")
    _refused(world, first)
    clock.now = now - 3.2 * DAY
    app.release(second, reason="more people were asked", by="grace", unproven=True)
    _days(world, "trial", 3)
    clock.now = now - 60.0
    watch(app)
    app.tasks.record(Task("rl_training", now - 4 * DAY, "failed", 0, 0, 0.4, {}, "The disk was full."))
    clock.now = now - 50.0
    _some_minutes_ago(world)
    return replace(app, now=time.time)


def _week(world: World, name: str) -> None:
    """A week in which people use the product, and their last feedback."""
    decider = _decider(world)
    traits = world.population.users(LEARNING, world.rng)
    for session in range(3):
        world.clock.now += 2 * DAY
        for _ in sessions(world, decider, traits, name, session):
            pass
    world.clock.now += 1.01 * DAY


def _decider(world: World) -> Decider:
    return world.app.decider()


def _days(world: World, name: str, number: int) -> None:
    """Days of a release, with a look at the end of each."""
    for day in range(number):
        traits = world.population.users(DAILY, world.rng)
        for _ in sessions(world, _decider(world), traits, f"{name}-{day}", 0):
            pass
        world.clock.now += 1.01 * DAY
        world.app.look()


def _trained(world: World) -> str:
    version = world.app.train().trained.version
    assert version is not None
    return version.id


def _refused(world: World, like: str) -> None:
    """A version whose values are turned round: the gate refuses it."""
    app = world.app
    stored = app.deployment.registry.load(like)
    state = {**stored.state, "values": -stored.state["values"]}
    poisoned = replace(stored, id=f"{stored.id}-turned", state=state, created=app.now(), parent=like)
    app.deployment.registry.add(poisoned, reason="trained elsewhere, where likes counted as dislikes")
    try:
        app.release(poisoned.id, reason="it looked fine there", by="a colleague")
    except Conflict:
        return
    raise AssertionError("the gate let a poisoned version pass")


def _some_minutes_ago(world: World) -> None:
    """Decisions of the last minute, which nobody can have said much about."""
    traits = world.population.users(40, world.rng)
    for _ in sessions(world, _decider(world), traits, "just now", 0):
        world.clock.now = min(world.clock.now, time.time() - 5.0)
