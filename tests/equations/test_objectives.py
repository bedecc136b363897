"""Fronts, their area and the prices of limits, by hand and against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.objectives import chebyshev, dual_ascent, hypervolume, pareto_front

POINTS = np.array([[1.0, 4.0], [2.0, 3.0], [2.0, 2.0], [4.0, 1.0], [1.0, 4.0]])


def test_the_front_has_the_points_that_nothing_beats():
    assert pareto_front(POINTS).tolist() == [True, True, False, True, True]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_front_is_its_definition(points):
    expected = [
        not any(all(o >= m for o, m in zip(other, me, strict=True)) and other != me for other in points)
        for me in points
    ]
    assert pareto_front(np.array(points, float)).tolist() == expected


def test_the_area_is_the_union_of_rectangles():
    assert hypervolume(POINTS, np.zeros(2)) == 4 * 1 + 2 * 2 + 1 * 1
    assert hypervolume(POINTS, np.array([1.0, 1.0])) == 2.0  # only (2, 3) is above both
    assert hypervolume(np.empty((0, 2)), np.zeros(2)) == 0.0


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8))
def test_the_area_counts_the_unit_squares_below_some_point(points):
    squares = sum(any(x < a and y < b for a, b in points) for x in range(6) for y in range(6))
    assert hypervolume(np.array(points, float).reshape(-1, 2), np.zeros(2)) == squares


def test_chebyshev_reaches_a_point_between_two_that_no_weighted_sum_would_take():
    points = np.array([[0.0, 1.0], [0.4, 0.4], [1.0, 0.0]])
    assert chebyshev(points, np.array([0.5, 0.5]), np.ones(2)) == pytest.approx([-0.5, -0.3, -0.5])
    assert (points @ [0.5, 0.5]).argmax() != 1


def test_a_limit_gets_dearer_while_it_is_not_reached_and_is_never_below_nothing():
    moved = dual_ascent(np.array([1.0, 0.1]), np.array([0.2, 0.9]), np.array([0.5, 0.4]), 0.5)
    assert moved == pytest.approx([1.15, 0.0])
