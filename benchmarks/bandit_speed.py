"""Contextual bandits: one event in sequence against Vowpal Wabbit and MABWiser, a million predictions, cost over time.

An event is a decision and what is learned from it: draw an action for one context of 32 features, see its reward,
learn. Peers are measured in the same run where their packages are there, each in several ways; the fastest way counts.
A live loop has numbers: Vowpal Wabbit reads text, so making it is part of an event ("from numbers"); with the text, or
even the parsed example, made before the clock starts it is faster, and those rows are given as well. What counts is
time of the processor, for others use this machine.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from itertools import accumulate
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from benchmarks.report import Row, main
from bondhu.learners import build, pack
from bondhu.types import Array, Batch, Learner, Policy, Spec

LEARNERS = ("bandit.fourier_ridge", "bandit.lin_ucb", "bandit.linear_thompson", "bandit.online_regression")
LINEAR = ("bandit.lin_ucb", "bandit.linear_thompson")
FEATURES, ACTIONS = 32, 10
STATES = [5, 5, 5, 5, 5, 4, 8, 3]  # of the table: 300,000
SPEC = Spec(Box(-np.inf, np.inf, (FEATURES,)), Discrete(ACTIONS))
CHUNK = 8_192  # contexts predicted at once: their values stay in the processor's cache
SLICE = 0.1  # seconds of events at a time
MICROSECONDS = 1e6

Event = Callable[[int], Any]  # learns from one event, given its number


def measure(quick: bool) -> list[Row]:
    world = World(2_000 if quick else 20_000)
    return [
        *one_event(world, repeats=1 if quick else 25),
        *predictions(20_000 if quick else 1_000_000, repeats=1 if quick else 7),
        *over_time(world, *((20_000, 1, 500) if quick else (200_000, 25, 2_000))),
        *memory(),
    ]


class World:
    """Events drawn in advance: contexts, and what every action would earn in them, between -1 and 1."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        self.size = size
        self.context = rng.normal(size=(size, FEATURES))
        mean = self.context @ rng.normal(0, 0.1, (FEATURES, ACTIONS))
        self.reward = np.clip(mean + 0.3 * rng.normal(size=mean.shape), -1, 1)
        self.rewards = self.reward.tolist()
        self.numbers = self.context.tolist()
        self.text = [written(row) for row in self.numbers]


def written(row: list[float]) -> str:
    """A context as Vowpal Wabbit reads it."""
    return " ".join([f"{number}:{value:.6g}" for number, value in enumerate(row)])


# ------------------------------------------------------------------------------------------------------- one event


def one_event(world: World, repeats: int) -> list[Row]:
    """Microseconds for an event, all libraries in turn in every repeat, so that a busy machine is busy for all."""
    ours = {name: bondhu(world, name) for name in LEARNERS}
    peers = {peer: available(make, world) for peer, make in PEERS.items()}
    ways = ours | {way: event for found in peers.values() for way, event in found.items()}
    events = {way: max(int(SLICE / timed(event, 50, world)), 20) for way, event in ways.items()}
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, event in ways.items():
            spent[way].append(timed(event, events[way], world) * MICROSECONDS)
    cost = {way: median(each) for way, each in spent.items()}
    rows = [Row(f"one event, {way}", cost[way], "µs") for way in ways]
    return rows + [row for peer, found in peers.items() if found for row in compared(peer, found, ours, cost)]


def timed(event: Event, count: int, world: World) -> float:
    """Seconds for each of so many events; the first ones, which compile and settle in, are not counted."""
    for number in range(20):
        event(number)
    start = process_time()
    for number in range(20, 20 + count):
        event(number % world.size)
    return (process_time() - start) / count


def compared(peer: str, theirs: Mapping[str, Event], ours: Mapping[str, Event], cost: Mapping[str, float]) -> list[Row]:
    """How many times the speed of each way of the peer."""
    goal = 20 if peer == "MABWiser" else 2
    pairs = [(f"events a second, {way} / {other}", cost[other] / cost[way]) for way in ours for other in theirs]
    return [Row(name, ratio, "x", f">= {goal} x {peer}", ratio >= goal) for name, ratio in pairs]


