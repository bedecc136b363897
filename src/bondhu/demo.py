"""The demonstration: simulated users, three weeks of learning, a gate at each end, and a comparison over the live API."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from bondhu import screen
from bondhu.app import App, TrainingRun, open_app
from bondhu.demo_picture import Story, Week, draw
from bondhu.domains.recommendation import TRAITS
from bondhu.domains.recommendation.planning import optimum, value_of
from bondhu.domains.recommendation.simulator import SHAPE, Population
from bondhu.equations.intervals import student
from bondhu.errors import BondhuError
from bondhu.registry.lifecycle import BASELINE
from bondhu.serve.client import Client
from bondhu.serve.decide import Decider, Request, Said
from bondhu.server import make_asgi
from bondhu.settings import FILE, load
from bondhu.train.judge import evaluation_batch
from bondhu.train.window import DAY
from bondhu.types import Acting, Batch, Booleans, Decision, Feedback, Floats, Integers

EXPLORATION = (0.5, 0.3, 0.15)  # share of random decisions in each week: much while little is known
USERS = (6000, 4000, 4000)  # different people every week
SESSIONS = 3  # of each of them in a week
NEW_USERS = 1500  # in each arm of the comparison at the end
MINUTE = 60.0  # seconds
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

[training]
auto_promote = true        # a candidate that passes the gate goes live by itself
"""


@dataclass
class Clock:
    """The simulated time, in UNIX seconds."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class World:
    """Simulated people and the deployment that decides for them."""

    app: App
    clock: Clock
    rng: np.random.Generator
    population: Population = field(default_factory=Population)


def run(directory: Path, *, seed: int, stay: bool) -> None:
    """Play the whole story in `directory`; at the end keep the API up while `stay`."""
    started = time.perf_counter()
    world = make_world(directory, seed)
    truth = exact_values(world, None)
    story = Story(baseline=truth, optimum=optimum(world.population, sample_of_people(world.population)), weeks=[])
    screen.console.print(
        f"Simulated users meet a rule that earns {truth:.3f} a decision; {story.optimum:.3f} is possible."
    )
    for number, (users, exploration) in enumerate(zip(USERS, EXPLORATION, strict=True), start=1):
        story.weeks.append(play_week(world, number, users, exploration))
    with serving(world.app) as address:
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


# --------------------------------------------------------------------------------------------------------- three weeks


def play_week(world: World, number: int, users: int, exploration: float) -> Week:
    """People use the product for a week; then the system trains, judges and perhaps promotes."""
    app, live = world.app, world.app.live()
    decider = Decider(app.deployment, app.acting, exploration=exploration, now=world.clock)
    with screen.progress() as bar:
        task = bar.add_task(f"Week {number}: people use the product", total=users * SESSIONS)
        traits = world.population.users(users, world.rng)
        for _ in range(SESSIONS):
            world.clock.now += 7 * DAY / SESSIONS
            for ended in sessions(world, decider, traits, prefix=f"week-{number}-user"):
                bar.advance(task, ended)
    world.clock.now += 1.01 * DAY  # until the last feedback is settled
    with screen.console.status(f"Week {number}: training and judging …"):
        trained = app.train()
    week = judged(world, number, live, trained)
    tell(week, trained)
    return week


def sessions(world: World, decider: Decider, traits: Floats, prefix: str) -> Iterator[int]:
    """One session of every person, decision by decision; yields how many sessions ended at each step."""
    people = np.arange(len(traits))
    situation = world.population.reset(len(traits), world.rng)
    while len(people):
        contexts = world.population.contexts(traits[people], situation)
        users = [f"{prefix}-{person}" for person in people.tolist()]
        decisions = decider.decide_many(
            [Request(context, user=user) for context, user in zip(contexts, users, strict=True)]
        )
        people, situation, feedback, ended = answered(world, traits, people, situation, decisions)
        decider.commit([], feedback)
        world.clock.now += MINUTE
        yield ended


def answered(
    world: World, traits: Floats, people: Integers, situation: Integers, decisions: list[Decision]
) -> tuple[Integers, Integers, list[Feedback], int]:
    """What people say of their decisions, and who goes on where."""
    known = {name: number for number, name in enumerate(world.app.domain.actions)}
    taken = np.array([known[decision.action] for decision in decisions])
    step = world.population.step(traits[people], situation, taken, world.rng)
    rows = zip(
        step.heard.row.tolist(), step.heard.signal, step.heard.value.tolist(), step.heard.delay.tolist(), strict=True
    )
    feedback = [
        Feedback(f"{decisions[row].id}:{signal}", decisions[row].id, signal, value, decisions[row].time + delay)
        for row, signal, value, delay in rows
    ]
    going = ~step.ended
    return people[going], step.situation[going], feedback, int(step.ended.sum())


def judged(world: World, number: int, live: str | None, trained: TrainingRun) -> Week:
    """The week's figures, with the truth that only a simulator knows."""
    assert trained.judgement is not None, "a week of decisions always trains"
    assert trained.trained.version is not None
    batch, _ = evaluation_batch(world.app.deployment, trained.trained.window, world.app.settings.training.holdout)
    candidate = world.app.acting(trained.trained.version.id)
    return Week(
        number=number,
        live_value=exact_values(world, live),
        candidate_value=exact_values(world, candidate.version),
        candidate_truth=truth_on(world, candidate, batch),
        live_truth=truth_on(world, world.app.acting(live), batch),
        judgement=trained.judgement,
    )


