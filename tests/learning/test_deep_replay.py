"""The memory of the deep learners, with numbers worked by hand."""

import numpy as np
import pytest
from gymnasium.spaces import Box

from bondhu.errors import InvalidInput
from bondhu.learners import _replay
from bondhu.learners._columns import Actions
from bondhu.learners._replay import columns_of, drawn, drawn_by_priority, nothing, remembered, reprioritised
from bondhu.types import Batch

TWO = Actions((2,), 0)


def empty(capacity=100, space=None):
    return nothing(space or Box(-np.inf, np.inf, (1,), np.float32), TWO, capacity)


def rows(first, count, *, ends=(), cuts=()):
    """Rows that see their own number and then the next, and earn 1, 2, 3, …; the last one is cut."""
    seen = np.arange(first, first + count, dtype=np.float32)[:, None]
    last = np.isin(np.arange(count), [*ends, *cuts, count - 1])
    return Batch(
        observation=seen, allowed=np.ones((count, 2), bool), action=np.arange(count) % 2,
        probability=np.full(count, 0.5), reward=np.arange(1.0, count + 1),
        discount=1.0 - np.isin(np.arange(count), ends),
        has_next=~last, next_observation=seen + 1, next_allowed=np.ones((count, 2), bool),
        session=np.cumsum(np.append(0, last[:-1])), time=np.arange(count) * 1.0, memo=np.zeros((count, 0)),
    )  # fmt: skip


def test_rewards_of_three_steps_stop_at_ends_and_cuts_and_bootstrap_from_what_was_seen_last():
    replay = remembered(empty(), rows(0, 7, ends=(2,), cuts=(4,)), 100, steps=3, factor=0.5)
    # Rewards 1 2 3 | 4 5 / 6 7 /: an end after the third, cuts after the fifth and the last.
    np.testing.assert_allclose(replay.rows.reward, [1 + 1 + 0.75, 2 + 1.5, 3, 4 + 2.5, 5, 6 + 3.5, 7])
    np.testing.assert_allclose(replay.rows.discount, [0, 0, 0, 0.25, 0.5, 0.25, 0.5])  # γ^k, 0 after the end
    np.testing.assert_array_equal(replay.rows.next_observation[:, 0], [3, 3, 3, 5, 5, 7, 7])
    np.testing.assert_array_equal(replay.rows.observation[:, 0], np.arange(7))


def test_the_mask_of_what_is_bootstrapped_from_comes_from_the_same_row():
    batch = rows(0, 3)
    batch.next_allowed[2, 1] = False
    replay = remembered(empty(), batch, 100, steps=3, factor=0.9)
    np.testing.assert_array_equal(replay.rows.next_allowed, [[True, False]] * 3)


def test_the_oldest_rows_are_overwritten_in_a_ring():
    replay = empty(5)
    replay = remembered(replay, rows(0, 3), 5, 1, 1.0)
    np.testing.assert_array_equal(replay.rows.observation[:, 0], [0, 1, 2])
    replay = remembered(replay, rows(10, 4), 5, 1, 1.0)
    np.testing.assert_array_equal(replay.rows.observation[:, 0], [12, 13, 2, 10, 11])
    assert replay.place == 2
    replay = remembered(replay, rows(20, 2), 5, 1, 1.0)
    np.testing.assert_array_equal(replay.rows.observation[:, 0], [12, 13, 20, 21, 11])


def test_of_more_rows_than_there_is_room_for_the_last_are_kept():
    replay = remembered(empty(3), rows(0, 8), 3, steps=2, factor=1.0)
    assert sorted(replay.rows.observation[:, 0]) == [5, 6, 7]
    by_number = dict(zip(replay.rows.observation[:, 0].tolist(), replay.rows.reward.tolist(), strict=True))
    assert by_number == {5.0: 6 + 7, 6.0: 7 + 8, 7.0: 8}


def test_a_full_memory_is_written_in_place_and_room_doubles_as_it_grows():
    replay, rooms = empty(4_096), set()
    for _ in range(16):
        replay = remembered(replay, rows(0, 256), 4_096, 1, 1.0)
        rooms.add(len(replay.rows.observation.base))
    assert sorted(rooms) == [1_024, 2_048, 4_096]  # copied twice for 16 writes
    place = replay.rows.observation.ctypes.data
    replay = remembered(replay, rows(9_000, 1), 4_096, 1, 1.0)
    assert replay.rows.observation.ctypes.data == place
    assert replay.rows.observation[0, 0] == 9_000