def available(make: Callable[[World], dict[str, Event]], world: World) -> dict[str, Event]:
    """The ways of a peer; none where its package is not there, which is said."""
    try:
        return make(world)
    except ImportError as error:
        print(f"{make.__name__} is left out: {error}")
        return {}


def bondhu(world: World, name: str, before: int = 0) -> Event:
    """Through the public verbs only, after so many random decisions."""
    rng, allowed = np.random.default_rng(0), np.ones((1, ACTIONS), np.bool_)
    learner, state = learned(name, before)

    def event(number: int) -> None:
        nonlocal state
        context = world.context[number : number + 1]
        choice = learner.policy(state, explore=True).sample(context, allowed, rng)
        reward = world.reward[number, choice.action]
        batch = Batch.single(context, allowed, choice.action, choice.probability, reward)
        state, _ = learner.update(state, batch, rng)

    return event


def vowpal(world: World) -> dict[str, Event]:
    """From numbers, as a live loop has them."""
    return vowpal_by(lambda number: written(world.numbers[number]), world, "from numbers")


def vowpal_text(world: World) -> dict[str, Event]:
    """With the text of every context made before the clock starts."""
    return vowpal_by(world.text.__getitem__, world, "text made before")


def vowpal_by(text: Callable[[int], str], world: World, form: str) -> dict[str, Event]:
    """One model with a part for each action, and actions as examples of their own with the context crossed in."""
    plain, crossed = workspace("--cb_explore 10"), workspace("--cb_explore_adf -q sa")
    actions = [f"|a {action}" for action in range(ACTIONS)]

    def by_line(number: int) -> None:
        line = f"| {text(number)}"
        chances = plain.predict(line)
        action = drawn(chances)
        plain.learn(f"{action + 1}:{-world.rewards[number][action]}:{chances[action]} {line}")

    def by_lines(number: int) -> None:
        lines = [f"shared |s {text(number)}", *actions]
        chances = crossed.predict(lines)
        action = drawn(chances)
        lines[action + 1] = f"0:{-world.rewards[number][action]}:{chances[action]} {actions[action]}"
        crossed.learn(lines)

    return {f"VW --cb_explore, {form}": by_line, f"VW --cb_explore_adf, {form}": by_lines}


def vowpal_parsed(world: World) -> dict[str, Event]:
    """The same with examples that were parsed before the clock starts, which a live loop could not do."""
    plain = workspace("--cb_explore 10")
    examples = [plain.parse(f"| {text}") for text in world.text[:1_000]]

    def event(number: int) -> None:
        example = examples[number % len(examples)]
        chances = plain.predict(example)
        action = drawn(chances)
        example.set_label_string(f"{action + 1}:{-world.rewards[number][action]}:{chances[action]}")
        plain.learn(example)

    return {"VW --cb_explore, parsed before": event}


def workspace(way: str) -> Any:
    return import_module("vowpalwabbit").Workspace(f"--quiet --random_seed 1 --epsilon 0.05 {way}")


def drawn(chances: list[float]) -> int:
    """An action with these probabilities."""
    rising = list(accumulate(chances))
    return min(bisect_right(rising, random.random() * rising[-1]), len(rising) - 1)


def mabwiser(world: World) -> dict[str, Event]:
    """Its three linear policies."""
    module = import_module("mabwiser.mab")
    policy = module.LearningPolicy
    kinds = {"LinUCB": policy.LinUCB(), "LinTS": policy.LinTS(), "LinGreedy": policy.LinGreedy(epsilon=0.05)}
    arms = list(range(ACTIONS))
    made: dict[str, Event] = {}
    for name, kind in kinds.items():
        bandit = module.MAB(arms, kind)
        bandit.fit(arms, [world.rewards[arm][arm] for arm in arms], world.context[:ACTIONS])
        made[f"MABWiser {name}"] = partial(_mabwiser_event, world, bandit)
    return made


