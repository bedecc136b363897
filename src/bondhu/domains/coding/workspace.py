"""A program under repair: what stands there, what was found out about it, and what each thing that is done earns.

Environment and dialogue are two ways to work in the same workspace.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from bondhu.domains.coding.cheating import examine
from bondhu.domains.coding.quality import Reviewer
from bondhu.domains.coding.reading import compiled, lines, outline, search, unfit
from bondhu.domains.coding.reward import Attempt, Reward, completion, reward, share, step
from bondhu.domains.coding.rules import Rules
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge, Judgement

KEPT = 4096  # judgements that are remembered: programs come again, in other episodes most of all
Answers = Callable[[Task, str], str]  # to a question about the task


class Done(NamedTuple):
    """What came of one step."""

    reward: Reward
    said: str  # what happened, for readers
    terminated: bool = False
    solved: bool = False  # every test passed, and every held-out one


class Referee:
    """Judges programs, and remembers: the same program is the same to the tests."""

    def __init__(self, judge: Judge, rules: Rules) -> None:
        self.judge, self.rules = judge, rules
        self._reviewer = Reviewer()
        self._seen = OrderedDict[tuple[str, str, bool], Judgement]()

    def judged(self, task: Task, source: str, *, held_out: bool = False) -> Judgement:
        """With the lines that each visible test executed."""
        key = task.id, source, held_out
        if key not in self._seen:
            self._seen[key] = self.judge.judge(task, source, held_out=held_out, trace=not held_out)
        self._seen.move_to_end(key)
        if len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        return self._seen[key]

    def attempt(self, task: Task, source: str) -> Attempt:
        """What is known at the end. Times are left out: the same actions are to earn the same twice."""
        judged, hidden = self.judged(task, source), bool(task.held_out)
        held_out = self.judged(task, source, held_out=True).passed if hidden else ()
        solved = judged.solved and all(held_out)
        examined = self.rules.examines and judged.solved
        return Attempt(
            judged.passed,
            held_out,
            judged.outcome.ended,
            before=share(self.judged(task, task.source, held_out=hidden).passed),
            quality=self._reviewer.review([source])[0] if solved and self.rules.reviews else None,
            cheated=examined and examine(self.judge, task, source).cheated,
        )


@dataclass
class Workspace:
    """One episode. `possible` says what may be done now."""

    task: Task
    referee: Referee
    proposals: tuple[str, ...] = ()  # programs that somebody else proposes, best first
    answers: Answers | None = None  # None: a question is answered with the next test
    source: str = ""
    before: list[str] = field(default_factory=list)  # the programs before each change, for undo
    known: Judgement | None = None  # what the tests said last
    tested: str = ""  # of which program
    used: set[str] = field(default_factory=set)  # tools that were used on the program as it stands
    compiles: bool | None = None  # None: nobody has tried
    output: str = ""  # of the last tool
    refused: str = ""  # why the last program was not taken
    conversation: list[str] = field(default_factory=list)
    asked: int = 0
    shown: int = 0  # how many of `contexts` are shown
    steps: int = 0

    def __post_init__(self) -> None:
        self.source = self.task.source
        self.conversation.append(f"Task: {self.task.statement.strip()}")

    @property
    def rules(self) -> Rules:
        return self.referee.rules

    @property
    def stale(self) -> bool:
        """Whether there are no results of the program as it stands."""
        return self.known is None or self.tested != self.source

    @property
    def potential(self) -> float:
        """Φ: the share of tests that are known to have passed."""
        return share(self.known.passed) if self.known else 0.0

    @cached_property
    def contexts(self) -> tuple[str, ...]:
        """What more can be shown, one request after the other."""
        first, last = self._span
        rows = lines(self.task.source)
        rest = "".join([*rows[: first - 1], *rows[last:]])
        parts = {"the rest of the module": rest, "what the tests need": self.task.preamble}
        return tuple(name for name, text in parts.items() if text.strip())

    @property
    def lines_shown(self) -> tuple[int, int]:
        """First and last line of the source that are shown."""
        whole = "the rest of the module" not in self.contexts[self.shown :]
        return (1, len(lines(self.source))) if whole else self._span

    @property
    def _span(self) -> tuple[int, int]:
        return next((first, last) for name, first, last in outline(self.source) if name == self.task.entry)

    def possible(self, operation: str) -> bool:
        """Whether this would do anything that has not been done."""
        if operation == "ask":
            most = self.rules.questions if self.answers else min(self.rules.questions, len(self.task.tests))
            return self.asked < most
        return {
            "generate": bool(self.proposals),
            "undo": bool(self.before),
            "test": self.stale,
            "context": self.shown < len(self.contexts),
        }.get(operation, operation not in self.used)

    def wait(self, said: str = "") -> Done:
        """A step in which nothing is done, such as a choice in a menu."""
        return self._done({}, said)

    def generate(self) -> Done:
        """Take the next proposal."""
        source, self.proposals = self.proposals[0], self.proposals[1:]
        return self.change("generate", source)

    def change(self, operation: str, source: str) -> Done:
        """Put this in the place of the program. What cannot stand is refused, at the price of invalid code."""
        self.refused = unfit(source, self.task.entry)
        if self.refused:
            done = self._done({operation: 1}, self.refused)
            fine = self.rules.weights.invalid
            return done._replace(reward=done.reward + Reward(fine, {"invalid": fine}))
        self.before.append(self.source)
        return self._stands(operation, source)

    def undo(self) -> Done:
        """Take the last change back."""
        return self._stands("undo", self.before.pop())

    def search(self, *words: str) -> Done:
        """The lines of the module in which one of the words stands."""
        return self._used("search", f"{' or '.join(words)}:\n{search(self.source, words)}")

    def compile(self) -> Done:
        """Whether the program compiles, and the compiler's warnings."""
        self.compiles, said = compiled(self.source)
        return self._used("compile", said)

    def test(self) -> Done:
        """Run the visible tests. Where all of them pass, the task is done."""
        before = self.potential
        return self._done({"test": 1}, self._test(), before)

    def ask(self, question: str) -> Done:
        """Ask whoever set the task."""
        if self.answers:
            answer = self.answers(self.task, question)
        else:
            answer = f"For example, this must hold:\n{self.task.tests[self.asked].code.strip()}"
        self.asked += 1
        self.conversation += [f"You: {question}", f"Answer: {answer}"]
        return self._done({"ask": 1}, answer)

    def context(self) -> Done:
        """See more: the rest of the module, then what the tests need before them."""
        self.shown += 1
        return self._done({"context": 1}, f"Now shown: {self.contexts[self.shown - 1]}.")

    def submit(self) -> Done:
        """Give it in as it is."""
        return self._done({"submit": 1}, "Submitted.", submitted=True)

    def _used(self, tool: str, said: str) -> Done:
        self.output = f"{tool}: {said}"
        self.used.add(tool)
        return self._done({tool: 1}, self.output)

    def _stands(self, operation: str, source: str) -> Done:
        """Another program stands there now: what the tools said of the last one no longer holds."""
        before = self.potential
        self.source, self.used, self.compiles, self.refused, self.output = source, set(), None, "", ""
        if self.rules.tests_at_once and self.stale:
            return self._done({operation: 1, "test": 1}, self._test(), before)
        return self._done({operation: 1}, "", before)

    def _test(self) -> str:
        self.known, self.tested = self.referee.judged(self.task, self.source), self.source
        self.output = f"test: {sum(self.known.passed)} of {len(self.known.passed)} pass"
        return self.output

    def _done(
        self, operations: Mapping[str, int], said: str, before: float | None = None, *, submitted: bool = False
    ) -> Done:
        """The reward of this step, and where it is the last one that of the attempt."""
        self.steps += 1
        last = self.rules.submits and self.steps >= self.rules.steps
        ended = submitted or last or (self.known is not None and not self.stale and self.known.solved)
        before = self.potential if before is None else before
        after = None if ended else self.potential
        earned = step(before, after, self.rules.discount, operations, self.rules.weights)
        if not ended:
            return Done(earned, said)
        attempt = self.referee.attempt(self.task, self.source)
        whole = earned + reward(attempt, self.rules.weights)
        return Done(whole, said, terminated=True, solved=completion(attempt) == "solved")
