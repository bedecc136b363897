"""Temporal-difference targets worked by hand."""

import numpy as np
import pytest

from bondhu.equations.td import (
    double_q_target,
    expected_target,
    lambda_return,
    n_step_target,
    q_learning_target,
    td_error,
    td_target,
)

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


def test_double_q_chooses_by_one_table_and_judges_by_the_other():
    judging = np.array([[1.0, 3.0, 9.0], [np.nan, np.nan, np.nan]])
    allowed = np.array([[True, True, True], [False, False, False]])
    assert double_q_target(REWARD, DISCOUNT, (NEXT, judging), allowed, 0.5).tolist() == [2.5, 1.0]
    allowed[0, 1] = False
    assert double_q_target(REWARD, DISCOUNT, (NEXT, judging), allowed, 0.5).tolist() == [5.5, 1.0]


# Two sessions, one that ends after three rewards and one that is cut after two; V of what follows each row.
SESSIONS = (np.array([1.0, 2, 4, 8, 16]), np.array([1.0, 1, 0, 1, 1]), np.array([True, True, False, True, False]))
FOLLOWING = np.array([2.0, 4.0, np.nan, 8.0, 32.0])


def test_n_step_targets_stop_where_the_session_stops():
    assert n_step_target(*SESSIONS, FOLLOWING, 0.5, 1).tolist() == [2.0, 4.0, 4.0, 12.0, 32.0]
    assert n_step_target(*SESSIONS, FOLLOWING, 0.5, 2).tolist() == [3.0, 4.0, 4.0, 24.0, 32.0]
    assert n_step_target(*SESSIONS, FOLLOWING, 0.5, 9).tolist() == [3.0, 4.0, 4.0, 24.0, 32.0]


def test_n_step_targets_look_ahead_after_n_rewards():
    values = np.array([6.0, 10.0, np.nan, 8.0, 32.0])
    assert n_step_target(*SESSIONS, values, 0.5, 2)[0] == 1 + 0.5 * 2 + 0.25 * 10


def test_lambda_return_lies_between_one_step_and_the_whole_return():
    assert lambda_return(*SESSIONS, FOLLOWING, 0.5, 0.0).tolist() == [2.0, 4.0, 4.0, 12.0, 32.0]
    assert lambda_return(*SESSIONS, FOLLOWING, 0.5, 1.0).tolist() == [3.0, 4.0, 4.0, 24.0, 32.0]
    half = lambda_return(*SESSIONS, FOLLOWING, 0.5, 0.5)
    assert half.tolist() == [1 + 0.5 * (1 + 2), 2 + 0.5 * (2 + 2), 4.0, 8 + 0.5 * (4 + 16), 32.0]
