"""How an agent learns to repair: it imitates known fixes, from easy bugs to hard ones; it is shown what to do where its
own search has led it (DAgger); and a model learns from what its executions said. Or nobody shows it anything: a bandit
learns from its executions alone (`tried`).

    agent = taught(shown, rng)                         # from demonstrations; in three stages, or all edits at once
    agent = practised(agent, tasks, judge, rng)        # with a model of outcomes, from searches on these tasks
    repair(task, judge, agent.ranker())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from gymnasium.spaces import Box, Discrete

from bondhu.agents import demonstrations, outcomes
from bondhu.agents.budget import Budget
from bondhu.agents.demonstrations import WIDEST, Demonstration
from bondhu.agents.outcomes import Observed, OutcomeModel
from bondhu.agents.ranking import Drawn, Flat, Staged, together
from bondhu.agents.search import Ranker, repair
from bondhu.domains.coding.features import NAMES
from bondhu.domains.coding.tasks import Task, with_source
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput
from bondhu.learners.bandit.online_regression import OnlineRegression
from bondhu.learners.imitation.behaviour_cloning import BehaviourCloning, Cloned
from bondhu.types import Batch, Spec

LEARNER = BehaviourCloning(learning_rate=2e-3, passes=10, minibatch=64, decay=1e-2, hidden=(64,))
BANDIT = OnlineRegression()  # what an edit is worth, from one execution after the other
LESSONS = 3  # of a curriculum: the easiest third, two thirds, everything
PRACTICE = Budget(executions=80, seconds=30.0)  # of a search that is learned from
KEPT = 5  # every so many-th search is kept for the temperature of the outcome model
FLAT, STAGED = ("edit",), ("line", "operator", "filling")


@dataclass(frozen=True)
class Agent:
    """What was learned: one policy for all edits, or three for the stages, and perhaps a model of outcomes."""

    states: Mapping[str, Cloned]  # by FLAT, or by STAGED
    outcomes: OutcomeModel | None = None
    localised: bool = True  # whether it learned with suspected lines

    def ranker(self) -> Ranker:
        """In which order it tries edits."""
        policies = {name: LEARNER.policy(state, explore=True) for name, state in self.states.items()}
        imitating: Ranker = Flat(*policies.values()) if len(policies) == 1 else Staged(*policies.values())
        return imitating if self.outcomes is None else together((1.0, imitating), (1.0, self.outcomes))


def lessons(shown: Sequence[Demonstration], count: int = LESSONS) -> list[list[Demonstration]]:
    """From easy to hard, each lesson with all that came before it: a bug is the harder the more edits there are."""
    ordered = sorted(shown, key=lambda each: len(each.table))
    return [ordered[: -(-len(ordered) * (number + 1) // count)] for number in range(count)]


def taught(
    shown: Sequence[Demonstration],
    rng: np.random.Generator,
    *,
    stages: bool = False,
    curriculum: bool = True,
    localised: bool = True,
) -> Agent:
    """An agent that imitates these demonstrations, and no more. Raises InvalidInput where there are none."""
    if not shown:
        raise nothing_shown()
    shown = shown if localised else demonstrations.blind(shown)
    course = lessons(shown) if curriculum else [list(shown)] * LESSONS
    if stages:
        lists = [[demonstrations.staged(each, stage, rng) for each in course] for stage in range(len(STAGED))]
    else:
        lists = [[demonstrations.flat(each, rng) for each in course]]
    names = STAGED if stages else FLAT
    states = {name: cloned(batches, rng) for name, batches in zip(names, lists, strict=True)}
    return Agent(states, localised=localised)


def nothing_shown() -> InvalidInput:
    """Where no bug is known that one edit mends."""
    fix = "Give more tasks that have solutions (--others)."
    return InvalidInput("No bug was found that one edit mends: there is nothing to learn from.", field="tasks", fix=fix)


def cloned(batches: Sequence[Batch], rng: np.random.Generator, learner: BehaviourCloning = LEARNER) -> Cloned:
    """What a learner knows after these batches, one after the other."""
    width = batches[0].observation.shape[-1]
    state = learner.init(Spec(Box(-np.inf, np.inf, (WIDEST, width), np.float32), Discrete(WIDEST)), rng)
    for batch in batches:
        state, _ = learner.update(state, batch, rng)
    return state


def practised(agent: Agent, tasks: Sequence[Task], judge: Judge, rng: np.random.Generator) -> Agent:
    """The same agent with a model of what the tests say, learned from its searches on these tasks."""
    return replace(agent, outcomes=explored(tasks, agent.ranker(), judge, rng, localised=agent.localised))


def explored(
    tasks: Sequence[Task], ranker: Ranker, judge: Judge, rng: np.random.Generator, *, localised: bool = True
) -> OutcomeModel:
    """A model of what the tests say, learned from searches in the order of this ranker."""
    searches = (repair(task, judge, ranker, PRACTICE, localised=localised) for task in tasks)
    seen = [outcomes.observed(found) for found in searches if len(found.attempts) > 1]
    if not seen:
        raise InvalidInput("No search ran an edit: there is nothing to learn outcomes from.", field="tasks",
                           fix="Give tasks whose tests see the bug, or do without practice.")  # fmt: skip
    fitted = [each for number, each in enumerate(seen) if number % KEPT] or seen
    return outcomes.learned(Observed.of(fitted), Observed.of(seen[::KEPT]), rng)


def tried(tasks: Sequence[Task], judge: Judge, rng: np.random.Generator) -> Ranker:
    """The order of a bandit that was shown nothing: it repairs these tasks one after the other, draws which edits to
    run, and learns from what each execution was worth."""
    state = BANDIT.init(Spec(Box(-np.inf, np.inf, (WIDEST, len(NAMES)), np.float32), Discrete(WIDEST)), rng)
    for task in tasks:
        found = repair(task, judge, Drawn(BANDIT.policy(state, explore=True), rng), PRACTICE)
        if len(found.attempts) > 1:
            seen = outcomes.observed(found)
            rows = [(seen.features, number, worth) for number, worth in enumerate(seen.worth.tolist())]
            state, _ = BANDIT.update(state, demonstrations.decisions(rows, rng), rng)
    return Flat(BANDIT.policy(state, explore=True))


def corrected(agent: Agent, tasks: Sequence[Task], judge: Judge, shown: Sequence[Demonstration]) -> list[Demonstration]:
    """One round of DAgger (Ross, Gordon & Bagnell 2011): what was shown, and what would have been right in the programs
    that the agent's own search went on from."""
    ranker, added = agent.ranker(), list(shown)
    for task in tasks:
        found = repair(task, judge, ranker, PRACTICE, localised=agent.localised)
        first = found.attempts[0].judgement
        for attempt in found.attempts[1:]:
            if not attempt.judgement.solved and attempt.judgement.share > first.share:
                here = with_source(task, attempt.source)
                if (right := demonstrations.demonstration(here, judge, localised=agent.localised)) is not None:
                    added.append(right)
    return added