def test_room_never_grows_beyond_the_capacity():
    replay = empty(1_500)
    for _ in range(6):
        replay = remembered(replay, rows(0, 256), 1_500, 1, 1.0)
    assert len(replay.rows.observation.base) == len(replay.priority.base) == 1_500
    assert len(remembered(empty(4), rows(0, 3), 4, 1, 1.0).rows.observation.base) == 4


def test_a_memory_that_was_stored_read_only_is_copied_before_it_is_written():
    replay = remembered(empty(4), rows(0, 4), 4, 1, 1.0)
    stored = replay.rows.observation
    stored.flags.writeable = False
    after = remembered(replay, rows(10, 1), 4, 1, 1.0)
    assert (after.rows.observation[0, 0], stored[0, 0]) == (10, 0)


def test_images_are_remembered_as_bytes():
    space = Box(0, 255, (9, 9, 3), np.uint8)
    replay = nothing(space, TWO, 10)
    assert (replay.rows.observation.shape, replay.rows.observation.dtype) == ((0, 9, 9, 3), np.uint8)


def test_too_large_a_memory_is_refused_before_any_of_it_is_allocated(monkeypatch):
    monkeypatch.setattr(_replay, "free_memory", lambda: 2**30)
    # A row of 84 x 84 x 4 bytes, seen twice, two masks of two actions, 33 bytes for the rest: 56,485 bytes.
    with pytest.raises(InvalidInput, match=r"A replay of 1000000 rows needs 52.6 GiB; 1.0 GiB are free") as raised:
        nothing(Box(0, 255, (84, 84, 4), np.uint8), TWO, 1_000_000)
    assert (raised.value.field, raised.value.value) == ("capacity", 1_000_000)
    assert f"capacity = {2**29 // 56_485}" in str(raised.value)
    assert len(nothing(Box(0, 255, (84, 84, 4), np.uint8), TWO, 2**29 // 56_485).rows) == 0


def test_rows_are_drawn_alike_and_their_columns_come_along():
    replay = remembered(empty(), rows(0, 10), 100, 1, 0.9)
    chosen = drawn(replay, 500, 20, np.random.default_rng(0))
    assert chosen.shape == (500, 20)
    np.testing.assert_allclose(np.bincount(chosen.ravel()) / chosen.size, 0.1, atol=0.01)
    columns = columns_of(replay, np.array([[3, 9]]))
    np.testing.assert_array_equal(columns["observation"], [[[3], [9]]])
    np.testing.assert_array_equal(columns["next_observation"], [[[4], [10]]])
    np.testing.assert_array_equal(columns["reward"], [[4, 10]])
    np.testing.assert_allclose(columns["continuing"], 0.9)
    np.testing.assert_array_equal(columns["action"], [[1, 1]])


def test_rows_are_drawn_by_priority_and_counted_back_by_their_chance():
    replay = remembered(empty(), rows(0, 4), 100, 1, 1.0)
    replay = reprioritised(replay, np.array([[0, 1, 2, 3]]), np.array([[0.0, 1.0, -4.0, 9.0]]), power=0.5)
    np.testing.assert_allclose(replay.priority, [1e-3, 1, 2, 3], rtol=1e-5)  # |error|^½, never quite 0
    chosen, weight = drawn_by_priority(replay, 2_000, 6, np.random.default_rng(0))
    np.testing.assert_allclose(
        np.bincount(chosen.ravel(), minlength=4) / chosen.size, [0, 1 / 6, 1 / 3, 1 / 2], atol=5e-3
    )
    for row, inverse in ((1, 6 / 4), (2, 3 / 4), (3, 2 / 4)):  # 1 / (T·p), T = 4
        np.testing.assert_allclose(weight[chosen == row], inverse, rtol=1e-3)


def test_a_new_row_has_the_highest_priority_known():
    replay = remembered(empty(), rows(0, 2), 100, 1, 1.0)
    np.testing.assert_array_equal(replay.priority, [1, 1])
    replay = reprioritised(replay, np.array([[0, 1]]), np.array([[5.0, 0.25]]), power=1.0)
    replay = remembered(replay, rows(10, 1), 100, 1, 1.0)
    np.testing.assert_allclose(replay.priority, [5, 0.25, 5], rtol=1e-5)
