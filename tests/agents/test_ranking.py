"""Orders of edits: how often which comes first, and probabilities in stages that multiply out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bondhu.agents.ranking import LEAST, UNSUSPECTED, Drawn, Flat, Staged, Unlearned, grouped, means, stages, together
from tests.agents.repairs import column, context, edit

EDITS = [edit("a", 1), edit("b", 1), edit("b", 2), edit("b", 3), edit("c", 3), edit("c", 3)]
DRAWS = 6000


def firsts(ranker: Unlearned, suspicion: dict[int, float] | None = None) -> np.ndarray:
    seen = context(EDITS, suspicion=suspicion)
    drawn = Counter(int(np.argmax(ranker(seen))) for _ in range(DRAWS))
    return np.array([drawn[number] / DRAWS for number in range(len(EDITS))])


def test_operators_come_first_equally_often_however_many_edits_they_make() -> None:
    expected = np.array([1 / 3, 1 / 9, 1 / 9, 1 / 9, 1 / 6, 1 / 6])
    # Five standard errors of a share of 6,000 draws are 0.03 at most.
    np.testing.assert_allclose(firsts(Unlearned(np.random.default_rng(0))), expected, atol=0.03)


def test_suspected_lines_come_first_in_proportion_to_their_suspicion() -> None:
    blame = {1: 0.08, 2: 0.98}  # nobody speaks of line 3
    alike = np.array([1.0, 1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])
    wanted = alike * (np.array([0.08, 0.08, 0.98, 0.0, 0.0, 0.0]) + UNSUSPECTED)
    drawn = firsts(Unlearned(np.random.default_rng(0), localised=True), blame)
    np.testing.assert_allclose(drawn, wanted / wanted.sum(), atol=0.03)


def test_what_is_suspected_is_nothing_to_an_order_that_is_not_localised() -> None:
    one, other = (
        Unlearned(np.random.default_rng(1))(context(EDITS, suspicion=each)).tolist() for each in ({}, {3: 1.0})
    )
    assert one == other


def test_the_order_is_drawn_anew_and_the_same_from_the_same_seed() -> None:
    first, second = Unlearned(np.random.default_rng(2)), Unlearned(np.random.default_rng(2))
    orders = [first(context(EDITS)).tolist() for _ in range(3)]
    assert orders == [second(context(EDITS)).tolist() for _ in range(3)]
    assert orders[0] != orders[1] != orders[2]


def test_groups_are_numbered_as_they_come_and_have_the_mean_of_their_rows() -> None:
    numbers = grouped(["x", "y", "x", "z", "y"])
    assert numbers.tolist() == [0, 1, 0, 2, 1]
    table = np.array([[1, 0], [2, 2], [3, 4], [5, 5], [4, 0]], np.float32)
    assert means(table, numbers).tolist() == [[2, 2], [3, 1], [5, 5]]
    rng = np.random.default_rng(0)
    table, groups = rng.normal(size=(500, 7)).astype(np.float32), grouped(rng.integers(40, size=500).tolist())
    expected = [table[groups == each].mean(axis=0) for each in range(int(groups.max()) + 1)]
    np.testing.assert_allclose(means(table, groups), expected, rtol=1e-5, atol=1e-6)


def test_one_policy_sees_all_edits_at_once() -> None:
    wanted = np.log([1, 2, 3, 4])[:, None]
    said = Flat(column())(context([edit("a", line) for line in range(4)], wanted))
    np.testing.assert_allclose(np.exp(said), [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_an_order_that_is_drawn_begins_with_an_edit_as_often_as_its_policy_says() -> None:
    drawn, seen = Drawn(column(), np.random.default_rng(0)), context([edit("a")] * 4, np.log([1, 2, 3, 4])[:, None])
    firsts = np.bincount([int(np.argmax(drawn(seen))) for _ in range(DRAWS)], minlength=4) / DRAWS
    np.testing.assert_allclose(firsts, [0.1, 0.2, 0.3, 0.4], atol=0.03)


def test_three_stages_multiply_out_by_hand() -> None:
    edits = [edit("a", 1), edit("a", 1), edit("b", 1), edit("a", 2)]
    table = np.zeros((4, 3))
    table[3, 0] = np.log(3)  # line 2 has the preference ln 3, line 1 none: 3/4 and 1/4
    table[2, 1] = np.log(4)  # operator b of line 1: 4/5
    table[1, 2] = np.log(9)  # the second of operator a of line 1: 9/10
    said = np.exp(Staged(column(0), column(1), column(2))(context(edits, table)))
    np.testing.assert_allclose(said, [1 / 4 * 1 / 5 * 1 / 10, 1 / 4 * 1 / 5 * 9 / 10, 1 / 4 * 4 / 5, 3 / 4], rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_in_stages_sum_to_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edits = [edit(str(rng.integers(4)), int(rng.integers(6))) for _ in range(80)]
    said = np.exp(Staged(column(0), column(1), column(2))(context(edits, rng.normal(size=(80, 3)))))
    assert said.sum() == pytest.approx(1.0, abs=1e-9)
    assert said.min() > LEAST


def test_stages_say_what_is_chosen_among_what() -> None:
    edits = [edit("a", 4), edit("b", 4), edit("a", 2), edit("a", 4)]
    parts = stages(np.zeros(4, np.int64), context(edits))
    assert [[each.tolist() for each in part] for part in parts] == [
        [[0, 0, 0, 0], [0, 0, 1, 0]],
        [[0, 0, 1, 0], [0, 1, 2, 0]],
        [[0, 1, 2, 0], [0, 1, 2, 3]],
    ]


def test_rankers_add_up_with_their_weights() -> None:
    table = np.array([[0.0, 1.0], [2.0, 3.0]])
    made = together((1.0, lambda each: each.features[:, 0]), (0.5, lambda each: each.features[:, 1]))
    assert made(context([edit("a"), edit("b")], table)).tolist() == [0.5, 3.5]
