"""What is shown to a policy that is to repair: programs with a bug, and the edit that mends it.

Bugs that people made are few. Others are injected into programs that are right: an edit away, and the edit that leads
back is known. Injected bugs are not distributed as those of people are, so each counts by how often people's bugs of
the same operator come, over how often injected ones do (importance weights; operators that people were never seen to
need keep a small share).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bondhu.agents.ranking import Stage, means, stages
from bondhu.agents.search import context_of
from bondhu.domains.coding.edits import Edit, injected, mends
from bondhu.domains.coding.features import NAMES
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput
from bondhu.types import Batch, Floats, Integers

WIDEST = 64  # candidates of a row; of more, so many are drawn, with the right one among them
PRIOR = 0.5  # bugs that every operator is taken to have had, beside those of people
HEAVIEST = 10.0  # weight of a demonstration, at most
SUSPECTING = [NAMES.index(each) for each in ("suspicion", "most suspicious", "place among suspects", "not executed")]


@dataclass(frozen=True)
class Demonstration:
    """All edits of a broken program as a policy sees them, and which of them is right."""

    task: Task
    table: Floats  # [N, F] features
    right: int  # which row mends it
    operator: str  # of that edit
    stages: tuple[Stage, Stage, Stage]
    human: bool = False  # whether a person made the bug
    weight: float = 1.0


def bugs(tasks: Sequence[Task], each: int, rng: np.random.Generator) -> Iterator[Task]:
    """So many bugs in the solution of every task that has one; where nothing can be edited, none."""
    for task in tasks:
        for number in range(each if task.solution is not None else 0):
            try:
                broken, edit, _ = injected(task.solution or "", task.entry, rng)
            except (InvalidInput, RecursionError):
                break
            yield replace(task, id=f"{task.id}/bug{number}", source=broken, kind=edit.operator)


def demonstration(task: Task, judge: Judge, *, human: bool = False, localised: bool = True) -> Demonstration | None:
    """How this task is mended, if its solution is known, one edit leads to it, and the tests see the bug."""
    right = _mending(task)
    if right is None:
        return None
    judgement = judge.judge(task, task.source, trace=True)
    if judgement.solved:
        return None
    context = context_of(task, task.source, judgement, localised=localised)
    if right not in context.edits:
        return None
    table = context.features.astype(np.float32)
    parts = stages(np.zeros(len(table), np.int64), context)
    return Demonstration(task, table, context.edits.index(right), right.operator, parts, human)


def _mending(task: Task) -> Edit | None:
    try:
        return None if task.solution is None else mends(task.source, task.entry, task.solution)
    except (InvalidInput, RecursionError):  # one of the two does not parse, or lacks the function
        return None


def blind(shown: Sequence[Demonstration]) -> list[Demonstration]:
    """The same as they are seen where nobody says which lines are suspected."""
    tables = [each.table.copy() for each in shown]
    for table in tables:
        table[:, SUSPECTING] = 0.0
    return [replace(each, table=table) for each, table in zip(shown, tables, strict=True)]


def like_people(shown: Sequence[Demonstration]) -> list[Demonstration]:
    """The same, weighed so that operators are needed as often as in the bugs that people made."""
    wanted = Counter(each.operator for each in shown if each.human)
    there = Counter(each.operator for each in shown if not each.human)
    kinds, total = max(len(there), 1), sum(there.values())
    people = sum(wanted.values()) + PRIOR * kinds

    def weight(each: Demonstration) -> float:
        if each.human:
            return HEAVIEST / 2
        share = (wanted[each.operator] + PRIOR) / people
        return float(min(share * total / there[each.operator], HEAVIEST))

    return [replace(each, weight=weight(each)) for each in shown]


def flat(shown: Iterable[Demonstration], rng: np.random.Generator) -> Batch:
    """One decision for each: the right edit among others."""
    return decisions([(each.table, each.right, each.weight) for each in shown], rng)


def staged(shown: Sequence[Demonstration], stage: int, rng: np.random.Generator) -> Batch:
    """The decisions of one stage: the right line among lines, the right operator in it, the right edit of it."""
    rows = []
    for each in shown:
        within, groups = each.stages[stage]
        candidates, members = means(each.table, groups), np.flatnonzero(within == within[each.right])
        choice = np.unique(groups[members])
        if len(choice) > 1:
            right = int(np.searchsorted(choice, groups[each.right]))
            rows.append((candidates[choice], right, each.weight))
    return decisions(rows, rng)


def decisions(shown: Sequence[tuple[Floats, int, float]], rng: np.random.Generator) -> Batch:
    """Decisions among WIDEST candidates of these features `[N, F]`: which one was taken, anywhere among others, and its
    reward."""
    observation = np.zeros((len(shown), WIDEST, len(NAMES)), np.float32)
    allowed, action = np.zeros((len(shown), WIDEST), np.bool_), np.zeros(len(shown), np.int64)
    for row, (table, taken, _) in enumerate(shown):
        chosen = _drawn(len(table), taken, rng)
        observation[row, : len(chosen)] = table[chosen]
        allowed[row, : len(chosen)] = True
        action[row] = int(np.flatnonzero(chosen == taken)[0])
    reward = np.array([earned for _, _, earned in shown])
    return Batch.single(observation, allowed, action, np.ones(len(shown)), reward)


def _drawn(count: int, right: int, rng: np.random.Generator) -> Integers:
    """The right one and others, in random order."""
    others = np.delete(np.arange(count), right)
    if count > WIDEST:
        others = rng.choice(others, WIDEST - 1, replace=False)
    return rng.permutation(np.append(others, right))
