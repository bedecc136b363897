"""n-step rewards over flat rows: three trajectories, one ended, one cut in the middle, one open at the end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bondhu.equations.n_step import n_step

REWARD = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
DISCOUNT = np.array([1, 1, 0, 1, 1, 1])  # the first ends truly at row 2
HAS_NEXT = np.array([True, True, False, True, False, False])  # the second is cut at row 4


def test_two_steps_stop_at_an_end_and_at_a_cut():
    total, remains, row = n_step(REWARD, DISCOUNT, HAS_NEXT, 2, 0.5)
    assert total.tolist() == [2.0, 4.0, 4.0, 16.0, 16.0, 32.0]
    assert remains.tolist() == [0.25, 0.0, 0.0, 0.25, 0.5, 0.5]
    assert row.tolist() == [1, 2, 2, 4, 4, 5]


def test_one_step_is_the_reward_and_the_row_itself():
    total, remains, row = n_step(REWARD, DISCOUNT, HAS_NEXT, 1, 0.5)
    assert total.tolist() == REWARD.tolist()
    assert remains.tolist() == [0.5, 0.5, 0.0, 0.5, 0.5, 0.5]
    assert row.tolist() == [0, 1, 2, 3, 4, 5]


def test_more_steps_than_rows_reach_the_boundary():
    total, remains, row = n_step(REWARD, DISCOUNT, HAS_NEXT, 10, 0.5)
    assert total.tolist() == [3.0, 4.0, 4.0, 16.0, 16.0, 32.0]
    assert remains.tolist() == [0.0, 0.0, 0.0, 0.25, 0.5, 0.5]
    assert row.tolist() == [2, 2, 2, 4, 4, 5]


def test_a_last_row_said_to_go_on_is_taken_as_cut():
    total, remains, row = n_step(np.array([1.0, 2.0]), np.ones(2), np.array([True, True]), 3, 0.5)
    assert total.tolist() == [2.0, 2.0]
    assert remains.tolist() == [0.25, 0.5]
    assert row.tolist() == [1, 1]


def test_nothing_follows_a_true_end_even_where_a_next_row_is_said_to():
    total, remains, row = n_step(np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.array([True, False]), 2, 0.5)
    assert total.tolist() == [1.0, 2.0]
    assert remains.tolist() == [0.0, 0.5]
    assert row.tolist() == [0, 1]


def test_no_rows_give_no_rows():
    assert [len(part) for part in n_step(np.array([]), np.array([]), np.array([], bool), 3, 0.9)] == [0, 0, 0]


def test_the_rewards_that_come_in_are_left_as_they_were():
    before = REWARD.copy()
    n_step(REWARD, DISCOUNT, HAS_NEXT, 3, 0.5)
    assert REWARD.tolist() == before.tolist()


@given(
    arrays(np.float64, 7, elements=st.floats(-10, 10)),
    arrays(np.bool_, 7),
    arrays(np.bool_, 7),
    st.integers(1, 8),
)
def test_it_is_what_a_plain_loop_adds_up(reward, ended, linked, steps):
    has_next = linked & ~ended
    has_next[-1] = False
    total, remains, row = n_step(reward, (~ended).astype(float), has_next, steps, 0.9)
    for t in range(7):
        added, factor, at = 0.0, 1.0, t
        for _ in range(steps):
            added += factor * reward[at]
            factor *= 0.0 if ended[at] else 0.9
            last = at
            if not has_next[at]:
                break
            at += 1
        assert total[t] == pytest.approx(added)
        assert remains[t] == pytest.approx(factor)
        assert row[t] == last