# ---------------------------------------------------------------------------------------------------------- the truth


def sample_of_people(population: Population) -> Floats:
    """The people on whom exact values are computed; always the same."""
    return population.users(500, np.random.default_rng(12345))


def exact_values(world: World, version: str | None) -> float:
    """Exact mean reward of a decision under a version acting by itself."""
    bins = int(world.app.domain.describe()["fields"][0]["bins"])
    people = sample_of_people(world.population)
    return value_of(world.population, world.app.acting(version).policy, people, bins)


def truth_on(world: World, acting: Acting, batch: Batch) -> float:
    """Exact mean reward of a policy on the very contexts that the estimators saw."""
    traits = np.stack([batch.context[name] for name in TRAITS], axis=1)
    situation = np.ravel_multi_index(tuple(batch.observation[:, len(TRAITS) :].T), SHAPE)
    expected = world.population.expected_reward(traits, situation)
    return float((acting.policy.distribution(batch.observation, batch.allowed) * expected).sum(axis=1).mean())


# ------------------------------------------------------------------------------------------------- the live comparison


@dataclass(frozen=True)
class Arm:
    """What one half of the new users gave."""

    name: str
    reward: Floats  # [T]
    person: Integers  # [T] rewards of one person are not independent

    def interval(self) -> tuple[float, float, float]:
        """Mean reward of a decision with its 95 % interval."""
        low, high = student(self.reward, 0.95, self.person)
        return float(self.reward.mean()), low, high


def compare(world: World, client: Client) -> list[Arm]:
    """New people, half of them decided for by the rule and half by the live version over HTTP, feedback included."""
    rule = Decider(world.app.deployment, lambda _: world.app.acting(None), now=time.time)
    with screen.console.status("New people: the rule for half of them, the API for the other half …"):
        return [
            play_arm(world, BASELINE, lambda requests: [each.action for each in rule.choose(requests)], None),
            play_arm(world, "learned", lambda requests: client.decide_many(requests), client),
        ]


def play_arm(world: World, name: str, decide: Any, client: Client | None) -> Arm:
    """One session of each new person."""
    traits = world.population.users(NEW_USERS, world.rng)
    people, situation = np.arange(NEW_USERS), world.population.reset(NEW_USERS, world.rng)
    rewards, persons = [], []
    known = {action: number for number, action in enumerate(world.app.domain.actions)}
    while len(people):
        contexts = world.population.contexts(traits[people], situation)
        requests = [Request(context, user=f"{name}-{person}") for context, person in zip(contexts, people, strict=True)]
        answers = decide(requests)
        actions = [known[answer if isinstance(answer, str) else answer.action] for answer in answers]
        step = world.population.step(traits[people], situation, np.array(actions), world.rng)
        if client:
            heard = zip(step.heard.row.tolist(), step.heard.signal, step.heard.value.tolist(), strict=True)
            client.say_many([Said(answers[row].id, signal, value) for row, signal, value in heard])
        rewards.append(world.population.observed_reward(step.heard, len(people)))
        persons.append(people)
        people, situation = people[~step.ended], step.situation[~step.ended]
    return Arm(name, np.concatenate(rewards), np.concatenate(persons))


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


# -------------------------------------------------------------------------------------------------------------- telling


def tell(week: Week, run: TrainingRun) -> None:
    """One week in a few lines."""
    report, advantage = run.trained.report, run.judgement.verdict.figures if run.judgement else {}
    screen.console.print(
        f"Week {week.number}: learned from {report.rows:,} decisions; "
        f"judged {advantage['advantage_value']:+.3f} [{advantage['advantage_low']:+.3f}, {advantage['advantage_high']:+.3f}] "
        f"against the policy in force (truth {week.candidate_truth - week.live_truth:+.3f}) → "
        + (
            "[green]promoted[/]"
            if run.promoted
            else f"[yellow]{run.judgement.verdict.decision if run.judgement else 'no verdict'}[/]"
        )
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
    exact = {BASELINE: story.baseline, "learned": exact_values(world, world.app.live())}
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
    columns = ("policy", "decisions", "mean reward", "95 % interval", "exact", "of the possible gain")
    screen.table(f"Live: {NEW_USERS:,} new people each, the learned policy over HTTP", columns, rows)


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
