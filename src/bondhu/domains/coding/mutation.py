"""How weak a suite of tests is: small changes of the right solution that it does not notice (DeMillo, Lipton & Sayward
1978).

A mutant is the solution after one edit. A test kills it that fails. A suite that lets mutants live lets wrong programs
pass, and what passes there is no evidence. A mutant may also live because it does the same as the solution: of those
that a held-out test kills it is proven that they do not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bondhu.domains.coding.edits import Edit, applied, edits
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge, Judgement
from bondhu.errors import InvalidInput

OPERATORS = ("comparison_operator", "arithmetic_operator", "boolean_operator", "condition_negated", "constant_changed",
             "statement_deleted")  # fmt: skip
MOST = 60  # mutants of one task; more are thinned out evenly


@dataclass(frozen=True)
class Survivor:
    """A mutant that every visible test lets pass."""

    edit: Edit
    different: bool  # a held-out test kills it: what it computes is proven to be wrong

    @property
    def name(self) -> str:
        """Where and what: "line 3: `<` becomes `<=`"."""
        return f"line {self.edit.line}: `{self.edit.before}` becomes `{self.edit.after}`"


@dataclass(frozen=True)
class Strength:
    """What a suite notices."""

    mutants: int
    kills: Mapping[str, int]  # name of a test to how many mutants it kills
    survivors: tuple[Survivor, ...]

    @property
    def killed(self) -> int:
        """Mutants that at least one test kills."""
        return self.mutants - len(self.survivors)

    @property
    def score(self) -> float:
        """Killed share in [0, 1]; 1 where nothing could be changed."""
        return self.killed / self.mutants if self.mutants else 1.0

    @property
    def idle(self) -> tuple[str, ...]:
        """Tests that kill no mutant."""
        return tuple(name for name, count in self.kills.items() if count == 0)


def strength(judge: Judge, task: Task, most: int = MOST, operators: Collection[str] = OPERATORS) -> Strength:
    """Mutate the solution of a task, and see which mutants its visible tests kill.

    Raises InvalidInput where the task has no solution or its own tests fail it, and SandboxUnavailable.
    """
    if task.solution is None:
        raise InvalidInput(f"The task {task.id!r} has no solution.", field="solution", fix="Only one can be mutated.")
    if not judge.judge(task, task.solution).solved:
        what = f"The solution of {task.id!r} fails its own tests."
        raise InvalidInput(what, field="solution", value=task.id, fix="Mend the solution or the tests.")
    made = _thinned(edits(task.solution, task.entry, operators), most)
    judged = judge.judge_all(task, [applied(task.solution, edit) for edit in made])
    killers = [_killers(each) for each in judged]
    kills = {test.name: sum(at in each for each in killers) for at, test in enumerate(task.tests)}
    alive = [edit for edit, judgement in zip(made, judged, strict=True) if judgement.solved]
    return Strength(len(made), kills, tuple(_told_apart(judge, task, alive)))


def _told_apart(judge: Judge, task: Task, alive: list[Edit]) -> list[Survivor]:
    if not task.held_out or task.solution is None:
        return [Survivor(edit, different=False) for edit in alive]
    judged = judge.judge_all(task, [applied(task.solution, edit) for edit in alive], held_out=True)
    return [Survivor(edit, different=not judgement.solved) for edit, judgement in zip(alive, judged, strict=True)]


def _killers(judgement: Judgement) -> frozenset[int]:
    """Places of the tests that failed; a test that was not reached has noticed nothing."""
    return frozenset(
        at
        for at, (passed, problem) in enumerate(zip(judgement.passed, judgement.problems, strict=True))
        if not passed and problem != "not reached"
    )


def _thinned(found: list[Edit], most: int) -> list[Edit]:
    """At most so many, spread over the source."""
    if most < 1:
        raise InvalidInput(f"{most} mutants.", field="most", value=most, fix="Allow at least one.")
    return [found[number * len(found) // most] for number in range(most)] if len(found) > most else found