def _mabwiser_event(world: World, bandit: Any, number: int) -> None:
    context = world.context[number : number + 1]
    action = bandit.predict(context)
    bandit.partial_fit([action], [world.rewards[number][action]], context)


PEERS = {"VW": vowpal, "VW, text made before": vowpal_text, "VW, parsed before": vowpal_parsed, "MABWiser": mabwiser}


# ----------------------------------------------------------------------------------- many predictions, time, memory


def predictions(count: int, repeats: int) -> list[Row]:
    """Contexts a second for which a policy says how likely it takes each action."""
    rng = np.random.default_rng(0)
    rows = []
    for name in LEARNERS:
        learner, state = learned(name, 5_000)
        context = rng.normal(size=(count, FEATURES)).astype(np.float32)
        rows += predicted(name, learner, state, context, 1e6 if name in LINEAR else None, repeats)
    learner = build("tabular.q_learning", {})
    table = learner.init(Spec(MultiDiscrete(STATES), Discrete(ACTIONS)), rng)
    table.values[:] = rng.normal(size=table.values.shape)
    codes = rng.integers(0, STATES, (count, len(STATES)))
    return rows + predicted("tabular.q_learning", learner, table, codes, 5e6, repeats)


def predicted(
    name: str, learner: Learner[Any], state: Any, context: Array, goal: float | None, repeats: int
) -> list[Row]:
    greedy = len(context) / chunked(learner.policy(state), context, repeats)
    part = context[: len(context) // 10]
    exploring = len(part) / chunked(learner.policy(state, explore=True), part, repeats)
    what = f"predictions, {len(context):,} contexts, {name}"
    return [
        Row(f"greedy {what}", greedy, "contexts/s", f">= {goal:g}" if goal else "", greedy >= goal if goal else None),
        Row(f"exploring, {name}", exploring, "contexts/s"),
    ]


def chunked(policy: Policy, context: Array, repeats: int) -> float:
    """Seconds for the distribution of every context, CHUNK at a time; the median."""
    allowed = np.broadcast_to(np.ones(ACTIONS, np.bool_), (CHUNK, ACTIONS))
    spent = []
    for _ in range(repeats + 1):
        start = process_time()
        for first in range(0, len(context), CHUNK):
            part = context[first : first + CHUNK]
            policy.distribution(part, allowed[: len(part)])
        spent.append(process_time() - start)
    return median(spent[1:])


def learned(name: str, count: int) -> tuple[Learner[Any], Any]:
    """A learner and what it learned from random decisions."""
    rng = np.random.default_rng(1)
    context, action = rng.normal(size=(count, FEATURES)), rng.integers(0, ACTIONS, count)
    allowed, learner = np.ones((count, ACTIONS), np.bool_), build(name, {})
    batch = Batch.single(context, allowed, action, np.full(count, 1 / ACTIONS), rng.random(count))
    state, _ = learner.update(learner.init(SPEC, rng), batch, rng)
    return learner, state


def over_time(world: World, events: int, repeats: int, count: int) -> list[Row]:
    """Whether an event costs the same after many: a learner that learned from them beside a new one, in turn."""
    rows = []
    for name in LEARNERS:
        new, old = bondhu(world, name), bondhu(world, name, events)
        spent = [(timed(old, count, world), timed(new, count, world)) for _ in range(repeats)]
        ratio = median(after / before for after, before in spent)
        rows.append(Row(f"cost of an event after {events:,} / after none, {name}", ratio, "x", "<= 1.1", ratio <= 1.1))
    return rows


def memory() -> list[Row]:
    """All arrays of a state."""
    rows = []
    for name in LEARNERS:
        size = sum(array.nbytes for array in pack(learned(name, 100)[1]).values())
        rows.append(Row(f"memory of the state, {FEATURES} features x {ACTIONS} actions, {name}", size / 2**20, "MiB"))
    return rows


if __name__ == "__main__":
    main("bandit_speed", measure)
