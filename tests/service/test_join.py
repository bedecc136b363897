"""The join against tables worked by hand: rewards, sessions, and what came next at every cut.

The domain here has two actions, one number as context, a wait of 10 s; sessions end after 5 s without a decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete, Space
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.log.join import Joined, join, only, read_window
from bondhu.log.memory import MemoryLog
from bondhu.ports import Reward, Signal
from bondhu.types import SESSION_CUT, SESSION_END, Array, Columns, Decision, Encoder, Feedback, Policy

REWARD = Reward({"like": Signal(1.0), "skip": Signal(-0.3), "rate": Signal(0.5, -1.0, 1.0)}, default=0.0, wait=10.0)


@dataclass(frozen=True)
class Tenths:
    """Observes ten times x."""

    space: Space[Any] = field(default_factory=lambda: MultiDiscrete([1000]))

    def one(self, context: Mapping[str, Any]) -> Array:
        return np.array([10 * context["x"]])

    def many(self, columns: Columns) -> Array:
        return 10 * columns["x"][:, None]


@dataclass(frozen=True)
class Toy:
    """A domain whose context is one number."""

    name: str = "toy"
    actions: tuple[str, ...] = ("a", "b")
    reward: Reward = REWARD
    idle: float = 5.0

    def columns(self, contexts: Sequence[bytes]) -> Columns:
        return {"x": np.array([msgspec.json.decode(each)["x"] for each in contexts], dtype=np.int64)}

    def encoder(self, observes: type[Space[Any]]) -> Encoder:
        assert observes is MultiDiscrete
        return Tenths()

    def describe(self) -> Mapping[str, Any]:
        return {}

    def baseline(self) -> Policy:
        raise NotImplementedError


class Row(NamedTuple):
    """One expected row of a batch."""

    x: int
    reward: float
    discount: float
    has_next: bool
    next_x: int  # 0 where nothing follows


def made(x: int, time: float, session: str = "s", **changes: Any) -> Decision:
    plain = Decision(f"d{x}", "toy", session, "u", time, {"x": x}, ("a", "b"), "a", 0.5, (), "v1", "live")
    return plain._replace(**changes)


def said(x: int, signal: str = "like", value: float | None = 1.0, time: float = 1.0, **changes: Any) -> Feedback:
    return Feedback(f"f{x}-{signal}-{time}", f"d{x}", signal, value, time)._replace(**changes)


def joined(
    decisions: Sequence[Decision],
    feedback: Sequence[Feedback] = (),
    *,
    domain: Toy = Toy(),
    start: float = -inf,
    end: float = 1000.0,
    minimum: int = 0,
) -> Joined:
    log = MemoryLog()
    log.append(decisions, feedback)
    records = read_window(domain, log, start, end)
    return join(domain, records, start=start, end=end, observes=MultiDiscrete, minimum_interactions=minimum)


def table(result: Joined) -> list[Row]:
    batch = result.batch
    columns = (batch.context["x"], batch.reward, batch.discount, batch.has_next, batch.next_observation[:, 0] // 10)
    assert batch.observation[:, 0].tolist() == (10 * batch.context["x"]).tolist()
    return [Row(*each) for each in zip(*(column.tolist() for column in columns), strict=True)]


def test_rewards_are_weighted_sums_and_the_default_where_nothing_was_said() -> None:
    result = joined(
        [made(1, 0.0), made(2, 100.0), made(3, 200.0)],
        [said(1), said(1, "skip", time=2.0), said(2, "rate", -0.5, 101.0)],
        domain=Toy(reward=replace(REWARD, default=-0.1)),
    )
    assert result.batch.reward.tolist() == pytest.approx([0.7, -0.25, -0.1])
    assert result.report.defaulted == 1
    assert result.report.mean_reward == pytest.approx(0.35 / 3)


def test_a_gap_of_idle_seconds_is_a_true_end_and_a_shorter_one_is_not() -> None:
    result = joined([made(1, 0.0), made(2, 4.999), made(3, 9.999), made(4, 12.0)])
    assert table(result) == [
        Row(1, 0.0, 1.0, True, 2),
        Row(2, 0.0, 0.0, False, 0),  # 5 s later is another session
        Row(3, 0.0, 1.0, True, 4),
        Row(4, 0.0, 0.0, False, 0),
    ]
    assert result.batch.session.tolist() == [0, 0, 1, 1]


def test_a_session_end_is_a_true_end() -> None:
    result = joined([made(1, 0.0), made(2, 2.0), made(3, 4.0)], [said(2, SESSION_END, time=3.0)])
    assert table(result) == [Row(1, 0.0, 1.0, True, 2), Row(2, 0.0, 0.0, False, 0), Row(3, 0.0, 0.0, False, 0)]
    assert result.report.defaulted == 3  # an end is no reward


def test_a_cut_row_is_left_out_and_the_row_before_it_knows_what_it_looked_like() -> None:
    result = joined([made(1, 0.0), made(2, 2.0), made(3, 4.0)], [said(2, SESSION_CUT, time=2.0)])
    assert table(result) == [Row(1, 0.0, 1.0, False, 2), Row(3, 0.0, 0.0, False, 0)]
    assert result.batch.session.tolist() == [0, 1]
    assert (result.report.settled, result.report.rows, result.report.cut) == (3, 2, 1)


def test_where_a_session_both_ends_and_is_cut_it_ends() -> None:
    result = joined([made(1, 0.0)], [said(1, SESSION_CUT, time=2.0), said(1, SESSION_END, time=2.0)])
    assert table(result) == [Row(1, 0.0, 0.0, False, 0)]


def test_an_end_that_comes_after_settlement_is_late_and_changes_nothing() -> None:
    result = joined([made(1, 0.0), made(2, 2.0)], [said(1, SESSION_END, time=10.0001)])
    assert table(result)[0] == Row(1, 0.0, 1.0, True, 2)
    assert (result.report.late, result.report.late_reward) == (1, 0.0)


def test_both_edges_of_a_window_cut_a_session_without_ending_it() -> None:
    decisions = [made(x, float(x)) for x in range(1, 6)]  # they settle at 11 … 15
    result = joined(decisions, start=11.0, end=13.0)
    assert table(result) == [Row(2, 0.0, 1.0, True, 3), Row(3, 0.0, 1.0, False, 4)]
    assert (result.report.decisions, result.report.settled, result.report.outstanding) == (4, 2, 2)
    assert table(joined(decisions, start=13.0, end=15.0))[-1] == Row(5, 0.0, 0.0, False, 0)


def test_the_last_settled_row_sees_an_unsettled_successor() -> None:
    result = joined([made(1, 0.0), made(2, 4.9)], end=10.0)
    assert table(result) == [Row(1, 0.0, 1.0, False, 2)]
    assert result.report.outstanding == 1


def test_settlement_waits_for_the_longer_of_wait_and_idle() -> None:
    patient = Toy(idle=50.0)
    assert joined([made(1, 0.0)], domain=patient, end=49.9).report.settled == 0
    assert joined([made(1, 0.0)], domain=patient, end=50.0).report.settled == 1


def test_without_sessions_every_decision_stands_alone() -> None:
    result = joined([made(1, 3.0), made(2, 1.0)], [said(1, SESSION_CUT, time=4.0)], domain=Toy(idle=0.0))
    assert table(result) == [Row(1, 0.0, 0.0, False, 0), Row(2, 0.0, 0.0, False, 0)]
    assert result.batch.session.tolist() == [0, 1]
    assert result.batch.next_observation.shape == (2, 1)


def test_rows_that_arrive_out_of_order_are_put_in_order_of_time() -> None:
    assert [row.x for row in table(joined([made(3, 4.0), made(1, 0.0), made(2, 2.0)]))] == [1, 2, 3]


def test_decisions_of_one_instant_stay_in_order_of_arrival() -> None:
    assert [row.x for row in table(joined([made(2, 1.0), made(1, 1.0), made(3, 1.0)]))] == [2, 1, 3]


def test_interleaved_sessions_are_told_apart() -> None:
    result = joined([made(1, 0.0, "s"), made(2, 1.0, "t"), made(3, 2.0, "s"), made(4, 3.0, "t")], [said(3, time=3.0)])
    assert table(result) == [
        Row(1, 0.0, 1.0, True, 3),
        Row(3, 1.0, 0.0, False, 0),
        Row(2, 0.0, 1.0, True, 4),
        Row(4, 0.0, 0.0, False, 0),
    ]
    assert result.batch.session.tolist() == [0, 0, 1, 1]
    assert result.rows.tolist() == [0, 2, 1, 3]


def test_feedback_before_its_decision_repeated_revised_and_revoked() -> None:
    log = MemoryLog()
    log.append([], [said(1, time=-1.0)])
    log.append([made(1, 0.0), made(2, 0.5), made(3, 1.0)], [said(1, time=-1.0)])
    log.append([], [said(2), said(2, value=0.25, time=2.0, replaces=said(2).id)])
    log.append([], [said(3), said(3, value=None, time=2.0, replaces=said(3).id)])
    result = join(Toy(), log.read("toy", -inf, inf), start=-inf, end=inf, observes=MultiDiscrete)
    assert result.batch.reward.tolist() == [1.0, 0.25, 0.0]
    assert result.report.defaulted == 1


def test_late_feedback_is_counted_and_left_out() -> None:
    rows = [made(1, 0.0)], [said(1, time=10.0), said(1, "skip", time=10.5), said(1, "rate", 1.0, 99.0)]
    result = joined(*rows)
    assert result.batch.reward.tolist() == [1.0]
    assert (result.report.late, result.report.late_reward) == (2, pytest.approx(0.2))
    counted = joined(*rows, domain=Toy(reward=replace(REWARD, count_late=True)))
    assert counted.batch.reward.tolist() == pytest.approx([1.2])
    assert counted.report.late == 2


def test_a_revision_that_comes_late_makes_the_feedback_late() -> None:
    result = joined([made(1, 0.0)], [said(1), said(1, value=0.5, time=11.0, replaces=said(1).id)])
    assert (result.batch.reward.tolist(), result.report.late, result.report.late_reward) == ([0.0], 1, 0.5)


def test_unknown_signals_are_counted_and_values_beyond_the_range_clipped() -> None:
    result = joined([made(1, 0.0)], [said(1, "wave"), said(1, "wave", time=2.0), said(1, "like", 7.0), said(1, "nod")])
    assert result.batch.reward.tolist() == [1.0]
    assert result.report.unknown_signals == {"wave": 2, "nod": 1}
    assert result.report.clipped == 1


def test_only_feedback_of_the_windows_decisions_is_counted() -> None:
    decisions = [made(1, 0.0, "s"), made(2, 3.0, "t")]
    feedback = [said(1, "wave"), said(1, "like", 9.0, 99.0)]
    report = joined(decisions, feedback, start=10.0, end=13.0).report
    assert (report.settled, report.late, report.clipped, dict(report.unknown_signals)) == (1, 0, 0, {})


def test_decisions_whose_action_is_gone_are_left_out_and_counted() -> None:
    gone = {"allowed": ("a", "old"), "action": "old"}
    result = joined([made(1, 0.0), made(2, 1.0, **gone), made(3, 2.0)])
    assert table(result) == [Row(1, 0.0, 1.0, False, 2), Row(3, 0.0, 0.0, False, 0)]
    assert result.batch.next_allowed.tolist() == [[True, False], [True, True]]
    assert result.report.unknown_actions == 1


def test_a_row_whose_successor_has_no_action_left_is_cut() -> None:
    result = joined([made(1, 0.0), made(2, 1.0, allowed=("old",), action="old")])
    assert table(result) == []
    assert (result.report.cut, result.report.unknown_actions) == (1, 1)


def test_allowed_actions_are_masks_in_the_domains_order() -> None:
    result = joined([made(1, 0.0, allowed=("b", "a"), action="b"), made(2, 1.0, allowed=("b",), action="b")])
    assert result.batch.allowed.tolist() == [[True, True], [False, True]]
    assert result.batch.next_allowed.tolist() == [[False, True], [True, True]]
    assert result.batch.action.tolist() == [1, 1]


def test_masks_that_are_all_equal_take_no_memory() -> None:
    batch = joined([made(x, 10.0 * x) for x in range(1, 20)]).batch
    assert batch.allowed.shape == batch.next_allowed.shape == (19, 2)
    assert batch.allowed.strides[0] == batch.next_allowed.strides[0] == batch.next_observation.strides[0] == 0
    assert batch.take(np.array([3, 5])).allowed.all()


def test_users_with_too_few_decisions_are_left_out_whole_sessions_at_a_time() -> None:
    whose = [("s", "ann"), ("s", "ann"), ("t", "bob"), ("r", "ann"), ("n", None), ("n", None), ("n", None)]
    decisions = [made(x, float(x), session, user=user) for x, (session, user) in enumerate(whose, 1)]
    result = joined(decisions, minimum=3)
    assert [row.x for row in table(result)] == [1, 2, 4, 5, 6, 7]
    assert (result.report.users, result.report.too_few) == (2, 1)
    assert joined(decisions).report.users == 3
    mixed = [made(1, 0.0, user=None), made(2, 1.0, user="ann"), made(3, 2.0, user="ann")]
    assert [row.x for row in table(joined(mixed, minimum=3))] == [1, 2, 3]  # it belongs to whoever began it


def test_nothing_joined_is_an_empty_batch() -> None:
    for result in (joined([]), joined([made(1, 0.0)], end=5.0)):
        assert len(result.batch) == 0
        assert result.batch.observation.shape == result.batch.next_observation.shape == (0, 1)
        assert result.batch.allowed.shape == result.batch.next_allowed.shape == (0, 2)
        assert np.isnan(result.report.mean_reward)
        assert result.report.users == 0


def test_probabilities_memos_and_times_follow_their_rows() -> None:
    result = joined([made(2, 1.0, probability=0.1, memo=(7.0,)), made(1, 0.0, probability=0.9)])
    assert result.batch.probability.tolist() == [0.9, 0.1]
    assert result.batch.time.tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(result.batch.memo, [[nan], [7.0]])


def test_only_keeps_decisions_with_their_feedback() -> None:
    log = MemoryLog()
    log.append([made(x, float(x)) for x in (1, 2, 3)], [said(3), said(1, "skip"), said(2)])
    kept = only(log.read("toy", 0.0, 9.0), np.array([True, False, True]))
    assert kept.id == ["d1", "d3"]
    assert list(zip(kept.feedback_decision.tolist(), kept.feedback_signal, strict=True)) == [(0, "skip"), (1, "like")]


events = st.lists(
    st.tuples(st.floats(0, 40), st.sampled_from("st"), st.sampled_from(["", "", "", SESSION_END, SESSION_CUT])),
    max_size=14,
)
edges = st.lists(st.floats(0, 60), min_size=1, max_size=5).map(sorted)


@given(events=events, edges=edges, idle=st.sampled_from([0.0, 3.0, 20.0]), wait=st.sampled_from([0.0, 0.1, 10.0]))
@settings(deadline=None, max_examples=200)
def test_consecutive_windows_hold_each_settled_decision_once(
    events: Any, edges: list[float], idle: float, wait: float
) -> None:
    domain = Toy(reward=replace(REWARD, wait=wait), idle=idle)
    log = MemoryLog()
    log.append(
        [made(x, time, session) for x, (time, session, _) in enumerate(events)],
        [said(x, kind, time=time) for x, (time, _, kind) in enumerate(events) if kind]
        + [said(x, value=0.5, time=time) for x, (time, _, _) in enumerate(events) if x % 2],
    )

    def window(start: float, end: float) -> Joined:
        records = read_window(domain, log, start, end)
        return join(domain, records, start=start, end=end, observes=MultiDiscrete)

    whole = window(-inf, edges[-1])
    parts = [window(start, end) for start, end in zip([-inf, *edges], edges, strict=False)]
    assert sum(part.report.settled for part in parts) == whole.report.settled
    found = {row.x: row for part in parts for row in table(part)}
    assert sum(len(part.batch) for part in parts) == len(found) == len(whole.batch)
    for row in table(whole):  # a window may stop at a row that goes on, but it never says otherwise
        assert found[row.x]._replace(has_next=row.has_next) == row
