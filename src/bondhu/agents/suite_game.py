"""Test generator against code generator: one proposes inputs, the other picks programs, and nobody sees the other's
choice before both are made.

An input is a call that the tests make, changed a little (as in mutation-based fuzzing, Zeller et al. 2019); what is
expected of it says the task's solution, run in the sandbox. The candidates are the solution and mutants of it. An input
earns the share of the mutants that it tells from the solution for the first time; a program earns 1 where it answers as
expected, and -1 where it does not. In every round all candidates are asked, so that the next choice can use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from bondhu.agents.games import KEPT, Known, Played, Seat, View, edits_of, one_hot
from bondhu.domains.coding.edits import applied
from bondhu.domains.coding.mutation import OPERATORS
from bondhu.domains.coding.nearby import written, written_call
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput
from bondhu.sandbox.program import Answer, Call, Program

TESTER, CODER = "tester_0", "coder_0"
LONG = 20  # items or characters that count as many


def _numbers(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: change(value) if type(value) in (int, float) else value


def _several(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: change(value) if type(value) in (list, tuple, str) and value else value


def _each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: type(value)(map(change, value)) if type(value) in (list, tuple) else value


# Of one argument; where it gives the same back, it does not apply.
CHANGES: Mapping[str, Callable[[Any], Any]] = {
    "as it is": lambda value: value,
    "one more": _numbers(lambda value: value + 1),
    "one less": _numbers(lambda value: value - 1),
    "zero": _numbers(lambda value: type(value)(0)),
    "other sign": _numbers(lambda value: -value),
    "empty": _several(lambda value: value[:0]),
    "first only": _several(lambda value: value[:1]),
    "without the first": _several(lambda value: value[1:]),
    "reversed": _several(lambda value: value[::-1]),
    "twice": _several(lambda value: value + value),
    "items one more": _each(_numbers(lambda value: value + 1)),
    "items of other sign": _each(_numbers(lambda value: -value)),
}
NAMES = tuple(CHANGES)


@dataclass(frozen=True)
class SuiteMatch:
    """Candidates of one task, and what was asked of them."""

    task: Task
    programs: tuple[str, ...]  # one of them is the solution
    right: int  # which
    calls: tuple[Call, ...] = ()  # asked so far
    passed: tuple[tuple[bool, ...], ...] = ()  # of every call: which programs answered as expected
    used: tuple[int, ...] = (0,) * len(NAMES)  # how often each change was tried
    chosen: int | None = None  # by the coder, in the round under way


@dataclass(frozen=True)
class SuiteGame:
    """So many rounds: the coder picks a candidate, the tester a change of a known call (which call and argument is
    drawn), then both are told."""

    tasks: tuple[Task, ...]  # with solutions that pass, and with tests whose calls are known
    judge: Judge
    candidates: int = 6
    rounds: int = 4
    operators: tuple[str, ...] = OPERATORS  # that make mutants
    penalty: float = -0.2  # for an input that was asked before, or at which the solution itself raises
    name: str = "suites"
    simultaneous: bool = True
    known: Known = field(init=False, repr=False, compare=False)
    _answers: dict[tuple[str, str, str], Answer | None] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", Known(self.judge))
        self.known.right(self.tasks)
        if self.candidates < 2 or self.rounds < 1:
            what = f"{self.candidates} candidates in {self.rounds} rounds."
            raise InvalidInput(what, field="candidates", value=self.candidates, fix="Play 2 and 1 round at least.")
        for task in self.tasks:
            if not _calls(task):
                what = f"No test of {task.id!r} is one call of plain data."
                raise InvalidInput(what, field="tasks", value=task.id, fix="Give a test such as `assert f(1) == 2`.")
            if len(self.mutants(task)) < self.candidates - 1:
                what = f"{task.id!r} has {len(self.mutants(task))} mutants."
                raise InvalidInput(what, field="candidates", value=self.candidates, fix="Ask for fewer candidates.")

    @cached_property
    def seats(self) -> Mapping[str, Seat]:
        many, changes = self.candidates, len(NAMES)
        return {
            CODER: Seat(many, 5, many, (2,) * many),
            TESTER: Seat(changes, changes + 3, 3, (len(self.tasks), self.rounds)),
        }

    def mutants(self, task: Task) -> tuple[str, ...]:
        """Of the solution, one edit away."""
        source = str(task.solution)
        return tuple(applied(source, edit) for edit in edits_of(source, task.entry, self.operators))

    def begun(self, rng: np.random.Generator) -> SuiteMatch:
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        mutants = self.mutants(task)
        drawn = [mutants[int(each)] for each in rng.permutation(len(mutants))[: self.candidates - 1]]
        right = int(rng.integers(self.candidates))
        return SuiteMatch(task, (*drawn[:right], str(task.solution), *drawn[right:]), right)

    def turn(self, match: SuiteMatch) -> str:
        return CODER if match.chosen is None else TESTER

    def view(self, match: SuiteMatch, player: str) -> View:
        return self._programs(match) if player == CODER else self._changes(match)

    def played(self, match: SuiteMatch, action: int, rng: np.random.Generator) -> Played[SuiteMatch]:
        if match.chosen is None:
            return Played(replace(match, chosen=action), {}, False, {})
        chosen = match.chosen
        used = tuple(count + (number == action) for number, count in enumerate(match.used))
        call = _changed(match.task, NAMES[action], rng)
        passed = self._asked(match, call)
        rewards = {TESTER: self.penalty, CODER: 0.0}
        if passed is not None and written_call(call) not in map(written_call, match.calls):
            alive = self.alive(match)
            killed = sum(able and not right for able, right in zip(alive, passed, strict=True))
            rewards = {TESTER: killed / (self.candidates - 1), CODER: 1.0 if passed[chosen] else -1.0}
        rows = (passed or (True,) * self.candidates,)
        after = replace(match, calls=(*match.calls, call), passed=match.passed + rows, used=used, chosen=None)
        over = len(after.calls) == self.rounds
        return Played(after, rewards, over, self._ending(after, chosen) if over else {})

    def alive(self, match: SuiteMatch) -> tuple[bool, ...]:
        """Which programs have answered everything as expected."""
        return tuple(all(row[number] for row in match.passed) for number in range(self.candidates))

    def told(self, match: SuiteMatch) -> str:
        return (
            f"{match.task.id}: {len(match.calls)} of {self.rounds} inputs asked, {sum(self.alive(match))} of "
            f"{self.candidates} programs answered all of them as expected."
        )

    # --------------------------------------------------------------------------------------------------------- inside

    def _programs(self, match: SuiteMatch) -> View:
        many, asked = self.candidates, max(len(match.passed), 1)
        passed = np.array([sum(row[number] for row in match.passed) for number in range(many)]) / asked
        alive = np.array(self.alive(match), np.float64)
        size = np.array([len(each) for each in match.programs]) / max(map(len, match.programs))
        table = [np.ones(many), alive, passed if match.passed else np.ones(many), size,
                 np.full(many, alive.sum() / many)]  # fmt: skip
        return View(np.stack(table, axis=1), alive, alive.astype(np.int64), np.ones(many, np.bool_))

    def _changes(self, match: SuiteMatch) -> View:
        changes = len(NAMES)
        allowed = np.array([_applies(match.task, name) for name in NAMES])
        used, gone = np.array(match.used) / self.rounds, len(match.calls) / self.rounds
        dead = 1.0 - sum(self.alive(match)) / self.candidates
        table = [one_hot(changes), used[:, None], np.full((changes, 1), gone), np.full((changes, 1), dead)]
        numbers = np.array([gone, dead, len(_calls(match.task)) / LONG])
        codes = np.array([self.tasks.index(match.task), min(len(match.calls), self.rounds - 1)])
        return View(np.hstack(table), numbers, codes, allowed)

    def _asked(self, match: SuiteMatch, call: Call) -> tuple[bool, ...] | None:
        """Which programs answer as the solution does; None where that has no answer."""
        answers = self._answered(match.task, match.programs, call)
        expected = answers[match.right]
        if expected is None or expected.kind != "value":
            return None
        return tuple(each is not None and _same(each, expected) for each in answers)

    def _answered(self, task: Task, programs: tuple[str, ...], call: Call) -> list[Answer | None]:
        """Of each program; None where it ended before it had answered."""
        if len(self._answers) >= KEPT:
            self._answers.clear()
        asked = written_call(call)
        keys = [(task.id, source, asked) for source in programs]
        fresh = [key for key in dict.fromkeys(keys) if key not in self._answers]
        runs = self.judge.sandbox.run_all([Program(source, task.entry, (call,)) for _, source, _ in fresh])
        for key, outcome in zip(fresh, runs, strict=True):
            self._answers[key] = outcome.answers[0] if outcome.answers else None
        return [self._answers[key] for key in keys]

    def _ending(self, match: SuiteMatch, chosen: int) -> dict[str, Any]:
        """Mutants that were told apart, as a share, and whether the coder ended with a program that was not."""
        alive = self.alive(match)
        killed = 1.0 - (sum(alive) - 1) / (self.candidates - 1)
        return {"ended": "right" if alive[chosen] else "wrong", "killed": killed, "inputs": len(match.calls)}


def _calls(task: Task) -> list[Call]:
    return [test.call for test in task.tests if test.call is not None]


def _changes_of(task: Task, name: str) -> list[Call]:
    """Every call that this change makes of the calls of the tests, one argument at a time."""
    if name == NAMES[0]:
        return _calls(task)
    found = list[Call]()
    for call in _calls(task):
        for at, value in enumerate(call.arguments):
            changed = CHANGES[name](value)
            if written(changed) != written(value):
                found.append(replace(call, arguments=(*call.arguments[:at], changed, *call.arguments[at + 1 :])))
    return found


def _applies(task: Task, name: str) -> bool:
    return bool(_changes_of(task, name))


def _changed(task: Task, name: str, rng: np.random.Generator) -> Call:
    among = _changes_of(task, name)
    return among[int(rng.integers(len(among)))]


def _same(one: Answer, other: Answer) -> bool:
    """By what the values are written as: exact types, and a NaN is like another."""
    return one.kind == other.kind and written(one.value) == written(other.value)
