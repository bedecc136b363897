"""Features of difficulty, counted by hand, and stages of a curriculum."""

from __future__ import annotations

import numpy as np
import pytest

from bondhu.domains.coding import tasks
from bondhu.domains.coding.assertions import assertions
from bondhu.domains.coding.difficulty import FEATURES, features, stages
from bondhu.errors import InvalidInput

HARD = """\
def f(xs):
    # all that count
    total = 0
    for x in xs:
        if x > 0 and x < 9:
            total += x

    return [t for t in range(total) if t]
"""


def task(name: str, source: str, solution: str | None = None) -> tasks.Task:
    return tasks.Task(name, "f", "", source, assertions("assert f(1) == 1\nassert f(2) == 2", "f"), solution=solution)


def test_features_are_counted() -> None:
    values = dict(zip(FEATURES, features(task("a", HARD), failing=0.5).tolist(), strict=True))
    # Ways: 1, for, if, and, the comprehension and its condition.
    assert {key: value for key, value in values.items() if key != "nodes"} == {
        "lines": 6, "branches": 1, "loops": 2, "complexity": 6, "tests": 2, "failing": 0.5,
    }  # fmt: skip


def test_nodes_are_those_of_the_syntax_tree() -> None:
    # Module, Expr, Constant
    assert features(task("a", "1"))[FEATURES.index("nodes")] == 3


def test_a_signature_is_as_hard_as_its_solution() -> None:
    np.testing.assert_array_equal(features(task("a", "def f(xs):\n    pass\n", HARD)), features(task("b", HARD)))


def test_a_program_that_does_not_parse_has_lines_and_tests() -> None:
    assert features(task("a", "def f(:\n    x\n")).tolist() == [2, 0, 0, 0, 1, 2, 1.0]


def test_stages_go_from_easy_to_hard() -> None:
    easy = [task(f"easy{number}", f"def f(x):\n    return x + {number}\n") for number in range(3)]
    middle = [
        task(f"middle{number}", f"def f(x):\n    if x:\n        x += {number}\n    return x\n") for number in range(3)
    ]
    found = stages([task("hard", HARD), *middle, *easy], 3)
    assert [[each.id for each in stage] for stage in found] == [
        ["easy0", "easy1", "easy2"], ["middle0", "middle1"], ["middle2", "hard"],
    ]  # fmt: skip


def test_failing_shares_move_a_task() -> None:
    pair = [task("a", "def f(x):\n    return x\n"), task("b", "def f(x):\n    return x\n")]
    assert [[each.id for each in stage] for stage in stages(pair, 2, [1.0, 0.25])] == [["b"], ["a"]]


@pytest.mark.parametrize("count", [0, 3])
def test_as_many_stages_as_tasks_at_most(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"{count} stages of 2 tasks"):
        stages([task("a", "1"), task("b", "2")], count)


def test_a_share_is_between_nothing_and_all() -> None:
    with pytest.raises(InvalidInput, match=r"A share of 1\.5"):
        features(task("a", "1"), 1.5)
