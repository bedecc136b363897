"""What learning brings to repair: agents that differ in one thing each, on bugs that none of them learned from.

Tasks are dealt into folds by the hash of their ids. Each fold is repaired by agents that learned from the bugs of the
other folds, and from bugs injected into right programs of other tasks; no task of a fold lends its solution to them.
A bug is fixed when the program passes the tests that the agent may run and those held out from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bondhu.agents import learning, outcomes
from bondhu.agents.budget import Budget
from bondhu.agents.demonstrations import Demonstration, bugs, demonstration, like_people
from bondhu.agents.ranking import Unlearned
from bondhu.agents.search import ENOUGH, Ranker, fixed, repair
from bondhu.domains.coding.tasks import Task, share
from bondhu.domains.coding.testing import Judge
from bondhu.errors import UnknownName, nearest
from bondhu.types import Floats, Integers

FOLDS = 5
BUGS = 2  # injected into each right program
PRACTISED = 60  # tasks on which the model of outcomes is learned
CORRECTED = 40  # tasks of a round of DAgger
DRAWS = 2_000  # of the bootstrap


@dataclass(frozen=True)
class Material:
    """Where agents learn from: people's bugs by the task, and injected ones by the task whose solution they are in."""

    people: Mapping[str, Demonstration]
    injected: Sequence[tuple[str, Demonstration]]

    def without(self, tasks: Sequence[Task]) -> list[Demonstration]:
        """What may be learned before these tasks are to be repaired."""
        kept = {each.id for each in tasks}
        people = [each for name, each in self.people.items() if name not in kept]
        return like_people([*people, *(each for name, each in self.injected if name not in kept)])


class Result(NamedTuple):
    """One repair."""

    arm: str
    task: str
    solved: bool  # by the tests that the agent may run
    fixed: bool  # and by those held out
    executions: int
    seconds: float


class Figure(NamedTuple):
    """A mean over tasks with a 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def gathered(
    tasks: Sequence[Task], others: Sequence[Task], judge: Judge, rng: np.random.Generator, each: int = BUGS
) -> Iterator[Material | None]:
    """What these tasks show, and bugs injected into their solutions and those of others. Yields None after each
    program, for a progress bar, and the material last."""
    people, injected = dict[str, Demonstration](), list[tuple[str, Demonstration]]()
    for task in tasks:
        if (shown := demonstration(task, judge, human=True)) is not None:
            people[task.id] = shown
        yield None
    for task in (*tasks, *others):
        for bug in bugs([task], each, rng):
            if (shown := demonstration(bug, judge)) is not None:
                injected.append((task.id, shown))
        yield None
    yield Material(people, injected)


Arm = Callable[[Material, Sequence[Task], Judge, np.random.Generator], tuple[Ranker, bool]]


def _learned(
    material: Material, tasks: Sequence[Task], judge: Judge, rng: np.random.Generator, **how: bool
) -> tuple[Ranker, bool]:
    practise, correct = how.pop("practise", False), how.pop("correct", False)
    shown = material.without(tasks)
    agent = learning.taught(shown, rng, **how)
    if correct:
        agent = learning.taught(learning.corrected(agent, some(shown, CORRECTED, rng), judge, shown), rng, **how)
    if practise:
        agent = learning.practised(agent, some(shown, PRACTISED, rng), judge, rng)
    return agent.ranker(), agent.localised


def some(shown: Sequence[Demonstration], count: int, rng: np.random.Generator) -> list[Task]:
    """So many of the broken programs, drawn."""
    chosen = rng.permutation(len(shown))[:count]
    return [shown[number].task for number in chosen.tolist()]


def _arm(**how: bool) -> Arm:
    return lambda material, tasks, judge, rng: _learned(material, tasks, judge, rng, **how)


def _uncloned(material: Material, tasks: Sequence[Task], judge: Judge, rng: np.random.Generator) -> tuple[Ranker, bool]:
    """A model of outcomes alone, learned from searches with no more than localisation."""
    shown = some(material.without(tasks), PRACTISED, rng)
    return learning.explored(shown, Unlearned(rng, localised=True), judge, rng), True


def _tried(material: Material, tasks: Sequence[Task], judge: Judge, rng: np.random.Generator) -> tuple[Ranker, bool]:
    return learning.tried(some(material.without(tasks), PRACTISED, rng), judge, rng), True


FULL = "cloning, curriculum, outcome model"
RANDOM, LOCALISED = "random operators", "localisation alone"
UNTAUGHT = {RANDOM, LOCALISED}
ARMS: Mapping[str, Arm] = {
    RANDOM: lambda _material, _tasks, _judge, rng: (Unlearned(rng), False),
    LOCALISED: lambda _material, _tasks, _judge, rng: (Unlearned(rng, localised=True), True),
    FULL: _arm(practise=True),
    "without the outcome model": _arm(),
    "without localisation": _arm(practise=True, localised=False),
    "without the curriculum": _arm(practise=True, curriculum=False),
    "without cloning": _uncloned,
    "in three stages": _arm(practise=True, stages=True),
    "with a round of DAgger": _arm(practise=True, correct=True),
    "a bandit alone": _tried,
}


def compared(
    tasks: Sequence[Task],
    material: Material,
    judge: Judge,
    arms: Sequence[str],
    seed: int = 0,
    budget: Budget = ENOUGH,
) -> Iterator[Result]:
    """Every task repaired by every arm; what one draws does not depend on the others. Raises InvalidInput where a fold
    leaves nothing to learn from to an arm that learns."""
    dealt = [(fold, members) for fold, members in enumerate(folds(tasks)) if members]
    if set(arms) - UNTAUGHT and not all(material.without(members) for _, members in dealt):
        raise learning.nothing_shown()
    for fold, members in dealt:
        for arm in arms:
            rng = np.random.default_rng([seed, fold, list(ARMS).index(arm)])
            ranker, localised = ARMS[arm](material, members, judge, rng)
            for task in members:
                found = repair(task, judge, ranker, budget, localised=localised)
                held = fixed(task, judge, found)
                yield Result(arm, task.id, found.solved, held, found.use.executions, found.use.seconds)


def predicted(tasks: Sequence[Task], material: Material, judge: Judge, seed: int = 0) -> tuple[Floats, Integers]:
    """What models of outcomes said of edits, drawn at random, of tasks that they had not seen: `[N, 5]`; what came."""
    said, came = [], []
    for fold, members in enumerate(folds(tasks)):
        rng = np.random.default_rng([seed, fold])
        agent = learning.practised(learning.taught(shown := material.without(members), rng),
                                   some(shown, PRACTISED, rng), judge, rng)  # fmt: skip
        assert agent.outcomes is not None
        for task in members:
            found = repair(task, judge, Unlearned(rng), learning.PRACTICE)
            if len(found.attempts) > 1:
                seen = outcomes.observed(found)
                said.append(agent.outcomes.probabilities(seen.features))
                came.append(seen.outcome)
    return np.concatenate(said), np.concatenate(came)


def folds(tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks dealt by the hash of their ids."""
    return [[each for each in tasks if int(share(each) * FOLDS) == fold] for fold in range(FOLDS)]


