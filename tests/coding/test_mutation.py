"""Weak suites are told by the wrong programs that they let pass."""

from __future__ import annotations

import pytest

from bondhu.domains.coding.assertions import assertions
from bondhu.domains.coding.mutation import strength
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput
from tests.coding.inside import Inside

SOLUTION = "def larger(a, b):\n    if a > b:\n        return a\n    return b\n"
COMPARISONS = ("comparison_operator",)  # of `a > b`: <, <=, >=, ==, !=


def task(visible: str, held_out: str = "", solution: str | None = SOLUTION) -> Task:
    return Task("larger", "larger", "", "", assertions(visible, "larger"), assertions(held_out, "larger"), solution)


@pytest.fixture
def judge() -> Judge:
    return Judge(Inside())


def test_a_strong_suite_kills_every_mutant_that_can_be_killed(judge: Judge) -> None:
    found = strength(judge, task("assert larger(2, 1) == 2\nassert larger(1, 2) == 2\n"), operators=COMPARISONS)
    assert (found.mutants, found.killed, found.score) == (5, 4, 0.8)
    assert found.kills == {"test[0]": 3, "test[1]": 3}  # <, <=, == and <, <=, !=
    assert [each.name for each in found.survivors] == ["line 2: `a > b` becomes `a >= b`"]  # the same program
    assert found.idle == ()


def test_survivors_and_idle_assertions_of_a_weak_suite_are_named(judge: Judge) -> None:
    weak = task(
        "assert larger(2, 2) == 2\nassert larger(2, 1) == 2\n", "assert larger(1, 2) == 2\nassert larger(5, 5) == 5\n"
    )
    found = strength(judge, weak, operators=COMPARISONS)
    assert found.kills == {"test[0]": 0, "test[1]": 3}
    assert found.idle == ("test[0]",)
    assert {each.edit.after: each.different for each in found.survivors} == {"a >= b": False, "a != b": True}
    assert found.score == 0.6


def test_mutants_are_thinned_out_evenly(judge: Judge) -> None:
    suite = task("assert larger(2, 1) == 2\nassert larger(1, 2) == 2\n")
    whole = strength(judge, suite)
    some = strength(judge, suite, most=3)
    assert some.mutants == 3 < whole.mutants
    assert strength(judge, suite, most=3) == some


def test_a_suite_without_anything_to_change_is_not_called_weak(judge: Judge) -> None:
    constant = task("assert larger(1, 2) == 2\n", solution="def larger(a, b):\n    return b\n")
    assert strength(judge, constant, operators=COMPARISONS).score == 1.0


def test_only_a_right_solution_can_be_mutated(judge: Judge) -> None:
    with pytest.raises(InvalidInput, match="has no solution"):
        strength(judge, task("assert larger(1, 2) == 2\n", solution=None))
    with pytest.raises(InvalidInput, match="fails its own tests"):
        strength(judge, task("assert larger(1, 2) == 1\n"))
    with pytest.raises(InvalidInput, match="at least one"):
        strength(judge, task("assert larger(1, 2) == 2\n"), most=0)
