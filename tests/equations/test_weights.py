"""Importance weights on numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bondhu.equations.weights import (
    calibration,
    clipped,
    effective_samples,
    importance,
    pareto_shape,
    self_normalised,
    shrunk,
    slight_correction,
    sub_gaussian,
    switched,
    tail_shape,
)


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


def test_switching_drops_what_is_above_the_limit():
    weights = np.array([0.0, 2.0, 3.0, 7.0])
    assert switched(weights, 3.0).tolist() == [0.0, 2.0, 3.0, 0.0]
    assert switched(weights, np.inf).tolist() == weights.tolist()


def test_shrinkage_pulls_the_largest_weights_in_the_most():
    weights = np.array([0.0, 1.0, 2.0, 10.0])
    assert shrunk(weights, 4.0) == pytest.approx([0.0, 0.8, 1.0, 40 / 104])  # at most sqrt(4) / 2, at 2
    assert shrunk(weights, 0.0).tolist() == [0.0, 0.0, 0.0, 0.0]
    assert shrunk(weights, np.inf).tolist() == weights.tolist()


def test_sub_gaussian_weights_are_bounded():
    weights = np.array([0.0, 1.0, 4.0, 1e9])
    assert sub_gaussian(weights, 0.25) == pytest.approx([0.0, 1.0, 4 / 1.75, 4.0])
    assert sub_gaussian(weights, 0.0).tolist() == weights.tolist()
    assert sub_gaussian(weights, 1.0).tolist() == [0.0, 1.0, 1.0, 1.0]


def test_a_slight_correction_moves_the_mean_by_less_than_a_tenth_of_its_error():
    assert slight_correction(np.array([3.0, 4.0])) == pytest.approx(0.1 / 5)
    weights = np.random.default_rng(0).exponential(size=1_000) ** 2
    bent = sub_gaussian(weights, slight_correction(weights))
    assert 0 < weights.mean() - bent.mean() < 0.1 * np.sqrt(np.mean(weights**2) / 1_000)
    assert slight_correction(np.zeros(3)) == 1.0


def quantiles(shape, count=100):
    """Of the generalised Pareto distribution with scale 1, evenly spread."""
    above = (np.arange(1, count + 1) - 0.5) / count
    return (above**-shape - 1) / shape


@pytest.mark.parametrize(
    ("shape", "expected"),
    [(-0.3, -0.19947691655126465), (0.2, 0.2412504985961378), (0.5, 0.5044927845021786), (1.0, 0.9433839032525795)],
)
def test_the_pareto_shape_is_that_of_the_published_fit(shape, expected):
    """Expected: the fit of ArviZ 0.18, which draws k towards 0.5 as by ten more excesses."""
    found = pareto_shape(quantiles(shape))
    assert (100 * found + 10 * 0.5) / 110 == pytest.approx(expected, abs=1e-12)
    assert found == pytest.approx(shape, abs=0.05)
    assert pareto_shape(1_000 * quantiles(shape)) == pytest.approx(found, abs=1e-9)  # units do not matter


def test_the_tail_of_weights_has_the_shape_they_were_drawn_with():
    rng = np.random.default_rng(0)
    for shape in (0.3, 0.6, 0.9, 1.3):
        found = [tail_shape(rng.random(20_000) ** -shape) for _ in range(100)]
        assert np.mean(found) == pytest.approx((425 * shape + 10 * 0.5) / 435, abs=0.05)  # drawn towards 0.5
    assert np.mean([tail_shape(rng.exponential(size=20_000)) for _ in range(20)]) == pytest.approx(0.05, abs=0.07)
    assert tail_shape(rng.random(20_000)) < -0.5  # a bounded tail; -1 is that of a uniform


def test_weights_of_a_few_values_have_no_heavy_tail():
    rng = np.random.default_rng(1)
    assert tail_shape(np.where(rng.random(10_000) < 1 / 27, 27.0, 0.0)) == -np.inf  # greedy policy, uniform log
    assert tail_shape(rng.choice([0.2, 1.0, 3.0], 5_000, p=[0.5, 0.48, 0.02])) < 0
    assert tail_shape(np.ones(500)) == tail_shape(np.zeros(500)) == tail_shape(np.arange(10.0)) == -np.inf


def test_calibration_by_hand():
    """Action 0 came with 1/2 and 1/4 in three rows that allow it; action 1 with 1/2 in four; sessions of one row."""
    action, probability = np.array([0, 0, 1, 1]), np.array([0.5, 0.25, 0.5, 0.5])
    allowed = np.array([[1, 1], [1, 1], [1, 1], [0, 1]], bool)
    mean, error = calibration(action, probability, allowed, np.arange(4))
    assert mean == pytest.approx([(2 + 4) / 3, (2 + 2) / 4])
    # about 1: 1 + 9 + 1 for action 0 and 1 + 1 + 1 + 1 for action 1; of single draws: 2 + 12 and 2 + 2
    assert error == pytest.approx([np.sqrt(14) / 3, np.sqrt(4) / 4])
    together = calibration(action, probability, allowed, np.array([0, 0, 1, 1]))[1]
    # sessions: (2 + 4 - 2)^2 + (0 - 1)^2 = 17 and (0 - 2)^2 + (2 + 2 - 2)^2 = 8
    assert together == pytest.approx([np.sqrt(17) / 3, np.sqrt(8) / 4])


def test_right_probabilities_are_calibrated_as_often_as_their_error_says():
    rng, logging = np.random.default_rng(2), np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    beyond = []
    for _ in range(400):
        context = rng.integers(0, 2, 500)
        action = (rng.random(500)[:, None] > logging[context].cumsum(1)).sum(1)
        mean, error = calibration(action, logging[context, action], np.ones((500, 3), bool), np.arange(500))
        beyond.append(np.abs(mean - 1) > 1.96 * error)
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.02)
