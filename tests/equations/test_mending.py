"""Exploration that a log needs, against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.mending import least_rate, second_moment
from bondhu.equations.weights import effective_samples

EVEN = np.full((1, 4), 0.25)
FIRST, LAST = np.array([[1.0, 0.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.0, 1.0]])


def test_the_second_moment_by_hand():
    target, acting = np.array([[0.5, 0.5, 0.0, 0.0]]), np.array([[0.1, 0.9, 0.0, 0.0]])
    assert second_moment(target, acting, EVEN, 0.0) == pytest.approx(0.25 / 0.1 + 0.25 / 0.9)
    assert second_moment(target, acting, EVEN, 1.0) == pytest.approx(2.0)
    assert second_moment(target, acting, EVEN, 0.5) == pytest.approx(0.25 / 0.175 + 0.25 / 0.575)


def test_what_is_never_tried_is_worth_nothing_until_it_is_explored():
    assert second_moment(LAST, FIRST, EVEN, 0.0) == np.inf
    assert second_moment(LAST, FIRST, EVEN, 0.08) == pytest.approx(1 / 0.02)


@given(worth=st.floats(1e-4, 0.2))
def test_the_least_rate_for_an_action_that_only_exploration_takes(worth):
    """One action in four, at e / 4: a decision is worth e / 4 effective samples."""
    assert least_rate(LAST, FIRST, EVEN, worth) == pytest.approx(4 * worth, rel=1e-9)


def test_a_policy_that_acted_itself_needs_no_exploration():
    assert least_rate(FIRST, FIRST, EVEN, 1.0) == 0.0


def test_more_than_drawing_evenly_gives_is_refused():
    assert np.isnan(least_rate(LAST, FIRST, EVEN, 0.26))
    assert least_rate(LAST, FIRST, EVEN, 0.25) == pytest.approx(1.0)


def test_the_least_rate_may_lie_inside_though_drawing_evenly_is_not_enough():
    """Half 1st, half 4th, where the log takes the first: E[w²] is least between the two ends."""
    target = np.array([[0.5, 0.0, 0.0, 0.5]])
    found = least_rate(target, FIRST, EVEN, 0.52)
    assert 0 < found < 1
    assert second_moment(target, FIRST, EVEN, 1.0) > 1 / 0.52
    assert second_moment(target, FIRST, EVEN, found) == pytest.approx(1 / 0.52)
    assert second_moment(target, FIRST, EVEN, 0.99 * found) > 1 / 0.52


def test_a_log_drawn_at_that_rate_is_worth_what_was_asked():
    rng = np.random.default_rng(0)
    target, acting = rng.dirichlet(np.ones(4), 50), np.eye(4)[rng.integers(4, size=50)]
    even = np.full((50, 4), 0.25)
    rate = least_rate(target, acting, even, 0.2)
    rows = rng.integers(50, size=100_000)
    tried = ((1 - rate) * acting + rate * even)[rows]
    action = (rng.random((100_000, 1)) > tried.cumsum(1)).sum(1)
    weights = target[rows, action] / tried[np.arange(100_000), action]
    assert effective_samples(weights) == pytest.approx(20_000, rel=0.03)
