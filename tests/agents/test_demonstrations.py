"""What a policy is shown: right edits among others, weights by hand, and nothing of what does not parse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bondhu.agents import demonstrations
from bondhu.agents.demonstrations import (
    HEAVIEST,
    SUSPECTING,
    WIDEST,
    Demonstration,
    blind,
    bugs,
    demonstration,
    like_people,
)
from bondhu.agents.ranking import stages
from bondhu.domains.coding.edits import applied, mends
from bondhu.domains.coding.features import NAMES
from tests.agents.repairs import STEP, STEPPED, STEPS, context, edit, judge, one, several, task, two

WIDTH = len(NAMES)


def shown(operator: str, *, human: bool = False, count: int = 3, right: int = 0) -> Demonstration:
    """Of so many edits, whose features are their numbers."""
    edits = [edit(operator, line) for line in range(count)]
    table = np.repeat(np.arange(count, dtype=np.float32)[:, None], WIDTH, axis=1)
    parts = stages(np.zeros(count, np.int64), context(edits, table))
    return Demonstration(one(), table, right, operator, parts, human)


def test_a_demonstration_names_the_edit_that_leads_to_the_solution() -> None:
    found = demonstration(one(), judge(), human=True)
    assert found is not None
    assert (found.operator, found.human, found.weight) == ("constant_changed", True, 1.0)
    assert found.table.shape[1] == WIDTH
    assert found.table[found.right, NAMES.index("operator constant_changed")] == 1.0
    assert found.table[found.right, NAMES.index("suspicion")] == 1.0


@pytest.mark.parametrize(
    "odd",
    [
        two(),  # one edit does not do it
        task(STEP, STEPS),  # nobody knows how
        task(STEP.replace("+ 2", "+ 1"), "assert step(3) == 4\n", STEPPED),  # the tests see nothing
        replace(one(), source="def step(:\n"),
        replace(one(), solution="def step(:\n"),
        replace(one(), source="def other(x):\n    return x\n"),
    ],
)
def test_there_is_none_where_no_single_edit_mends_what_the_tests_see(odd: object) -> None:
    assert demonstration(odd, judge()) is None  # type: ignore[arg-type]  # a parameter of the test


def test_injected_bugs_are_one_edit_from_the_solution_they_are_in() -> None:
    made = list(bugs(several(), 3, np.random.default_rng(0)))
    assert [each.id for each in made[:4]] == ["double/bug0", "double/bug1", "double/bug2", "below/bug0"]
    assert len(made) == 18
    for each in made:
        assert each.solution is not None
        assert each.source != each.solution
        right = mends(each.source, each.entry, each.solution)
        assert right is None or applied(each.source, right)
    assert [each.source for each in made] == [each.source for each in bugs(several(), 3, np.random.default_rng(0))]


def test_nothing_is_injected_into_what_is_unknown_or_cannot_be_edited() -> None:
    odd = [replace(one(), solution=each) for each in (None, "def step(:\n", "x = 1\n", "def step(x):\n    ...\n")]
    assert list(bugs(odd, 3, np.random.default_rng(0))) == []


def test_weights_make_injected_bugs_as_frequent_as_those_of_people() -> None:
    found = like_people([shown("a", human=True), shown("a"), shown("a"), shown("b")])
    # Of people's bugs (1 + 0.5) / 2 are of a and 0.5 / 2 of b; of those injected 2/3 and 1/3.
    assert [each.weight for each in found] == [HEAVIEST / 2, 0.75 * 3 / 2, 0.75 * 3 / 2, 0.25 * 3 / 1]


def test_no_weight_is_heavier_than_the_heaviest() -> None:
    found = like_people([*[shown("b", human=True)] * 20, *[shown("a")] * 99, shown("b")])
    assert found[-1].weight == HEAVIEST
    assert found[50].weight == pytest.approx(0.5 / 21 * 100 / 99)


def test_the_blind_see_what_is_seen_without_localisation() -> None:
    one_seen = demonstration(one(), judge())
    other = demonstration(one(), judge(), localised=False)
    assert one_seen is not None
    assert other is not None
    (made,) = blind([one_seen])
    np.testing.assert_array_equal(made.table, other.table)
    assert one_seen.table[:, SUSPECTING].any()
    assert not made.table[:, SUSPECTING].any()


@pytest.mark.parametrize("count", [3, WIDEST, WIDEST + 1, 300])
def test_the_right_edit_is_always_among_those_drawn(count: int) -> None:
    rng, places = np.random.default_rng(0), set()
    for _ in range(60):
        batch = demonstrations.flat([shown("a", count=count, right=2)], rng)
        assert batch.observation.shape == (1, WIDEST, WIDTH)
        drawn = batch.observation[0, batch.allowed[0], 0]
        assert len(set(drawn.tolist())) == len(drawn) == min(count, WIDEST)
        assert batch.observation[0, batch.action[0], 0] == 2
        places.add(int(batch.action[0]))
    assert len(places) >= min(count, 20)  # it is not told by its place
    assert batch.reward.tolist() == [1.0]


def staging() -> Demonstration:
    """Lines 1 (operators a, a, b) and 2 (a); the second edit is right."""
    edits = [edit("a", 1), edit("a", 1), edit("b", 1), edit("a", 2)]
    table = np.repeat(np.array([0, 2, 4, 8], np.float32)[:, None], WIDTH, axis=1)
    return Demonstration(one(), table, 1, "a", stages(np.zeros(4, np.int64), context(edits, table)), weight=0.5)


@pytest.mark.parametrize(
    ("stage", "candidates", "right"), [(0, {2.0, 8.0}, 2.0), (1, {1.0, 4.0}, 1.0), (2, {0.0, 2.0}, 2.0)]
)
def test_each_stage_is_shown_its_choice_alone(stage: int, candidates: set[float], right: float) -> None:
    batch = demonstrations.staged([staging()], stage, np.random.default_rng(0))
    assert set(batch.observation[0, batch.allowed[0], 0].tolist()) == candidates
    assert batch.observation[0, batch.action[0], 0] == right
    assert batch.reward.tolist() == [0.5]


def test_where_a_stage_leaves_no_choice_it_is_shown_nothing() -> None:
    batch = demonstrations.staged([shown("a"), staging()], 2, np.random.default_rng(0))
    assert len(batch) == 1
    assert len(demonstrations.staged([shown("a")], 2, np.random.default_rng(0))) == 0
