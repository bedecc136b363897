"""Which of several estimates to trust: by hand, against the definition, and where the best is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.intervals import standard_error
from bondhu.equations.lepski import last_meeting, paired_errors


def slope(widths):
    """The reach of Tucker & Lee (2021)."""
    return widths[:, None] + (np.sqrt(6) - 1) * widths


def test_by_hand():
    reach = slope(np.array([1.0, 0.5, 0.1]))
    assert last_meeting(np.array([0.0, 1.9, 1.2]), reach) == 2  # 1.9 <= 0.5 + 1.449; 1.2 <= 0.1 + 1.449
    assert last_meeting(np.array([0.0, 1.96, 1.2]), reach) == 0
    assert last_meeting(np.array([0.0, 1.0, 1.6]), reach) == 1  # 1.6 > 0.1 + 1.449


def test_one_estimate_is_itself():
    assert last_meeting(np.array([0.3]), np.zeros((1, 1))) == 0


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=6))
def test_estimates_that_agree_within_their_noise_give_way_to_the_last(values):
    assert last_meeting(np.array(values), np.full((len(values), len(values)), 2.0)) == len(values) - 1


def test_its_error_is_close_to_that_of_the_best_choice():
    """Bias grows and noise shrinks along eight settings; the best is known."""
    rng, noise = np.random.default_rng(0), 0.5 * 2.0 ** -np.arange(8)
    for slant in (0.0, 0.01, 0.1, 1.0):
        bias = slant * np.arange(8)
        values = bias + noise * rng.standard_normal((500, 8))
        chosen = np.array([row[last_meeting(row, slope(2.0 * noise))] for row in values])
        assert np.sqrt((chosen**2).mean()) < 5.0 * np.sqrt((bias**2 + noise**2).min())


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(20), 3)])
def test_paired_errors_are_standard_errors_of_differences(groups):
    terms = np.random.default_rng(1).standard_normal((60, 3)) @ np.array([[1.0, 0.9, 0], [0, 0.1, 1], [0, 0, 2]])
    found = paired_errors(terms, groups)
    for i in range(3):
        for j in range(3):
            column = terms[:, i] - (terms[:, j] if i != j else 0.0)
            assert found[i, j] == pytest.approx(standard_error(column, groups)[0])


def test_equal_estimates_differ_by_nothing():
    column = np.random.default_rng(2).standard_normal(50)
    assert paired_errors(np.stack([column, column + 3.0], axis=1))[0, 1] == pytest.approx(0.0, abs=1e-8)


def test_one_group_tells_no_difference_and_the_least_biased_is_kept():
    found = paired_errors(np.random.default_rng(3).standard_normal((9, 3)), np.zeros(9, int))
    assert np.isnan(found).all()
    assert last_meeting(np.array([0.5, 0.4, 0.1]), found) == 0