def mean(values: Sequence[float], rng: np.random.Generator) -> Figure:
    """The mean over tasks."""
    column = np.asarray(values, np.float64)
    draws = column[rng.integers(len(column), size=(DRAWS, len(column)))].mean(axis=1)
    return Figure(float(column.mean()), *np.quantile(draws, (0.025, 0.975)).tolist())


def ratio(one: Sequence[float], other: Sequence[float], rng: np.random.Generator) -> Figure:
    """Mean over mean of the same tasks, drawn together."""
    pairs = np.stack([np.asarray(one, np.float64), np.asarray(other, np.float64)])
    drawn = pairs[:, rng.integers(pairs.shape[1], size=(DRAWS, pairs.shape[1]))].mean(axis=2)
    low, high = np.quantile(drawn[0] / drawn[1], (0.025, 0.975)).tolist()
    return Figure(float(pairs[0].mean() / pairs[1].mean()), low, high)


def of_arm(results: Sequence[Result], arm: str) -> list[Result]:
    """Those of one arm, in the order of tasks."""
    return sorted((each for each in results if each.arm == arm), key=lambda each: each.task)


class Summary(NamedTuple):
    """What came of one arm."""

    arm: str
    fixed: Figure  # share of the bugs
    executions: Figure  # a bug
    ratio: Figure | None  # executions, to those of random operators, where these were run


def summary(results: Sequence[Result], arms: Sequence[str], rng: np.random.Generator) -> list[Summary]:
    """A row for each arm."""
    runs = {arm: [float(each.executions) for each in of_arm(results, arm)] for arm in arms}
    return [
        Summary(
            arm,
            mean([each.fixed for each in of_arm(results, arm)], rng),
            mean(runs[arm], rng),
            ratio(runs[arm], runs[RANDOM], rng) if RANDOM in runs else None,
        )
        for arm in arms
    ]


def whole(results: Sequence[Result], arms: Sequence[str]) -> list[Result]:
    """Those of tasks that all of these arms came to, so that a study which was interrupted can be summed up."""
    asked = [each for each in results if each.arm in arms]
    count = Counter(each.task for each in asked)
    return [each for each in asked if count[each.task] == len(arms)]


def named(arms: Sequence[str]) -> list[str]:
    """The arms of these names, each once. Raises UnknownName."""
    for arm in arms:
        if arm not in ARMS:
            raise UnknownName(f"No arm {arm!r}.", field="arm", value=arm, fix=nearest(arm, list(ARMS)))
    return list(dict.fromkeys(arms))
