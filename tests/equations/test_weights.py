"""Importance weights on numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bondhu.equations.weights import clipped, effective_samples, importance, self_normalised


def test_a_weight_is_the_ratio_of_the_two_probabilities():
    weights = importance(np.array([0.5, 0.0, 0.9]), np.array([0.25, 0.5, 0.3]))
    assert weights == pytest.approx([2.0, 0.0, 3.0])


def test_clipping_keeps_small_weights_and_lowers_large_ones():
    assert clipped(np.array([0.0, 2.0, 7.0]), 3.0).tolist() == [0.0, 2.0, 3.0]


def test_self_normalised_weights_average_one():
    assert self_normalised(np.array([1.0, 2.0, 3.0])).tolist() == [0.5, 1.0, 1.5]


def test_effective_samples_by_hand():
    assert effective_samples(np.array([1.0, 2.0, 3.0])) == pytest.approx(36 / 14)
    assert effective_samples(np.ones(7)) == 7
    assert effective_samples(np.array([0.0, 5.0, 0.0])) == 1
    assert effective_samples(np.zeros(4)) == 0


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(1e-3, 1e3)), st.floats(0.1, 10))
def test_effective_samples_lie_between_one_and_the_rows_and_ignore_the_scale(weights, scale):
    effective = effective_samples(weights)
    assert 1 - 1e-9 <= effective <= len(weights) + 1e-9
    assert effective_samples(weights * scale) == pytest.approx(effective)
