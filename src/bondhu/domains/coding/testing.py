"""Judges programs by the tests of their task. What is expected never meets the program: it answers, and the assertions
are evaluated outside with its answers.

All calls that can be foreseen are answered in one execution. A test that calls as it likes runs in a jail of its own
(`bench`), and its calls go over to that of the program; the next program is asked the same calls beforehand, after all
that are certain: what it is asked because of another program's answers is never held against it. A program that changes
its arguments changes its own copies only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from bondhu.domains.coding import bench
from bondhu.domains.coding.assertions import assertions
from bondhu.domains.coding.comparison import check, small
from bondhu.domains.coding.tasks import Task, Test
from bondhu.errors import InvalidInput
from bondhu.sandbox.program import Answer, Call, Limits, Outcome, Program, Sandbox, SandboxEnded, Session

__all__ = ["Judge", "Judgement", "assertions"]

BENCH = Path(bench.__file__).read_text("utf-8")
Plan = tuple[Call, ...]  # the calls of one test, in order
MOST_FORESEEN = 500  # calls of one test that are asked together with the others
UNDECIDED, LIVE, UNFORESEEN = "undecided", "live", "unforeseen"  # who decides: the bench with answers; with the program
NOT_REACHED = "not reached"
UNFIT = Answer("opaque", error="nested too deeply, or too large, to be examined")
ENDED = {
    "cpu": "timed out",
    "wall": "timed out",
    "memory": "used too much memory",
    "exit": "ended its process",
    "crash": "crashed",
    "flood": "answered too much",
}


Said = tuple[object, Outcome]  # what the bench says of a test, and how it ended


class Verdict(NamedTuple):
    """Of one test."""

    problem: str  # "" if it passed
    answers: tuple[Answer, ...] = ()  # in the order of its calls


@dataclass(frozen=True)
class Judgement:
    """What the tests say of one program, each tuple in the order of the tests.

    `passed` and `outcome` are observed. Problems, lines and answers are what the program claims.
    """

    passed: tuple[bool, ...]
    problems: tuple[str, ...]  # "", "failed", "raised IndexError: … (line 3)", "timed out", "not reached", …
    lines: tuple[frozenset[int], ...]  # executed for each test, if traced
    outcome: Outcome  # of the execution that answered all calls that were foreseen
    answers: tuple[Answer | None, ...] = ()  # to each test's last call; None if there is none

    @property
    def share(self) -> float:
        """Of the tests that passed; 0 where there are none, for they have shown nothing."""
        return sum(self.passed) / len(self.passed) if self.passed else 0.0

    @property
    def solved(self) -> bool:
        """Whether all passed. No test says so where there is none."""
        return bool(self.passed) and all(self.passed)


@dataclass(frozen=True)
class Judge:
    """Judges programs in a sandbox. Safe to use from several threads, as the sandbox is."""

    sandbox: Sandbox
    limits: Limits = Limits()  # for all calls that can be foreseen together; for each other test
    test_limits: Limits = Limits(cpu=2.0, wall=10.0)  # for the test code itself
    most_calls: int = 2_000  # of one test
    _foreseen: dict[tuple[str, str, str], Plan] = field(default_factory=dict, repr=False, compare=False)

    def judge(self, task: Task, source: str, *, held_out: bool = False, trace: bool = False) -> Judgement:
        """By the tests that the agent may see, or by those held out from it.

        Raises InvalidInput where there are none to see, SandboxUnavailable where nothing runs.
        """
        return self.judge_all(task, [source], held_out=held_out, trace=trace)[0]

    def judge_all(
        self, task: Task, sources: Sequence[str], *, held_out: bool = False, trace: bool = False
    ) -> list[Judgement]:
        """The same for many programs of one task, side by side."""
        tests = task.held_out if held_out else task.tests
        if not tests and not held_out:
            what = f"The task {task.id!r} has no tests."
            raise InvalidInput(what, field="tests", value=task.id, fix="Give it at least one.")
        # Where a test's calls cannot be foreseen yet, the first program shows them.
        first = int(any(self._plan(task, test) is None for test in tests))
        parts = [part for part in (sources[:first], sources[first:]) if part]
        return [judgement for part in parts for judgement in self._judged(task, tests, part, trace)]

    def _judged(self, task: Task, tests: Sequence[Test], sources: Sequence[str], trace: bool) -> list[Judgement]:
        plans = [self._plan(task, test) for test in tests]
        calls = tuple(call for place in _order(tests) for call in plans[place] or ())
        made = [Program(source, task.entry, calls, trace, self.limits) for source in sources]
        outcomes = self.sandbox.run_all(made)
        verdicts = [_verdicts(task, tests, plans, outcome) for outcome in outcomes]
        self._examine(task, tests, plans, verdicts)
        for program, found in zip(made, verdicts, strict=True):
            for place, verdict in enumerate(found):
                if verdict.problem == LIVE:
                    found[place] = self._live(task, tests[place], program)
        return [_judgement(found, outcome) for found, outcome in zip(verdicts, outcomes, strict=True)]

    def _plan(self, task: Task, test: Test) -> Plan | None:
        """The calls that the test will make: known, or those that it made of another program."""
        return (test.call,) if test.call is not None else self._foreseen.get((task.preamble, task.entry, test.code))

    def _foresee(self, task: Task, test: Test, calls: Plan, *, passed: bool) -> None:
        """A test that stops at its first failure has shown only its first calls: the longest plan is kept, but for one
        that a program has passed by, which shows what the test really asks."""
        key = task.preamble, task.entry, test.code
        more = passed or len(calls) > len(self._foreseen.get(key, ()))
        if more and len(calls) <= MOST_FORESEEN and small([call.arguments for call in calls]):
            self._foreseen[key] = calls

    def _examine(
        self, task: Task, tests: Sequence[Test], plans: Sequence[Plan | None], verdicts: Sequence[list[Verdict]]
    ) -> None:
        """Fill in on the bench what could not be decided here."""
        waiting = list[tuple[list[Verdict], list[int]]]()
        for found in verdicts:
            places = [place for place, verdict in enumerate(found) if verdict.problem == UNDECIDED]
            waiting += [(found, places)] if places else []
        exams = [
            Program(
                BENCH,
                "bench",
                tuple(_exam(task, tests[place], plans[place], found[place].answers) for place in places),
                limits=self.test_limits,
            )
            for found, places in waiting
        ]
        for (found, places), told in zip(waiting, self._examined(exams), strict=True):
            for place, (said, outcome) in zip(places, told, strict=True):
                problem, used = said if isinstance(said, tuple) else (None, 0)
                answers = found[place].answers[:used]
                found[place] = Verdict(LIVE if problem == UNFORESEEN else _of_test(problem, answers, outcome), answers)

    def _examined(self, exams: Sequence[Program]) -> list[list[Said]]:
        """What the bench says to each call of each exam."""
        try:
            outcomes = self.sandbox.run_all(exams) if exams else []
        except InvalidInput:  # of all the answers that are told, one is too large: they are asked one by one
            return [[self._alone(replace(exam, calls=(call,))) for call in exam.calls] for exam in exams]
        return [
            [(_value(outcome, at), outcome) for at in range(len(exam.calls))]
            for exam, outcome in zip(exams, outcomes, strict=True)
        ]

    def _alone(self, exam: Program) -> Said:
        try:
            outcome = self.sandbox.run(exam)
        except InvalidInput:
            return (_opaque(UNFIT), 0), Outcome("done", ())
        return _value(outcome, 0), outcome

    def _live(self, task: Task, test: Test, program: Program) -> Verdict:
        """A test that calls as it likes. The test waits while the program answers, and the other way round."""
        calls, answers = list[Call](), list[Answer]()
        examiner = Program(BENCH, "bench", limits=self.test_limits)
        with self.sandbox.session(examiner) as exam, self.sandbox.session(program) as live:
            said = _said(exam, Call(("begin", test.code, task.preamble, task.entry)))
            while len(calls) < self.most_calls:
                if isinstance(said, Outcome):
                    return Verdict(_of_test(None, answers, said), tuple(answers))
                if said.kind != "value":
                    return Verdict(f"failed: the test gives what is no plain data ({said.error})", tuple(answers))
                what, *rest = said.value
                if what == "end":
                    self._foresee(task, test, tuple(calls), passed=rest[0] == "")
                    return Verdict(_of_test(rest[0], answers, Outcome("done", ())), tuple(answers))
                calls.append(Call(rest[0], rest[1]))
                answer = _said(live, calls[-1])
                if isinstance(answer, Outcome):
                    return Verdict(_ending(answer), tuple(answers))
                answers.append(answer)
                if answer.kind == "opaque":
                    return Verdict(_opaque(answer), tuple(answers))
                said = _said(exam, Call(("proceed", answer.kind, answer.value, answer.error)))
        return Verdict(f"failed: the test made more than {self.most_calls:,} calls", tuple(answers))


def _verdicts(task: Task, tests: Sequence[Test], plans: Sequence[Plan | None], outcome: Outcome) -> list[Verdict]:
    """As far as they can be given here; the others say who decides."""
    found, at, count = [Verdict(LIVE)] * len(tests), 0, len(outcome.answers)
    for place in _order(tests):
        test, plan = tests[place], plans[place] or ()
        answers = outcome.answers[at : at + len(plan)]
        if _unloaded(outcome):
            found[place] = Verdict(_ending(outcome))
        elif test.call is not None and not answers:
            found[place] = Verdict(_ending(outcome) if count >= at else NOT_REACHED)
        elif test.call is not None:
            found[place] = Verdict(_decided(task, test, answers[0]), answers)
        elif plan and len(answers) == len(plan) and not any(answer.kind == "opaque" for answer in answers):
            found[place] = Verdict(UNDECIDED, answers)
        at += len(plan)
    return found


def _order(tests: Sequence[Test]) -> list[int]:
    """In which order they are asked: first those whose one call is certain."""
    return sorted(range(len(tests)), key=lambda place: tests[place].call is None)


def _decided(task: Task, test: Test, answer: Answer) -> str:
    if answer.kind == "opaque":
        return _opaque(answer)
    decide = check(test.code, task.entry, task.preamble)
    if decide is None:
        return UNDECIDED
    if answer.kind == "raised":
        return _raised(answer)
    passed = decide(answer.value)
    return UNDECIDED if passed is None else "" if passed else "failed"


def _exam(task: Task, test: Test, plan: Plan | None, answers: Sequence[Answer]) -> Call:
    # One call is asked for by its test whatever it is given: a NaN, for one, does not equal itself.
    foreseen = None if test.call else [(call.arguments, dict(call.keywords)) for call in plan or ()]
    told = [(answer.kind, answer.value, answer.error) for answer in answers]
    return Call(("exam", test.code, task.preamble, task.entry, foreseen, told))


def _of_test(said: object, answers: Sequence[Answer], outcome: Outcome) -> str:
    """The problem in words, from what the bench says."""
    if not isinstance(said, str):
        return f"failed: the test {_ending(outcome)}"
    if not said.startswith("raised"):
        return said
    last = answers[-1] if answers else Answer("value")
    return _raised(last) if last.kind == "raised" and said == f"raised {last.error}" else f"failed: the test {said}"


def _raised(answer: Answer) -> str:
    return f"raised {answer.error}" + (f" (line {answer.line})" if answer.line else "")


def _opaque(answer: Answer) -> str:
    return "failed: it answered what is no plain data" + (f": {answer.error}" if answer.error else "")


def _unloaded(outcome: Outcome) -> bool:
    """Whether no call was made because there was nothing to call."""
    return not outcome.answers and (outcome.ended == "invalid" or bool(outcome.detail))


def _ending(outcome: Outcome) -> str:
    """Why there is no answer."""
    if outcome.ended == "invalid":
        return f"does not parse: {outcome.detail}"
    if outcome.ended == "exit" and outcome.detail:
        return f"raised {outcome.detail}"
    return ENDED.get(outcome.ended, NOT_REACHED)


def _value(outcome: Outcome, at: int) -> object:
    """What was answered to one call, or None."""
    return outcome.answers[at].value if at < len(outcome.answers) else None


def _said(session: Session, call: Call) -> Answer | Outcome:
    """The answer, or how the session ended. What is too large to be sent is as good as no plain data."""
    try:
        return session.call(call)
    except InvalidInput:
        return UNFIT
    except SandboxEnded as ended:
        return ended.outcome


def _judgement(found: Sequence[Verdict], outcome: Outcome) -> Judgement:
    return Judgement(
        tuple(not each.problem for each in found),
        tuple(each.problem for each in found),
        tuple(frozenset[int]().union(*(answer.lines for answer in each.answers)) for each in found),
        outcome,
        tuple(each.answers[-1] if each.answers else None for each in found),
    )
