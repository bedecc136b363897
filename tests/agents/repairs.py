"""Small tasks whose repair can be worked out by hand, rankers that want certain edits, and sandboxes that fail."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bondhu.agents.search import Context, Ranker
from bondhu.domains.coding.edits import Edit
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge, Judgement, assertions
from bondhu.errors import SandboxUnavailable
from bondhu.policies.by_value import ByValue
from bondhu.policies.softmax import softmax
from bondhu.sandbox.program import Outcome, Program
from bondhu.types import Floats, Policy
from tests.coding.inside import Inside

STEP = "def step(x):\n    if x < 0:\n        return x - 2\n    return x + 2\n"  # 1 is right in both lines
STEPPED = STEP.replace("2", "1")
STEPS = "assert step(-3) == -4\nassert step(-5) == -6\nassert step(3) == 4\nassert step(5) == 6\n"


def task(source: str, tests: str, solution: str | None = None, *, held: str = "", name: str = "toy") -> Task:
    """The entry is the first function."""
    first = ast.parse(source.partition("\n")[0] + "\n    pass" if source.startswith("def") else "def f(): pass").body[0]
    assert isinstance(first, ast.FunctionDef)
    hidden = assertions(held, first.name, name="held out") if held else ()
    return Task(name, first.name, "", source, assertions(tests, first.name), hidden, solution)


def one(name: str = "one") -> Task:
    """A bug that one edit mends: the first 2 is to be 1."""
    return task(STEP.replace("+ 2", "+ 1"), STEPS, STEPPED, held="assert step(-7) == -8\n", name=name)


def two() -> Task:
    """A bug that two edits mend, each of which makes half of the tests pass."""
    broken, right = STEP.replace("x + 2", "x + 3"), STEPPED.replace("x + 1", "x + 4")
    tests = STEPS.replace("== 4", "== 7").replace("== 6", "== 9")
    return task(broken, tests, right, name="two")


FUNCTIONS = {
    "double": ("def double(x):\n    return x * 2\n", "* 2", "* 3", "assert double({0}) == 2 * {0}"),
    "below": ("def below(x, y):\n    return x < y\n", "x < y", "x > y", "assert below({0}, {0} + 1)"),
    "last": ("def last(xs):\n    return xs[-1]\n", "[-1]", "[0]", "assert last([9, {0}]) == {0}"),
    "total": ("def total(xs):\n    n = 0\n    for x in xs:\n        n += x\n    return n\n", "+=", "-=",
              "assert total([{0}, 1]) == {0} + 1"),
    "larger": ("def larger(x, y):\n    if x > y:\n        return x\n    return y\n", "x > y", "x < y",
               "assert larger({0}, 0) == {0}"),
    "count": ("def count(xs):\n    return len(xs)\n", "len(xs)", "len(xs) + 1", "assert count([{0}]) == 1"),
}  # fmt: skip


def several() -> list[Task]:
    """Six tasks with a bug that one edit mends, in several folds."""
    found = []
    for name, (right, before, after, test) in FUNCTIONS.items():
        tests = "\n".join(test.format(number) for number in (1, 2, 3, 4))
        broken = right.replace(before, after)
        found.append(task(broken, tests, right, held=test.format(5), name=name))
    return found


def wanting(wanted: Callable[[Edit], bool]) -> Ranker:
    """Likes these edits alike, and others much less."""
    return lambda context: np.array([0.0 if wanted(edit) else -20.0 for edit in context.edits])


def becoming(before: str, after: str) -> Callable[[Edit], bool]:
    return lambda edit: (edit.before, edit.after) == (before, after)


def judge(sandbox: Inside | None = None) -> Judge:
    return Judge(sandbox or Inside())


def judgement(passed: Sequence[bool], ended: str = "done") -> Judgement:
    """As if the tests had said so."""
    problems = tuple("" if each else "failed" for each in passed)
    return Judgement(tuple(passed), problems, tuple(frozenset({2}) for _ in passed), Outcome(ended, ()))  # type: ignore[arg-type]  # one of Ended


def edit(operator: str, line: int = 1, after: str = "") -> Edit:
    return Edit(operator, line, (), "", after, 0, 0, "f")


def context(
    edits: Sequence[Edit], table: Floats | None = None, suspicion: Mapping[int, float] | None = None
) -> Context:
    """A context of edits that belong to no program, with these features `[N, F]`."""
    made = Context(one(), "", judgement([False]), tuple(edits), suspicion or {})
    if table is not None:
        vars(made)["features"] = np.asarray(table, np.float32)  # where the cached property keeps them
    return made


def column(number: int = 0) -> Policy:
    """A policy whose preferences are one column of the features."""
    return ByValue(lambda seen: seen[..., number].astype(np.float64), softmax)


class Slow(Inside):
    """Programs that are traced never come to an answer."""

    def run(self, program: Program) -> Outcome:
        if program.trace:
            self.programs.append(program)
            return Outcome("cpu", ())
        return super().run(program)


class Broken(Inside):
    """No program runs after so many."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def run(self, program: Program) -> Outcome:
        if len(self.programs) >= self.after:
            raise SandboxUnavailable("Two jails broke one after the other.")
        return super().run(program)
