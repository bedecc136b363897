"""Sessions step by step: weights that multiply, their means, and the mixture of least error, by hand and by search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.trajectories import (
    blend,
    corrected_returns,
    cumulative_weights,
    layout,
    mean_weights,
    normalised_terms,
    session_sums,
    session_weights,
    step_shares,
    temporal_errors,
)

SESSION = np.array([4, 4, 4, 7, 9, 9])  # three sessions of 3, 1 and 2 decisions
WHERE = layout(SESSION)
WEIGHTS = np.array([2.0, 0.5, 3.0, 0.5, 1.0, 4.0])
VALUES = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


def test_layout_numbers_sessions_and_steps():
    assert WHERE.session.tolist() == [0, 0, 0, 1, 2, 2]
    assert WHERE.step.tolist() == [0, 1, 2, 0, 0, 1]
    assert (WHERE.first.tolist(), WHERE.last.tolist()) == ([0, 3, 4], [2, 3, 5])
    assert (WHERE.order.tolist(), WHERE.bounds.tolist()) == ([0, 3, 4, 1, 5, 2], [0, 3, 5, 6])
    assert (WHERE.sessions, WHERE.steps) == (3, 3)


def test_layout_of_nothing_is_empty():
    nothing = layout(np.array([], np.int64))
    assert (nothing.sessions, nothing.steps) == (0, 0)


def test_weights_multiply_within_a_session_and_not_beyond():
    assert cumulative_weights(WEIGHTS, WHERE).tolist() == [2, 1, 3, 0.5, 1, 4]
    assert WEIGHTS[1] == 0.5  # what was given stays


def test_a_session_that_ended_keeps_its_last_weight_in_the_mean():
    # step 0: 2, .5, 1; step 1: 1, .5, 4; step 2: 3, .5, 4
    assert mean_weights(cumulative_weights(WEIGHTS, WHERE), WHERE) == pytest.approx([3.5 / 3, 5.5 / 3, 7.5 / 3])


def test_shares_follow_what_is_earned_later_steps_discounted():
    assert step_shares(VALUES, WHERE, 0.5) == pytest.approx(np.array([10, 4, 0.75]) / 14.75)
    assert step_shares(0 * VALUES, WHERE, 1.0) == pytest.approx(np.array([3, 2, 1]) / 6)


def test_the_weight_of_a_session_averages_its_steps():
    share = np.array([0.5, 0.25, 0.25])
    found = session_weights(cumulative_weights(WEIGHTS, WHERE), share, WHERE)
    assert found == pytest.approx([0.5 * 2 + 0.25 * 1 + 0.25 * 3, 0.5, 0.5 * 1 + 0.5 * 4])


def test_sums_are_discounted_from_the_beginning_of_the_session():
    assert session_sums(VALUES, WHERE, 0.5) == pytest.approx([1 + 1 + 0.75, 4, 5 + 3])


def test_normalised_terms_average_the_ratio_of_every_step():
    cumulative = cumulative_weights(WEIGHTS, WHERE)
    by_step = np.array([2 * 1 + 0.5 * 4 + 1 * 5, 1 * 2 + 4 * 6, 3 * 3]) / np.array([3.5, 5.5, 7.5])
    found = normalised_terms(VALUES, cumulative, WHERE, 0.5)
    assert found.mean() == pytest.approx(by_step @ [1, 0.5, 0.25])


def test_normalised_terms_are_the_derivative_by_the_share_of_each_session():
    """The influence of a session is how the value moves when it counts a little more."""
    cumulative = cumulative_weights(WEIGHTS, WHERE)

    def value(share):
        padded = np.array([[2, 1, 3], [0.5, 0.5, 0.5], [1, 4, 4]])
        earned = np.array([[2, 2, 9], [2, 0, 0], [5, 24, 0]])
        return float(((share @ earned) / (share @ padded)) @ [1, 0.5, 0.25])

    terms = normalised_terms(VALUES, cumulative, WHERE, 0.5)
    even = np.full(3, 1 / 3)
    for each in range(3):
        step = 1e-6 * (np.eye(3)[each] - even)
        slope = (value(even + step) - value(even - step)) / 2e-6
        assert terms[each] - terms.mean() == pytest.approx(slope, abs=1e-6)


def test_a_step_that_no_weight_reaches_adds_nothing():
    found = normalised_terms(VALUES, np.array([1.0, 0, 0, 0, 0, 0]), WHERE, 1.0)
    assert found.mean() == pytest.approx(1.0)


def test_corrected_returns_are_the_recursion_of_jiang_and_li():
    following, chosen = np.array([0.3, 0.2, 0.0, 0.0, 0.9, 0.7]), np.array([1.0, 0.5, 2.0, 1.0, 0.4, 0.1])
    errors = temporal_errors(VALUES, following, chosen, 0.9)
    assert errors[0] == pytest.approx(1 + 0.27 - 1)
    found = corrected_returns(errors, WEIGHTS, WHERE, 0.9)
    assert found[2] == errors[2]
    assert found[1] == pytest.approx(errors[1] + 0.9 * 3.0 * errors[2])
    assert found[0] == pytest.approx(errors[0] + 0.9 * 0.5 * found[1])
    summed = session_sums(cumulative_weights(WEIGHTS, WHERE) * errors, WHERE, 0.9)
    assert (WEIGHTS * found)[WHERE.first] == pytest.approx(summed)


def test_two_independent_returns_are_blended_by_their_precision():
    assert blend(np.diag([1.0, 3.0]), np.zeros(2)) == pytest.approx([0.75, 0.25], abs=1e-6)


def test_bias_counts_as_its_square():
    assert blend(np.diag([1.0, 2.0]), np.array([1.0, 0.0])) == pytest.approx([0.5, 0.5], abs=1e-6)


def test_a_return_that_only_adds_noise_gets_no_share():
    covariance = np.array([[1.0, 2.0], [2.0, 5.0]])  # the best mixture without a bound would be (1.5, -0.5)
    assert blend(covariance, np.zeros(2)) == pytest.approx([1.0, 0.0], abs=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_no_mixture_is_better_than_the_blend(seed, count):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(count, count))
    covariance, bias = root @ root.T, rng.normal(size=count)
    shares = blend(covariance, bias)
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()
    error = covariance + np.outer(bias, bias)
    others = rng.dirichlet(np.full(count, 0.5), 500)
    assert shares @ error @ shares <= np.einsum("ij,jk,ik->i", others, error, others).min() * (1 + 1e-6) + 1e-9
