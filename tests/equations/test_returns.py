"""Numbers of seed 001 and of trajectories worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.returns import (
    action_values,
    advantage,
    advantage_over_previous,
    discounted_return,
    returns_to_go,
    state_values,
)

GENERIC = np.array([1.3, 1.2, 1.7, 1.5, 1.8])  # "How can I assist you today?"
DIRECT = np.array([1.7, 1.5, 1.8, 1.7, 1.6])  # "Could you share the stack trace?"
rewards = st.lists(st.floats(-10, 10), min_size=1, max_size=30).map(np.array)


def test_the_chatbot_example_adds_up_without_rounding_slips():
    assert discounted_return(GENERIC, 0.9) == pytest.approx(6.03148, abs=1e-9)
    assert discounted_return(DIRECT, 0.9) == pytest.approx(6.79706, abs=1e-9)


def test_no_rewards_return_nothing():
    assert discounted_return(np.array([]), 0.9) == 0.0


def test_returns_to_go_of_a_session_that_ends():
    returns = returns_to_go(np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), np.array([True, True, False]), 0.5)
    assert returns.tolist() == [3.0, 4.0, 4.0]


def test_returns_do_not_cross_from_one_session_into_the_next():
    has_next = np.array([True, False, True, False])
    returns = returns_to_go(np.array([1.0, 2.0, 4.0, 8.0]), has_next.astype(float), has_next, 0.5)
    assert returns.tolist() == [2.0, 2.0, 8.0, 8.0]


def test_a_cut_looks_ahead_and_a_true_end_does_not_even_read_what_follows():
    has_next = np.array([False, False])
    returns = returns_to_go(np.array([1.0, 1.0]), np.array([1, 0]), has_next, 0.5, np.array([6.0, np.nan]))
    assert returns.tolist() == [4.0, 1.0]


@given(rewards, st.floats(0, 1))
def test_the_first_return_to_go_is_the_discounted_return(reward, factor):
    has_next = np.arange(len(reward)) < len(reward) - 1
    first = returns_to_go(reward, has_next.astype(float), has_next, factor)[0]
    assert first == pytest.approx(sum(factor**k * r for k, r in enumerate(reward)), abs=1e-9)
    assert first == pytest.approx(discounted_return(reward, factor), abs=1e-9)


def test_values_are_means_over_the_trajectories_that_start_there():
    state, action, returns = np.array([0, 0, 2, 0]), np.array([0, 1, 1, 1]), np.array([1.0, 2.0, 7.0, 6.0])
    assert state_values(state, returns, 3).tolist() == pytest.approx([3.0, np.nan, 7.0], nan_ok=True)
    expected = [[1.0, 4.0], [np.nan, np.nan], [np.nan, 7.0]]
    np.testing.assert_array_equal(action_values(state, action, returns, (3, 2)), expected)


def test_both_advantages_of_the_chatbot_example():
    values = np.array([discounted_return(GENERIC, 0.9), discounted_return(DIRECT, 0.9)])
    usual = values.mean()  # both answers alike
    assert advantage(values, np.full(2, usual)) == pytest.approx([-0.38279, 0.38279], abs=1e-9)
    assert advantage_over_previous(values) == pytest.approx([0.76558], abs=1e-9)
    assert advantage_over_previous(np.array([1.0, 4.0, 2.0])).tolist() == [3.0, -2.0]
