"""Temporal-difference targets worked by hand."""

import numpy as np
import pytest

from bondhu.equations.td import expected_target, q_learning_target, td_error, td_target

REWARD = np.array([1.0, 1.0])
DISCOUNT = np.array([1.0, 0.0])
NEXT = np.array([[2.0, 8.0, 4.0], [2.0, 8.0, 4.0]])


def test_td_error_is_target_minus_value():
    assert td_error(np.array([1.0, 2.0]), np.array([4.0, 1.0])).tolist() == [3.0, -1.0]


def test_td_target_adds_the_discounted_value_unless_the_session_ended():
    assert td_target(REWARD, DISCOUNT, np.array([4.0, np.nan]), 0.5).tolist() == [3.0, 1.0]


def test_q_learning_looks_at_the_best_allowed_action_only():
    allowed = np.array([[True, False, True], [False, False, False]])
    assert q_learning_target(REWARD, DISCOUNT, NEXT, allowed, 0.5).tolist() == [3.0, 1.0]
    assert q_learning_target(REWARD, DISCOUNT, NEXT, np.ones((2, 3), bool), 0.5).tolist() == [5.0, 1.0]


def test_expected_target_weighs_the_next_actions_by_the_policy():
    probabilities = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    assert expected_target(REWARD, DISCOUNT, NEXT, probabilities, 0.5) == pytest.approx([3.0, 1.0])
