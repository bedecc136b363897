"""Repair by search: edits of the syntax tree, the likeliest first, until the tests pass or the budget is spent.

Best-first over programs (Le Goues et al. 2012 search with random order; Long & Rinard 2016 with a learned one). A
program that passes more tests than the one it came from is edited further; every other one is a leaf. What is likely
says a `Ranker`: it sees where the failing tests went, never what they expect.
"""

from __future__ import annotations

import ast
import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np

from bondhu.agents.budget import Budget, Use
from bondhu.domains.coding.edits import Edit, applied, edits
from bondhu.domains.coding.features import features
from bondhu.domains.coding.localisation import suspicion
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge, Judgement
from bondhu.errors import InvalidInput
from bondhu.types import Floats

ENOUGH = Budget(executions=500, seconds=60.0)
TOGETHER = 8  # programs tried side by side at most; all of them count, also those after the one that solves it
DEEPEST = 3  # edits on top of each other
GAIN = 3.0  # how much likelier, in logarithms, an edit is that goes on from a program which passes all tests but none


@dataclass(frozen=True)
class Context:
    """What a ranker knows: a program, how it did, and what may be done to it."""

    task: Task
    source: str
    judgement: Judgement
    edits: tuple[Edit, ...]
    suspicion: Mapping[int, float]  # of each line, in [0, 1]; empty where nobody says

    @cached_property
    def features(self) -> Floats:
        """Of every edit: `[N, F]`."""
        problems = self.judgement.problems
        return features(self.source, self.task.entry, self.edits, self.task.statement, self.suspicion, problems)


class Ranker(Protocol):
    """`[N]`: for each edit the logarithm of how likely it is the one, up to a constant."""

    def __call__(self, context: Context) -> Floats: ...


class Attempt(NamedTuple):
    """One program that was run."""

    source: str
    edits: tuple[Edit, ...]
    judgement: Judgement


@dataclass(frozen=True)
class Repair:
    """What came of a search."""

    solved: bool  # the tests that the agent may run pass
    best: Attempt  # the program that passes most
    use: Use  # programs run against the tests, the first one and traced ones included; seconds
    attempts: tuple[Attempt, ...]  # in the order in which they were run
    context: Context | None = None  # of the first program, where it was edited
    problem: str = ""  # why it was not, where it should have been


class _Node(NamedTuple):
    """A program that is edited further."""

    attempt: Attempt
    context: Context


