"""Credit in conversations: returns, values and both advantages, worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.domains.assistant.chatbot import FACTOR, DebuggingChatbot
from bondhu.domains.assistant.conversations import credited
from bondhu.errors import InvalidInput
from bondhu.types import Batch


def conversations(*sessions, cut=False):
    """A batch of conversations, each a list of (state, action, reward)."""
    turns = [turn for session in sessions for turn in session]
    has_next = np.array([n + 1 < len(session) for session in sessions for n in range(len(session))], bool)
    state = np.array([[turn[0]] for turn in turns]).reshape(len(turns), 1)
    return Batch(
        observation=state,
        allowed=np.ones((len(turns), 2), bool),
        action=np.array([turn[1] for turn in turns], np.int64),
        probability=np.full(len(turns), 0.5),
        reward=np.array([turn[2] for turn in turns], float),
        discount=has_next.astype(float) if not cut else np.ones(len(turns)),
        has_next=has_next,
        next_observation=state,
        next_allowed=np.ones((len(turns), 2), bool),
        session=np.repeat(np.arange(len(sessions)), [len(session) for session in sessions]),
        time=np.arange(len(turns), dtype=float),
        memo=np.zeros((len(turns), 0)),
    )


def played(action):
    """The conversation that this first answer leads to."""
    env, turns = DebuggingChatbot(), []
    seen, _ = env.reset()
    for answer in (action, 0, 0, 0, 0):
        following, reward, *_ = env.step(answer)
        turns.append((int(seen[0]) * 5 + int(seen[1]), answer, reward))
        seen = following
    return turns


def test_both_answers_of_the_chatbot():
    credit = credited(conversations(played(0), played(1)), FACTOR)
    assert credit.turn.tolist() == [0, 1, 2, 3, 4] * 2
    assert credit.returned[[0, 5]] == pytest.approx([6.03148, 6.79706], abs=1e-9)
    assert credit.returned[:5] == pytest.approx([6.03148, 5.2572, 4.508, 3.12, 1.8], abs=1e-9)
    assert credit.action_value[[0, 5]] == pytest.approx([6.03148, 6.79706], abs=1e-9)
    assert credit.state_value[[0, 5]] == pytest.approx([6.41427, 6.41427], abs=1e-9)
    assert credit.advantage[[0, 5]] == pytest.approx([-0.38279, 0.38279], abs=1e-9)
    assert credit.advantage_over_previous[1:5] == pytest.approx([-0.77428, -0.7492, -1.388, -1.32], abs=1e-9)
    assert np.isnan(credit.advantage_over_previous[[0, 5]]).all()


def test_alone_an_answer_is_worth_what_its_state_is():
    credit = credited(conversations(played(1)), FACTOR)
    assert credit.action_value == pytest.approx(credit.state_value)
    assert credit.advantage == pytest.approx(np.zeros(5))


def test_values_are_means_of_the_returns_that_were_seen():
    credit = credited(conversations([(0, 0, 1.0), (1, 0, 2.0)], [(0, 0, 3.0)], [(0, 1, 5.0)]), 0.5)
    assert credit.returned.tolist() == [2.0, 2.0, 3.0, 5.0]
    assert credit.action_value.tolist() == [2.5, 2.0, 2.5, 5.0]
    assert credit.state_value == pytest.approx([10 / 3, 2.0, 10 / 3, 10 / 3])
    assert credit.advantage == pytest.approx([-5 / 6, 0.0, -5 / 6, 5 / 3])
    assert credit.advantage_over_previous.tolist() == pytest.approx([np.nan, -0.5, np.nan, np.nan], nan_ok=True)


def test_a_conversation_that_was_cut_goes_on_unseen():
    credit = credited(conversations([(0, 0, 1.0), (1, 0, 2.0)], cut=True), 0.5, next_value=4.0)
    assert credit.returned.tolist() == [3.0, 4.0]


def test_states_may_be_numbered_otherwise():
    batch = conversations([(0, 0, 1.0)], [(1, 0, 3.0)])
    assert credited(batch, 0.9).state_value.tolist() == [1.0, 3.0]
    assert credited(batch, 0.9, np.array([7, 7])).state_value.tolist() == [2.0, 2.0]


def test_nothing_was_worth_nothing():
    assert all(len(column) == 0 for column in credited(conversations(), 0.9))


def test_what_has_no_number_is_refused():
    batch = conversations([(0, 0, 1.0)])
    with pytest.raises(InvalidInput, match="one action each"):
        credited(replace(batch, action=np.array([[0, 1]])), 0.9)
    with pytest.raises(InvalidInput, match="one action each"):
        credited(replace(batch, action=np.array([0.5])), 0.9)
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        credited(batch, 1.5)


turn = st.tuples(st.integers(0, 2), st.integers(0, 1), st.floats(-10, 10))


@given(st.lists(st.lists(turn, min_size=1, max_size=5), min_size=1, max_size=5), st.floats(0, 1))
def test_advantages_of_a_state_add_up_to_nothing(sessions, factor):
    batch = conversations(*sessions)
    credit = credited(batch, factor)
    for state in range(3):
        rows = batch.observation[:, 0] == state
        assert credit.advantage[rows].sum() == pytest.approx(0.0, abs=1e-6)
    assert credit.action_value.sum() == pytest.approx(credit.returned.sum(), abs=1e-6)
