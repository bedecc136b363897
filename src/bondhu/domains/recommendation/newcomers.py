"""What the first decisions for somebody new cost: exact regret on the simulator.

People act side by side: each decision of all of them is one batch, from which the learner goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from bondhu.domains.recommendation import TRAITS
from bondhu.domains.recommendation.simulator import ACTIONS, SHAPE, Population
from bondhu.policies.uniform import Uniform
from bondhu.types import Array, Batch, Floats, Integers, Learner, Policy, Spec

S = TypeVar("S")
BINS = 5  # of each trait


@dataclass(frozen=True)
class People:
    """N people and where they are. What is `own` is what nobody could tell from their traits."""

    traits: Floats  # [N, 5]
    own: Floats  # [N, 27] what a person adds to the reward of each action
    number: Integers  # [N] the person's code, from 1
    situation: Integers  # [N]

    def seen(self, population: Population) -> Array:
        """Codes of traits and situation, as the domain's encoder makes them, and of the person: `[N, 9]`."""
        return np.column_stack([population.codes(self.traits, self.situation, BINS), self.number])

    def worth(self, population: Population) -> Floats:
        """Mean reward of every action: `[N, 27]`."""
        return population.expected_reward(self.traits, self.situation) + self.own


def spec(people: int) -> Spec:
    """What a learner sees and does, for so many people."""
    return Spec(MultiDiscrete([BINS] * len(TRAITS) + list(SHAPE) + [people + 1]), Discrete(ACTIONS))


def arrive(population: Population, count: int, own: Floats, first: int, rng: np.random.Generator) -> People:
    """People, numbered from `first`, at the start of a session. Their own parts have the covariance `own [27, 27]`."""
    deviations = rng.multivariate_normal(np.zeros(ACTIONS), own, count, method="eigh")
    number = np.arange(first, first + count)
    return People(population.users(count, rng), deviations, number, population.reset(count, rng))


def decide(
    population: Population, people: People, policy: Policy, rng: np.random.Generator
) -> tuple[People, Batch, float]:
    """One decision each: where people are afterwards, what was logged, and the mean regret of the policy.

    Regret is exact: the best mean reward less the mean reward under the policy's probabilities.
    """
    seen, everything = people.seen(population), np.ones((len(people.number), ACTIONS), np.bool_)
    worth = people.worth(population)
    regret = worth.max(axis=1) - (policy.distribution(seen, everything) * worth).sum(axis=1)
    choice = policy.sample(seen, everything, rng)
    step = population.step(people.traits, people.situation, choice.action, rng)
    own = people.own[np.arange(len(seen)), choice.action]
    reward = population.observed_reward(step.heard, len(seen)) + own
    following = np.where(step.ended, population.reset(len(seen), rng), step.situation)
    batch = Batch.single(seen, everything, choice.action, choice.probability, reward)
    return People(people.traits, people.own, people.number, following), batch, float(regret.mean())


def history(
    population: Population, people: People, decisions: int, rng: np.random.Generator, policy: Policy | None = None
) -> list[Batch]:
    """What people who were there before did, decision after decision, under a policy or else at random."""
    batches = []
    for _ in range(decisions):
        people, batch, _ = decide(population, people, policy or Uniform(), rng)
        batches.append(batch)
    return batches


def first_steps(
    population: Population, people: People, learner: Learner[S], state: S, decisions: int, rng: np.random.Generator
) -> Floats:
    """Mean regret of each of people's first decisions, learning after each: `[decisions]`."""
    regrets = np.empty(decisions)
    for step in range(decisions):
        people, batch, regrets[step] = decide(population, people, learner.policy(state, explore=True), rng)
        state, _ = learner.update(state, batch, rng)
    return regrets
