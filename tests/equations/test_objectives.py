"""Fronts and the prices of limits, by hand and against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.objectives import dual_ascent, pareto_front

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


def test_a_limit_gets_dearer_while_it_is_not_reached_and_is_never_below_nothing():
    moved = dual_ascent(np.array([1.0, 0.1]), np.array([0.2, 0.9]), np.array([0.5, 0.4]), 0.5)
    assert moved == pytest.approx([1.15, 0.0])
