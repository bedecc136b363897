"""Suspicion of lines, worked by hand."""

from __future__ import annotations

from math import inf, sqrt

import pytest

from bondhu.domains.coding.localisation import dstar, ochiai, suspicion, tarantula
from bondhu.errors import InvalidInput

# Lines 1 to 4 of a function; tests a and b pass, c and d fail. Line 3 is what the failing tests share with one other.
LINES = (frozenset({1, 2}), frozenset({1, 3, 4}), frozenset({1, 3}), frozenset({1, 3}))
PASSED = (True, True, False, False)


def test_ochiai_of_a_worked_example() -> None:
    found = suspicion(LINES, PASSED)
    assert found == pytest.approx({3: 2 / sqrt(2 * 3), 1: 2 / sqrt(2 * 4), 2: 0.0, 4: 0.0})


def test_tarantula_of_a_worked_example() -> None:
    found = suspicion(LINES, PASSED, tarantula)
    assert found == pytest.approx({3: 1 / (1 + 1 / 2), 1: 0.5, 2: 0.0, 4: 0.0})


def test_dstar_of_a_worked_example() -> None:
    assert suspicion(LINES, PASSED, dstar) == pytest.approx({3: 4.0, 1: 2.0, 2: 0.0, 4: 0.0})


@pytest.mark.parametrize(
    ("formula", "expected"), [(ochiai, 3 / sqrt(4 * 5)), (tarantula, 0.75 / (0.75 + 2 / 6)), (dstar, 9 / 3)]
)
def test_a_line_that_three_of_four_failing_and_two_of_six_passing_tests_executed(formula, expected) -> None:
    assert formula(3, 2, 4, 6) == pytest.approx(expected)


def test_a_line_that_exactly_the_failing_tests_executed_is_the_most_suspicious() -> None:
    assert (ochiai(2, 0, 2, 5), tarantula(2, 0, 2, 5), dstar(2, 0, 2, 5)) == (1.0, 1.0, inf)


def test_ties_stand_in_the_order_of_the_lines() -> None:
    assert list(suspicion([frozenset({9, 4, 7})], [False])) == [4, 7, 9]


def test_without_failing_tests_nothing_is_suspicious() -> None:
    for formula in (ochiai, tarantula, dstar):
        assert suspicion(LINES, (True,) * 4, formula) == {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}


def test_without_passing_tests_a_failing_ones_lines_are_all_suspected() -> None:
    assert suspicion([frozenset({1, 2})], [False], tarantula) == {1: 1.0, 2: 1.0}


def test_without_coverage_there_are_no_lines() -> None:
    assert suspicion([frozenset(), frozenset()], [False, True]) == {}


def test_a_test_without_lines_is_left_out() -> None:
    assert suspicion([*LINES, frozenset()], [*PASSED, False]) == suspicion(LINES, PASSED)


def test_the_line_at_which_a_test_raised_counts_once_more() -> None:
    found = suspicion(LINES, PASSED, raised=(0, 0, 3, 0))
    assert found == pytest.approx({3: 3 / sqrt(3 * 4), 1: 2 / sqrt(3 * 4), 2: 0.0, 4: 0.0})


def test_an_error_without_coverage_points_at_its_line() -> None:
    assert suspicion([frozenset()], [False], raised=[7]) == {7: 1.0}


def test_lists_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInput, match="do not fit 1 tests"):
        suspicion(LINES, [True])
