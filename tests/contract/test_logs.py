"""Every log and every task record keeps the same promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bondhu.errors import DuplicateId, InvalidInput
from bondhu.log.database import QUERIES
from bondhu.log.memory import MemoryLog, MemoryTasks
from bondhu.log.revisions import Said, superseded
from bondhu.log.sqlite import SqliteLog, SqliteTasks
from bondhu.log.stores import open_stores
from bondhu.ports import Task
from bondhu.types import Decision, Feedback, Records
from tests.service.postgres import address, cluster  # noqa: F401  fixtures

CHOICES = ("low", "medium", "high")


def decision(id_: str = "d1", time: float = 10.0, **changes: Any) -> Decision:
    plain = Decision(id_, "shop", "s1", "u1", time, {"mood": "calm"}, CHOICES, "low", 0.25, (), "v1", "live")
    return plain._replace(**changes)


def said(id_: str, value: float | None = 1.0, time: float = 20.0, **changes: Any) -> Feedback:
    return Feedback(id_, "d1", "like", value, time)._replace(**changes)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryLog()
    elif request.param == "sqlite":
        with SqliteLog(tmp_path / "log.db") as opened:
            yield opened
    else:
        with closing(open_stores(request.getfixturevalue("address"), tmp_path)) as stores:
            yield stores.log


def everything(log: Any, domain: str = "shop") -> Records:
    return log.read(domain, -np.inf, np.inf)


def heard(records: Records) -> list[tuple[str, str, float, float]]:
    rows = zip(
        records.feedback_decision, records.feedback_signal, records.feedback_value, records.feedback_time, strict=True
    )
    return [(records.id[row], signal, value, time) for row, signal, value, time in rows]


def test_a_decision_comes_back_as_it_was_given(log: Any) -> None:
    made = decision(
        context={"mood": "è \u2028 \U0001f600", "age": 3, "x": [0.1, None, True], "inner": {"a": -1e300}},
        memo=(0.1, -2.5),
        user=None,
        probability=1 / 3,
        time=1_700_000_000.123456,
    )
    log.append([made], [said("f1", 0.1)])
    assert log.find("d1") == (made, [said("f1", 0.1)])
    assert log.find("d2") is None


def test_columns_are_in_order_of_arrival(log: Any) -> None:
    log.append([decision("b", 12.0, memo=(1.0, 2.0)), decision("a", 11.0, allowed=("low", "high"), user=None)])
    log.append([decision("c", 10.0, session="s2", memo=(3.0,))], [said("f", 0.5, decision_id="c")])
    records = everything(log)
    assert records.id == ["b", "a", "c"]
    assert records.time.tolist() == [12.0, 11.0, 10.0]
    assert list(records.session) == ["s1", "s1", "s2"]
    assert list(records.user) == ["u1", None, "u1"]
    assert records.context == [b'{"mood":"calm"}'] * 3
    assert [records.allowed_sets[number] for number in records.allowed] == [CHOICES, ("low", "high"), CHOICES]
    np.testing.assert_array_equal(records.memo, [[1.0, 2.0], [np.nan, np.nan], [3.0, np.nan]])
    assert heard(records) == [("c", "like", 0.5, 20.0)]


ODD = ["s", 's"', "s\x1e,\n", "null", "s\x00t", "\\u0041", "\u2028\U0001f600", '"u1"s']


def test_odd_names_and_every_digit_come_back(log: Any) -> None:
    rng = np.random.default_rng(0)
    times = np.concatenate([1.7e9 + rng.random(3000), 10.0 ** rng.uniform(-300, 300, 3000)])
    users = [None, *ODD]
    made = [
        decision(
            f"{ODD[row % 8]}{row}", time, session=ODD[row % 8], user=users[row % 9], variant=ODD[row % 5]
        )._replace(assigned=1.0 / (1 + row % 7))
        for row, time in enumerate(times.tolist())
    ]
    log.append(made, [said(f"f{row}", time, time, decision_id=made[row].id) for row, time in enumerate(times.tolist())])
    records = everything(log)
    assert records.id == [each.id for each in made]
    assert [*zip(records.session, records.user, records.variant, strict=True)] == [
        (each.session, each.user, each.variant) for each in made
    ]
    assert records.assigned.tolist() == [each.assigned for each in made]
    assert records.time.tolist() == records.feedback_time.tolist() == records.feedback_value.tolist() == times.tolist()
    assert records.feedback_decision.tolist() == list(range(6000))


def test_a_window_holds_its_start_and_not_its_end(log: Any) -> None:
    log.append([decision(str(time), time) for time in (1.0, 2.0, 3.0)] + [decision("else", 2.0, domain="other")])
    assert log.read("shop", 1.0, 3.0).id == ["1.0", "2.0"]
    assert log.read("shop", np.nextafter(1.0, 2.0), np.inf).id == ["2.0", "3.0"]
    assert log.read("other", 0.0, 9.0).id == ["else"]
    with pytest.raises(InvalidInput, match="not a number"):
        log.read("shop", np.nan, 1.0)


def test_an_empty_window_has_empty_columns_of_the_right_shape(log: Any) -> None:
    for records in (everything(log), everything(log, "nothing")):
        assert records.id == []
        assert records.memo.shape == (0, 0)
        assert [len(each) for each in (records.time, records.allowed, records.feedback_value)] == [0, 0, 0]
        assert records.feedback_decision.dtype.kind == "i"


def test_feedback_may_come_before_its_decision(log: Any) -> None:
    log.append([], [said("f1", decision_id="d1"), said("f2", decision_id="never")])
    assert heard(everything(log)) == []
    assert log.summary("shop").unmatched == 2
    log.append([decision("d1")])
    assert heard(everything(log)) == [("d1", "like", 1.0, 20.0)]
    assert log.summary("shop").unmatched == 1


def test_rows_sent_twice_are_kept_once(log: Any) -> None:
    made, one = decision(context={"a": 1, "b": 2}, memo=(1.5,)), said("f1")
    log.append([made, made], [one, one])
    log.append([made._replace(context={"b": 2, "a": 1}), decision("d2")], [one, said("f2", decision_id="d2")])
    records = everything(log)
    assert records.id == ["d1", "d2"]
    assert [each[0] for each in heard(records)] == ["d1", "d2"]


@pytest.mark.parametrize(
    "changes",
    [
        *({"context": {"mood": "sad"}}, {"allowed": ("low",)}, {"memo": (1.0,)}, {"user": None}, {"time": 10.5}),
        *(
            {"probability": 0.5},
            {"action": "high"},
            {"domain": "other"},
            {"version": "v2"},
            {"variant": "new"},
            {"assigned": 0.5},
        ),
    ],
)
def test_the_same_id_with_other_content_undoes_the_whole_append(log: Any, changes: dict[str, Any]) -> None:
    log.append([decision()])
    with pytest.raises(DuplicateId, match=re.escape("Decision 'd1' is already stored")) as caught:
        log.append([decision("d2", allowed=("low", "only here")), decision(**changes)], [said("f1")])
    assert (caught.value.field, caught.value.value, caught.value.status) == ("id", "d1", 409)
    assert "new id" in str(caught.value)
    assert log.find("d1") == (decision(), [])
    assert log.find("d2") is None
    log.append([decision("d2", allowed=("low", "only here"))])  # what was undone is not remembered either
    assert log.find("d2")[0].allowed == ("low", "only here")


@pytest.mark.parametrize(
    "changes", [{"value": 0.5}, {"time": 21.0}, {"signal": "skip"}, {"decision_id": "d2"}, {"replaces": "f0"}]
)
def test_a_feedback_id_with_other_content_undoes_the_whole_append(log: Any, changes: dict[str, Any]) -> None:
    log.append([decision()], [said("f1")])
    with pytest.raises(DuplicateId, match="Feedback 'f1'"):
        log.append([decision("d9")], [said("f0"), said("f1")._replace(**changes)])
    assert everything(log).id == ["d1"]
    assert log.find("d1")[1] == [said("f1")]


BAD_DECISIONS: list[tuple[str, Any]] = [
    *(("assigned", value) for value in (0.0, 1.5, np.nan, "0.5", None)),
    *(("probability", value) for value in (0.0, -0.1, 1.0000001, np.nan, np.inf, "0.5", None)),
    *(("time", value) for value in (np.nan, np.inf, "now", None)),
    *(("id", value) for value in ("", "x" * 129, 5, None, "\ud800")),
    *(("action", value) for value in ("medum", 3)),
    *(("session", 5), ("user", 5), ("variant", None), ("domain", b"shop"), ("version", "\udfff")),
    *(("allowed", ["low"]), ("memo", [1.0]), ("context", "{}"), ("context", [1])),
]


@pytest.mark.parametrize(("field", "value"), BAD_DECISIONS)
def test_a_bad_decision_is_refused_by_field_and_value(log: Any, field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        log.append([decision("fine"), decision()._replace(**{field: value})], [said("f1")])
    assert caught.value.field == field
    assert caught.value.fix
    assert everything(log).id == []


@pytest.mark.parametrize(
    ("context", "field"),
    [
        *(({"x": np.nan}, "x"), ({"x": {"deep": [1.0, -np.inf]}}, "deep"), ({"x": np.float32("nan")}, "x")),
        *(({"x": None, "y": object()}, "y"), ({"x": "\ud800"}, "x")),
    ],
)
def test_what_json_cannot_hold_is_refused_by_field(log: Any, context: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match="JSON cannot hold") as caught:
        log.append([decision(context=context)])
    assert caught.value.field == field


def test_null_and_numpy_numbers_in_a_context_are_fine(log: Any) -> None:
    log.append([decision(context={"x": None, "y": np.float64(0.5), "z": np.int64(3)})])
    assert log.find("d1")[0].context == {"x": None, "y": 0.5, "z": 3}


BAD_FEEDBACK: list[tuple[str, Any]] = [
    *(("value", value) for value in (np.nan, -np.inf, "1", None)),
    *(("time", np.nan), ("id", ""), ("id", "x" * 129), ("decision_id", ""), ("decision_id", 7)),
    *(("signal", None), ("replaces", "f1"), ("replaces", ""), ("replaces", 3)),
]


@pytest.mark.parametrize(("field", "value"), BAD_FEEDBACK)
def test_a_bad_feedback_is_refused_by_field_and_value(log: Any, field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        log.append([decision()], [said("f1")._replace(**{field: value})])
    assert caught.value.field == field
    assert caught.value.fix
    assert log.find("d1") is None


@pytest.mark.parametrize(
    ("rows", "effective"),
    [
        ([said("a", 1.0), said("b", -1.0, 21.0, replaces="a")], [(-1.0, 21.0)]),
        ([said("b", -1.0, 21.0, replaces="a"), said("a", 1.0)], [(-1.0, 21.0)]),  # out of order
        ([said("a"), said("b", 2.0, replaces="a"), said("c", 3.0, replaces="b")], [(3.0, 20.0)]),  # a chain
        ([said("c", 3.0, replaces="b"), said("b", 2.0, replaces="a"), said("a")], [(3.0, 20.0)]),
        ([said("a"), said("b", None, replaces="a")], []),  # revoked
        ([said("b", None, replaces="a"), said("a")], []),
        ([said("a"), said("b", 2.0, 21.0, replaces="a"), said("c", None, 22.0, replaces="b")], []),
        ([said("a"), said("b", 2.0, 22.0, replaces="a"), said("c", 3.0, 21.0, replaces="a")], [(2.0, 22.0)]),
        ([said("a"), said("b", None, 21.0, replaces="a"), said("c", 3.0, 22.0, replaces="b")], [(3.0, 22.0)]),
        ([said("a"), said("x", 5.0), said("b", None, replaces="a")], [(5.0, 20.0)]),  # others stay
        ([said("a", replaces="b"), said("b", replaces="a")], []),  # a circle counts for nothing
        ([said("a"), said("b", None, decision_id="d2", replaces="a")], [(1.0, 20.0)]),  # not another decision's
    ],
)
def test_revisions_and_revocations_apply(log: Any, rows: list[Feedback], effective: list[Any]) -> None:
    log.append([decision("d1"), decision("d2")])
    for row in rows:
        log.append([], [row])
    assert [(value, time) for _, _, value, time in heard(everything(log))] == effective
    assert log.find("d1")[1] == [row for row in rows if row.decision_id == "d1"]


def test_superseded_rows_are_those_replaced_and_every_revocation() -> None:
    rows = [
        Said("d1", 1.0, 1, "a", 1.0, None),
        Said("d1", 2.0, 2, "b", 2.0, "a"),
        Said("d2", 1.0, 3, "c", 1.0, None),
        Said("d2", 2.0, 4, "d", None, "c"),
        Said("d3", 2.0, 5, "e", 1.0, "gone"),
    ]
    assert superseded(rows) == {1, 3, 4}


facts = st.lists(
    st.tuples(
        st.integers(0, 5),  # which decision
        st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]),
        st.one_of(st.none(), st.floats(-5, 5)),
        st.integers(0, 9),
        st.sampled_from([None, "a", "b", "c", "d"]),
    ),
    max_size=12,
    unique_by=lambda row: row[1],
)


def feedback_of(facts: Any) -> list[Feedback]:
    return [
        Feedback(id_, f"d{number}", "like", value, float(time), replaces)
        for number, id_, value, time, replaces in facts
        if replaces != id_ and (value is not None or replaces is not None)
    ]


def check_they_read_the_same(other: Any, facts: Any, window: Any) -> None:
    memory, rows = MemoryLog(), feedback_of(facts)
    made = [decision(f"d{number}", float(5 - number), session=f"s{number % 2}") for number in range(5)]
    for log in (memory, other):
        log.append(made[:2], rows[:6])
        log.append(made[2:], rows[6:])
    ours, theirs = (log.read("shop", *map(float, window)) for log in (memory, other))
    assert memory.domains() == other.domains() == ["shop"]
    assert replace(memory.summary("shop"), bytes=0) == replace(other.summary("shop"), bytes=0)
    assert [memory.find(each.id) for each in made] == [other.find(each.id) for each in made]
    assert (ours.id, [*ours.session], ours.context) == (theirs.id, [*theirs.session], theirs.context)
    assert heard(ours) == heard(theirs)


windows = st.tuples(st.integers(-1, 6), st.integers(-1, 7))


@given(facts=facts, window=windows)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_twins_read_the_same(tmp_path_factory: pytest.TempPathFactory, facts: Any, window: Any) -> None:
    with SqliteLog(tmp_path_factory.mktemp("twins") / "log.db") as sqlite:
        check_they_read_the_same(sqlite, facts, window)


def test_the_server_reads_the_same_as_memory(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    where = request.getfixturevalue("address")
    empty = request.getfixturevalue("cluster").run

    with closing(open_stores(where, tmp_path)) as stores:

        @given(facts=facts, window=windows)
        @settings(deadline=None, max_examples=60)
        def check(facts: Any, window: Any) -> None:
            empty("TRUNCATE decision, feedback", database=where.rpartition("/")[2])
            check_they_read_the_same(stores.log, facts, window)

        check()
        assert stores.log.domains() == ["shop"]


def test_feedback_is_found_by_its_id(log: Any) -> None:
    log.append([decision()], [said("f1", 0.5), said("f2", None, replaces="f1"), said("early", decision_id="later")])
    assert log.said("f1") == said("f1", 0.5)
    assert log.said("f2") == said("f2", None, replaces="f1")
    assert log.said("early") == said("early", decision_id="later")
    assert log.said("none") is None


def test_domains_are_named_once_and_in_order(log: Any) -> None:
    assert log.domains() == []
    log.append([decision(str(number), domain=name) for number, name in enumerate(("b", "a", "Z", "b", "é", "a b"))])
    assert log.domains() == ["Z", "a", "a b", "b", "é"]


def test_a_summary_counts_by_domain(log: Any) -> None:
    log.append([decision("d1", 5.0), decision("d2", 3.0), decision("e", 9.0, domain="other")])
    log.append([], [said("f1"), said("f2"), said("f3", decision_id="e"), said("f4", decision_id="lost")])
    found = log.summary("shop")
    assert (found.decisions, found.feedback, found.first, found.last, found.unmatched) == (2, 2, 3.0, 5.0, 1)
    assert found.bytes > 0
    nothing = log.summary("nothing")
    assert (nothing.decisions, nothing.feedback, nothing.first, nothing.last) == (0, 0, None, None)
    assert log.domains() == ["other", "shop"]


def test_threads_append_and_read_at_once(log: Any) -> None:
    threads, each = 6, 30
    start = Barrier(threads)
    seen: list[int] = []

    def work(thread: int) -> None:
        start.wait()
        for number in range(each):
            log.append([decision(f"{thread}-{number}", allowed=("low", f"{thread}"))])
            seen.append(len(everything(log).id))

    workers = [Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(seen) == threads * each
    assert sorted(everything(log).id) == sorted(f"{t}-{n}" for t in range(threads) for n in range(each))


def task(at: float, average: float, status: str = "completed", **changes: Any) -> Task:
    training = {"average_reward": average, "users_trained": 3, "agent_stats": {"total_states": 7}}
    return Task("rl_training", at, status, 3, 40, 1.5, {"training": training}, **changes)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def tasks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryTasks()
    elif request.param == "sqlite":
        with SqliteTasks(tmp_path / "log.db") as opened:
            yield opened
    else:
        with closing(open_stores(request.getfixturevalue("address"), tmp_path)) as stores:
            yield stores.tasks


def test_recent_tasks_are_newest_first(tasks: Any) -> None:
    rows = [task(1e9 + day, 0.1 * day) for day in (2, 0, 1)]
    for row in [*rows, Task("other", 5e9, "failed", 0, 0, 0.0, {}, "no room")]:
        tasks.record(row)
    assert tasks.recent("rl_training", 2) == [rows[0], rows[2]]
    assert tasks.recent("other", 9)[0].error == "no room"
    assert tasks.recent("never", 9) == []
    assert tasks.names() == ["other", "rl_training"]


def test_what_a_task_tells_comes_back(tasks: Any) -> None:
    told = {
        "average_reward": 1 / 3,
        "none": None,
        "text": "\u2028 \\\\u0000 'quoted'",
        "list": [1, 2.0, "x"],
        "big": 1e18,
    }
    tasks.record(Task("job", 1_700_000_000.123456, "failed", 1, 2, 0.25, told, "no room"))
    assert tasks.recent("job", 1) == [Task("job", 1_700_000_000.123456, "failed", 1, 2, 0.25, told, "no room")]


def test_the_two_monitoring_queries_answer(tmp_path: Path) -> None:
    monday = 1_759_712_400.25  # 2025-10-06T01:00:00.25Z
    path = tmp_path / "log.db"
    with SqliteLog(path), SqliteTasks(path) as tasks:
        for row in (task(monday, 0.2), task(monday + 60, 0.4), task(monday + 604_800, 0.5), task(9e8, 9.0, "failed")):
            tasks.record(row)
    with closing(apsw.Connection(str(path))) as connection:
        statistics = connection.execute(QUERIES["training_statistics"]).fetchall()
        progress = connection.execute(QUERIES["training_progress"]).fetchall()
    assert statistics[0] == ("2025-10-13T01:00:00.250000+00:00", 3, 40, 0.5, '{"total_states":7}')
    assert [row[0][:10] for row in statistics] == ["2025-10-13", "2025-10-06", "2025-10-06", "1998-07-09"]
    assert progress == [("2025-10-13", 0.5, 3), ("2025-10-06", pytest.approx(0.3), 6)]


def test_a_summary_counts_many_decisions_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bondhu.log.sqlite.SUMMED", 3)
    times = [-2.0, 0.0, *[5.0] * 10, 7.0, 7.0, 9.0]
    with SqliteLog(tmp_path / "log.db") as opened:
        made = [decision(str(at), time=time) for at, time in enumerate(times)]
        opened.append(made[::-1], [said(f"f{at}", decision_id=str(at)) for at in range(0, 15, 2)])
        opened.append([decision("other", domain="library")], [said("f", decision_id="other")])
        found = opened.summary("shop")
    assert (found.decisions, found.feedback, found.first, found.last) == (15, 8, -2.0, 9.0)
