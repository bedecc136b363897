"""The demonstration's people: simulated users who meet a deployment, session by session, and what is true of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from bondhu.app import App
from bondhu.client import Client
from bondhu.domains.recommendation import TRAITS
from bondhu.domains.recommendation.planning import value_of
from bondhu.domains.recommendation.simulator import SHAPE, Population
from bondhu.equations.intervals import student
from bondhu.policies.floor import WithFloor
from bondhu.registry.lifecycle import BASELINE
from bondhu.registry.share import TRIAL
from bondhu.serve.decide import Decider, Request, Said
from bondhu.serve.messages import Answer
from bondhu.types import Acting, Batch, Decision, Feedback, Floats, Integers

MINUTE = 60.0  # seconds
Decide = Callable[[Sequence[Request]], Sequence[Decision] | Sequence[Answer]]
NEW_USERS = 1500  # in each arm of the comparison at the end


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


def sessions(
    world: World, decider: Decider, traits: Floats, week: str, number: int, wrong: float = 0.0
) -> Iterator[int]:
    """One session of every person, decision by decision; yields how many sessions ended at each step.

    Decisions get ids of their own, since the draw of an action belongs to the id: a seed gives the same story again.
    `wrong`: as `answered` has it.
    """
    people: Integers = np.arange(len(traits))
    situation = world.population.reset(len(traits), world.rng)
    for step in count():
        contexts = world.population.contexts(traits[people], situation)
        requests = [
            Request(context, id=f"{week}.{person}.{number}.{step}", user=f"{week}.{person}")
            for context, person in zip(contexts, people.tolist(), strict=True)
        ]
        decisions = decider.decide_many(requests)
        people, situation, feedback, ended = answered(world, (traits, people, situation), decisions, wrong)
        decider.commit([], feedback)
        world.clock.now += MINUTE
        yield ended
        if not len(people):
            return


def answered(
    world: World, present: tuple[Floats, Integers, Integers], decisions: list[Decision], wrong: float
) -> tuple[Integers, Integers, list[Feedback], int]:
    """What people say of their decisions, and who goes on where: traits of everybody, who is there, their situation.

    `wrong`: share of the decisions of a version on trial in whose place people are shown something else.
    """
    traits, people, situation = present
    known = {name: number for number, name in enumerate(world.app.domain.actions)}
    taken = np.array([known[decision.action] for decision in decisions])
    if wrong:
        mistaken = np.array([decision.variant == TRIAL for decision in decisions]) & (
            world.rng.random(len(taken)) < wrong
        )
        taken = np.where(mistaken, world.rng.integers(len(known), size=len(taken)), taken)
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


# -------------------------------------------------------------------------------------------------------- the truth


def sample_of_people(population: Population) -> Floats:
    """The people on whom exact values are computed; always the same."""
    return population.users(500, np.random.default_rng(12345))


def exact_value(world: World, version: str | None, exploration: float = 0.0) -> float:
    """Exact mean reward of a decision under a version acting by itself, but for its exploration."""
    bins = int(world.app.domain.describe()["fields"][0]["bins"])
    policy = WithFloor(world.app.acting(version).policy, exploration)
    return value_of(world.population, policy, sample_of_people(world.population), bins)


def truth_on(world: World, acting: Acting, batch: Batch) -> float:
    """Exact mean reward of a policy on the very contexts that the estimators saw."""
    traits = np.stack([batch.context[name] for name in TRAITS], axis=1)
    situation = np.ravel_multi_index(tuple(batch.observation[:, len(TRAITS) :].T), SHAPE)
    expected = world.population.expected_reward(traits, situation)
    return float((acting.policy.distribution(batch.observation, batch.allowed) * expected).sum(axis=1).mean())


# ------------------------------------------------------------------------------------------------ live comparison


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
    return [
        play_arm(world, BASELINE, rule.choose, None),
        play_arm(world, "learned", client.decide_many, client),
    ]


def play_arm(world: World, name: str, decide: Decide, client: Client | None) -> Arm:
    """One session of each new person."""
    traits = world.population.users(NEW_USERS, world.rng)
    people: Integers = np.arange(NEW_USERS)
    situation = world.population.reset(NEW_USERS, world.rng)
    rewards, persons = [], []
    known = {action: number for number, action in enumerate(world.app.domain.actions)}
    for moment in count():
        contexts = world.population.contexts(traits[people], situation)
        requests = [
            Request(context, id=f"{name}.{person}.{moment}", user=f"{name}.{person}")
            for context, person in zip(contexts, people.tolist(), strict=True)
        ]
        answers = decide(requests)
        actions = [known[answer.action] for answer in answers]
        step = world.population.step(traits[people], situation, np.array(actions), world.rng)
        if client:
            heard = zip(step.heard.row.tolist(), step.heard.signal, step.heard.value.tolist(), strict=True)
            client.say_many([Said(answers[row].id, signal, value) for row, signal, value in heard])
        rewards.append(world.population.observed_reward(step.heard, len(people)))
        persons.append(people)
        people, situation = people[~step.ended], step.situation[~step.ended]
        if not len(people):
            break
    return Arm(name, np.concatenate(rewards), np.concatenate(persons))
