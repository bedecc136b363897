"""Which model is asked, how, for how many samples, when tests are run and when it is enough: as actions of a policy.

The state is what an agent may know: the task's features, what the tests said, what was tried, what is left of the
budget. Rewards: what a right answer is worth at the end, progress in tests as potential-based shaping on the way, less
what each step cost (`Worth`). Only texts go to models, and only texts come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log1p
from typing import Literal, NamedTuple, Protocol

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.agents.budget import Budget, Use
from bondhu.agents.conversation import STRATEGIES, Ask, Judged, Strategy
from bondhu.agents.proposing import Proposer
from bondhu.domains.coding.shaping import progress
from bondhu.domains.coding.tasks import Task
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.types import Array, Booleans, Floats, Integers, Spec

PROBLEMS = ("failed", "raised", "timed out", "not reached")  # how what the tests say of a failure begins
TRIES = 2  # counts in codes go up to so many
ONE_RUN = Use(executions=1)


class Judge(Protocol):
    """Who says what a program is worth, as `domains.coding.testing.Judge` does."""

    def judge(self, task: Task, source: str, *, held_out: bool = False) -> Judged: ...


class Move(NamedTuple):
    """One thing to do next."""

    kind: Literal["propose", "test", "stop"]
    proposer: str = ""
    strategy: Strategy = "repair"
    samples: int = 1

    @property
    def name(self) -> str:
        """As an action: "test", "stop", or such as "small/traceback/1"."""
        return f"{self.pair}/{self.samples}" if self.kind == "propose" else self.kind

    @property
    def pair(self) -> str:
        """Who is asked, and how."""
        return f"{self.proposer}/{self.strategy}"


TEST, STOP = Move("test"), Move("stop")


def moves(
    proposers: Sequence[str], strategies: Sequence[Strategy] = STRATEGIES, samples: Sequence[int] = (1,)
) -> tuple[Move, ...]:
    """Every proposer with every strategy and number of samples; who is asked for tests is asked once. Test and stop."""
    asked = [Move("propose", who, how, many) for who in proposers for how in strategies
             for many in (samples if how != "tests_first" else (1,))]  # fmt: skip
    return (*asked, TEST, STOP)


@dataclass(frozen=True)
class Worth:
    """What counts, in one unit, such as the dollars that a right answer saves."""

    solved: float = 1.0  # a right answer at the end
    progress: float = 0.0  # times γ·Φ(s') - Φ(s), Φ the share of tests passed: the best policy stays what it is
    dollar: float = 1.0  # what one costs; so do the next three
    thousand_tokens: float = 0.0
    execution: float = 0.0
    second: float = 0.0

    def cost(self, use: Use) -> float:
        """What so much use costs."""
        tokens = self.thousand_tokens * use.tokens / 1000
        return self.dollar * float(use.dollars) + tokens + self.execution * use.executions + self.second * use.seconds


def described(task: Task) -> Floats:
    """What is known of a task before anything is tried: sizes, on a logarithmic scale, `[4]`."""
    counts = len(task.statement), len(task.source), task.source.count("\n"), len(task.tests)
    return np.log1p(np.array(counts, np.float64))


@dataclass(frozen=True)
class Situation:
    """How far an agent has come with a task."""

    task: Task
    source: str  # the best of those that were tested, or else as it was found
    judged: Judged | None = None  # what the tests said of `source`
    waiting: tuple[str, ...] = ()  # programs that nobody has tested
    tests: str = ""  # that a model wrote
    tries: Mapping[str, int] = field(default_factory=dict)  # samples by proposer and strategy
    steps: int = 0
    spent: Use = Use()

    @property
    def share(self) -> float:
        """Of the tests that `source` passes, as far as is known: the potential of the shaping."""
        return self.judged.share if self.judged else 0.0

    @property
    def answer(self) -> str:
        """What is handed in if it stops now: what was tested and is right, else the newest that nobody has tested."""
        found = self.judged is not None and self.judged.solved
        return self.waiting[-1] if self.waiting and not found else self.source


@dataclass(frozen=True)
class Setup:
    """What can be done, by whom, and what it is worth."""

    proposers: tuple[Proposer, ...]
    judge: Judge
    moves: tuple[Move, ...]
    worth: Worth = Worth()
    budget: Budget = Budget()
    longest: int = 8  # steps of an episode; the last can only be to stop
    discount: float = 1.0  # γ of the shaping: the learner's own
    describe: Callable[[Task], Floats] = described  # features of a task, `[D]`; none of them may know its outcome
    clock: Callable[[], float] = time.monotonic  # seconds

    def __post_init__(self) -> None:
        names = [each.name for each in self.proposers]
        for move in self.moves:
            if move.kind == "propose" and move.proposer not in names:
                fix = nearest(move.proposer, names)
                raise UnknownName(f"No proposer {move.proposer!r}.", field="moves", value=move.proposer, fix=fix)
        if STOP not in self.moves or len(set(self.moves)) < len(self.moves):
            given = [move.name for move in self.moves]
            raise InvalidInput(f"The moves are {given}.", field="moves", value=given, fix="Each once, and a stop.")
        if self.longest < 1:
            raise InvalidInput(f"{self.longest} steps.", field="longest", value=self.longest, fix="At least 1.")

    @property
    def actions(self) -> tuple[str, ...]:
        """The moves by name."""
        return tuple(move.name for move in self.moves)

    @property
    def asked(self) -> tuple[str, ...]:
        """Who can be asked how: "proposer/strategy", each once."""
        return tuple(dict.fromkeys(move.pair for move in self.moves if move.kind == "propose"))

    def proposer(self, move: Move) -> Proposer:
        """Who is asked."""
        return next(each for each in self.proposers if each.name == move.proposer)

    # ------------------------------------------------------------------------------------------------- what is seen

    def spec(self, task: Task, *, coded: bool = False) -> Spec:
        """What a learner sees: features `[F]`, or codes for those that keep tables."""
        actions = Discrete(len(self.moves))
        if coded:
            return Spec(MultiDiscrete([4, 4, len(PROBLEMS) + 1, *[TRIES + 1] * len(self.asked)]), actions)
        size = len(self.features(Situation(task, task.source)))
        return Spec(Box(-np.inf, np.inf, (size,)), actions)

    def features(self, at: Situation) -> Floats:
        """`[D + 14 + P]`: the task's; tests, problems and what waits; samples by proposer and strategy, P pairs."""
        known, kind = at.judged is not None, _problem(at.judged)
        problems = [float(kind == number) for number in range(len(PROBLEMS) + 1)]
        solved = at.judged is not None and at.judged.solved
        state = [float(known), at.share, float(solved), log1p(len(at.waiting)), float(bool(at.waiting)),
                 float(bool(at.tests)), at.steps / self.longest, self.budget.share_left(at.spent),
                 float(not at.waiting and not solved)]  # fmt: skip
        tried = [log1p(at.tries.get(name, 0)) for name in self.asked]
        return np.array([*self.describe(at.task), *problems, *state, *tried], np.float64)

    def codes(self, at: Situation) -> Integers:
        """`[3 + P]`: untested, waiting, failing or solved; quarter of the tests; kind of problem; tries of pairs."""
        solved = at.judged is not None and at.judged.solved
        phase = 3 if solved else 1 if at.waiting else 2 if at.judged else 0
        tried = [min(TRIES, at.tries.get(name, 0)) for name in self.asked]
        return np.array([phase, min(3, int(4 * at.share)), _problem(at.judged), *tried])

    def observed(self, at: Situation, *, coded: bool) -> Array:
        """The one or the other."""
        return self.codes(at) if coded else self.features(at)

    def allowed(self, at: Situation) -> Booleans:
        """What can be done and paid: `[A]`; to stop always."""
        over = at.steps >= self.longest - 1
        return np.array([move == STOP or (not over and self._possible(move, at)) for move in self.moves])

    def _possible(self, move: Move, at: Situation) -> bool:
        if move.kind == "test":
            return bool(at.waiting or at.judged is None) and self.budget.affords(at.spent, ONE_RUN)
        if (move.strategy == "traceback" and at.judged is None) or (move.strategy == "tests_first" and at.tests):
            return False
        return self.budget.affords(at.spent, self.proposer(move).most(_ask(move, at)))

    # ------------------------------------------------------------------------------------------------- what is done

    def after(self, at: Situation, move: Move) -> Situation:
        """The situation after a move, with what it cost."""
        if move.kind == "test":
            return self._tested(at)
        if move.kind == "stop":
            return replace(at, steps=at.steps + 1)
        came = self.proposer(move).propose(_ask(move, at))
        tries = {**at.tries, move.pair: at.tries.get(move.pair, 0) + move.samples}
        at = replace(at, tries=tries, steps=at.steps + 1, spent=at.spent.plus(came.use))
        if move.strategy == "tests_first":
            return replace(at, tests="\n".join(filter(None, [at.tests, *came.sources])))
        fresh = (each for each in came.sources if each not in (*at.waiting, at.source))
        return replace(at, waiting=(*at.waiting, *fresh))

    def _tested(self, at: Situation) -> Situation:
        """The best of what waited, and of what there was; who is found right ends the testing, as the budget does."""
        best, judged, spent, began = at.source, at.judged, at.spent, self.clock()
        for source in at.waiting or (at.source,):
            if not self.budget.affords(spent, ONE_RUN):
                break
            found, spent = self.judge.judge(at.task, source), spent.plus(ONE_RUN)
            if judged is None or (found.solved, found.share) > (judged.solved, judged.share):
                best, judged = source, found
            if judged.solved:
                break
        spent = spent.plus(Use(seconds=self.clock() - began))
        return replace(at, source=best, judged=judged, waiting=(), steps=at.steps + 1, spent=spent)

    def right(self, at: Situation) -> bool:
        """Whether the answer that is handed in is right: by all tests, and by those it has never seen."""
        answer = at.answer
        judged = at.judged if answer == at.source and at.judged else self.judge.judge(at.task, answer)
        if not judged.solved or not at.task.held_out:
            return judged.solved
        return self.judge.judge(at.task, answer, held_out=True).solved

    def reward(self, before: Situation, after: Situation, right: bool | None = None) -> float:
        """Of one step; of the last, that of stopping, `right` says whether the answer is."""
        ends = right is not None
        shaped = self.worth.progress * progress(before.share, None if ends else after.share, self.discount)
        used = after.spent.plus(before.spent.times(-1))
        return shaped - self.worth.cost(used) + self.worth.solved * bool(right)


def _ask(move: Move, at: Situation) -> Ask:
    tried = at.tries.get(move.pair, 0)  # the seed of what was never asked before
    return Ask(at.task, at.source, move.strategy, at.judged, at.tests, move.samples, seed=tried)


def _problem(judged: Judged | None) -> int:
    """What is wrong, by the first test that failed; 0 where nothing is known, or nothing is wrong."""
    first = next((each for each in judged.problems if each), "") if judged else ""
    return next((number for number, kind in enumerate(PROBLEMS, start=1) if first.startswith(kind)), 0)