def repair(
    task: Task,
    judge: Judge,
    ranker: Ranker,
    budget: Budget = ENOUGH,
    *,
    localised: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Repair:
    """Search until a program passes the tests, or the budget is spent, or nothing is left to try. Unless `localised`,
    rankers are not told which lines are suspected.

    Of the budget, seconds may be passed by the last batch. Raises InvalidInput where it allows nothing,
    SandboxUnavailable where nothing runs; a source that cannot be edited is the `problem` of what is returned.
    """
    if (none := budget.reached(Use())) != "":
        raise InvalidInput(f"The budget of {none} is 0.", field=none, value=0, fix="Allow at least one execution.")
    meter, problem = _Meter(task, judge, budget, clock), ""
    attempts, queue = [meter.first()], _Queue(task, ranker, localised)
    context = None
    if not attempts[0].judgement.solved:
        context, problem = queue.expand(attempts[0])
    while (room := meter.room()) and (batch := queue.next(room)):
        judgements = meter.judged([source for _, _, source in batch])
        made = [
            Attempt(source, (*node.attempt.edits, edit), judgement)
            for (node, edit, source), judgement in zip(batch, judgements, strict=True)
        ]
        attempts += made
        if any(each.judgement.solved for each in made):
            break
        for (node, _, _), attempt in zip(batch, made, strict=True):
            if _better(attempt.judgement, node.attempt) and meter.room():
                queue.expand(meter.traced(attempt))
    best = max(attempts, key=lambda each: each.judgement.share)
    return Repair(best.judgement.solved, best, meter.used(), tuple(attempts), context, problem)


def fixed(task: Task, judge: Judge, found: Repair) -> bool:
    """Whether the tests held out from the agent pass as well; without such tests, whether an edit made the others."""
    if not task.held_out:
        return found.solved and bool(found.best.edits)
    return found.solved and judge.judge(task, found.best.source, held_out=True).solved


def _better(judgement: Judgement, parent: Attempt) -> bool:
    """Whether a program is worth going on from."""
    return len(parent.edits) + 1 < DEEPEST and judgement.share > parent.judgement.share


class _Meter:
    """Runs programs, and counts them."""

    def __init__(self, task: Task, judge: Judge, budget: Budget, clock: Callable[[], float]) -> None:
        self._task, self._judge, self._budget, self._clock = task, judge, budget, clock
        self._begun, self._executions = clock(), 0

    def used(self) -> Use:
        return Use(executions=self._executions, seconds=self._clock() - self._begun)

    def room(self) -> int:
        """How many programs may be run together now: 1, 2, 4 and so on, for the first ones are the likeliest; of
        seconds, as many as fit in at the pace so far."""
        used = self.used()
        if self._budget.reached(used):
            return 0
        left = self._budget.left(used)
        fitting = left["seconds"] * used.executions / used.seconds if "seconds" in left and used.seconds else TOGETHER
        return int(min(TOGETHER, used.executions, left.get("executions", TOGETHER), max(1, fitting)))

    def judged(self, sources: Sequence[str]) -> list[Judgement]:
        self._executions += len(sources)
        return self._judge.judge_all(self._task, sources)

    def first(self) -> Attempt:
        """The program as it is found. Tracing is slow: what was not done in time is run again without."""
        traced = self._traced(self._task.source)
        if "timed out" in traced.problems and self.room() > 0:
            (plain,) = self.judged([self._task.source])
            traced = replace(plain, lines=traced.lines)
        return Attempt(self._task.source, (), traced)

    def traced(self, attempt: Attempt) -> Attempt:
        """The same with the lines that its tests executed."""
        lines = self._traced(attempt.source).lines
        return attempt._replace(judgement=replace(attempt.judgement, lines=lines))

    def _traced(self, source: str) -> Judgement:
        self._executions += 1
        return self._judge.judge(self._task, source, trace=True)


def context_of(task: Task, source: str, judgement: Judgement, *, localised: bool = True) -> Context:
    """What is known of a program whose run was traced. Raises InvalidInput where the source cannot be edited."""
    blame = suspicion(judgement.lines, judgement.passed) if localised else {}
    try:
        return Context(task, source, judgement, tuple(edits(source, task.entry)), blame)
    except RecursionError as error:
        raise InvalidInput("The source is nested too deeply.", field="source", fix="Take it apart first.") from error


class _Queue:
    """Edits of programs, the likeliest first; no program comes twice."""

    def __init__(self, task: Task, ranker: Ranker, localised: bool) -> None:
        self._task, self._ranker, self._localised = task, ranker, localised
        self._heap: list[tuple[float, int, int, _Node]] = []
        self._unshaped: list[str] = []  # programs whose shape nobody has needed yet
        self._seen: set[str] = set()
        self._count = self._expanded = 0

    def expand(self, attempt: Attempt) -> tuple[Context | None, str]:
        """Put all edits of this program in; what is known of it, or why it cannot be edited."""
        try:
            context = context_of(self._task, attempt.source, attempt.judgement, localised=self._localised)
        except InvalidInput as error:
            return None, error.what
        self._unshaped.append(attempt.source)
        if not context.edits:
            return context, "There is nothing to edit."
        wanted = np.asarray(self._ranker(context), np.float64)
        likely = wanted - np.logaddexp.reduce(wanted) + GAIN * attempt.judgement.share
        node = _Node(attempt, context)
        for number, logarithm in enumerate(likely.tolist()):
            self._count += 1
            heapq.heappush(self._heap, (-logarithm, self._count, number, node))
        self._expanded += 1
        return context, ""

    def next(self, most: int) -> list[tuple[_Node, Edit, str]]:
        """The next programs to try: where they come from, the edit, the source."""
        return list(islice(self._fresh(), most))

    def _fresh(self) -> Iterator[tuple[_Node, Edit, str]]:
        while self._heap:
            _, _, number, node = heapq.heappop(self._heap)
            edit = node.context.edits[number]
            source = applied(node.context.source, edit)
            if self._new(source):
                yield node, edit, source

    def _new(self, source: str) -> bool:
        """Edits of one program lead to different ones: until there is a second, no two need be compared."""
        if self._expanded == 1:
            self._unshaped.append(source)
            return True
        while self._unshaped:
            self._seen.add(_shape(self._unshaped.pop()))
        count = len(self._seen)
        self._seen.add(_shape(source))
        return len(self._seen) > count


def _shape(source: str) -> str:
    """What two programs have in common that differ in layout and comments only."""
    try:
        return ast.dump(ast.parse(source))
    except RecursionError:
        return source
