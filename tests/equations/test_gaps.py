"""Inverse gaps by hand, and the compiled loop against the plain one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.compiled import compiled
from bondhu.equations.gaps import inverse_gap


def chances(value, allowed, greed, run=inverse_gap):
    found = np.full(np.shape(value), np.nan)
    return run(np.array(value, float), np.array(allowed), greed, found), found


def test_a_worse_action_has_one_over_the_count_and_its_gap():
    row, found = chances([[0.5, 0.3, 0.9, 0.9]], [[True, True, True, False]], 10.0)
    assert row == -1
    assert found[0] == pytest.approx([1 / 7, 1 / 9, 1 - 1 / 7 - 1 / 9, 0.0])


def test_equals_share_the_rest_and_without_greed_all_are_equal():
    assert chances([[1.0, 1.0, 0.0]], [[True] * 3], 2.0)[1][0] == pytest.approx([0.4, 0.4, 0.2])
    assert chances([[1.0, 1.0, 0.0]], [[True] * 3], 0.0)[1][0] == pytest.approx([1 / 3] * 3)


def test_a_row_that_allows_nothing_is_named():
    assert chances([[1.0], [1.0]], [[True], [False]], 1.0)[0] == 1


@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=3, max_size=3), min_size=1, max_size=5),
       st.floats(0.0, 1e6))  # fmt: skip
def test_they_are_probabilities_whether_compiled_or_not(value, greed):
    allowed = np.ones((len(value), 3), bool)
    _, plain = chances(value, allowed, greed)
    assert plain.sum(axis=1) == pytest.approx(1.0)
    assert (plain > 0).all()
    np.testing.assert_array_equal(plain, chances(value, allowed, greed, compiled(inverse_gap))[1])
