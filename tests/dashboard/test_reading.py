"""The decisions of a log, kept in memory: newest first, fresh, whole, and gone when somebody is erased."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bondhu.dashboard.columns import reading
from bondhu.dashboard.columns.reading import FRESH, Reading
from bondhu.dashboard.columns.sheets import Sheet, alike, sheet_of
from bondhu.domains import declared
from bondhu.errors import StoreLocked
from bondhu.log.memory import MemoryLedger, MemoryLog
from bondhu.log.sqlite import SqliteLedger, SqliteLog
from bondhu.ports import ERASURE
from bondhu.types import Feedback
from tests.dashboard.test_sheets import decision
from tests.service.shop import problem, shop

DAY = 86_400.0
NOW = 100 * DAY


class Place:
    """What a reading needs of a deployment, with a clock of its own."""

    def __init__(self, log: Any, ledger: Any, domain: Any = None) -> None:
        self.clock = NOW
        self.log, self.ledger, self.domain = log, ledger, domain or shop()
        self.count = 0

    def now(self) -> float:
        return self.clock

    def decide(self, *times: float, **changes: Any) -> list[str]:
        """Decisions at these times; returns their ids."""
        names = [f"d{self.count + at}" for at in range(len(times))]
        self.count += len(times)
        self.log.append([decision(name, time, **changes) for name, time in zip(names, times, strict=True)])
        return names

    def like(self, name: str, time: float) -> None:
        self.log.append([], [Feedback(f"f-{name}-{time}", name, "like", 1.0, time)])

    def whole(self) -> Sheet:
        """All of it, read at once."""
        records = self.log.read("shop", -np.inf, np.inf)
        return sheet_of(self.domain, records, -np.inf, np.inf, self.clock)

    def reading(self, **options: Any) -> Reading:
        return Reading(self, **options)  # type: ignore[arg-type]  # only these parts of it are used


@pytest.fixture
def place() -> Place:
    return Place(MemoryLog(), MemoryLedger())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of few decisions."""
    for name, value in {"FIRST": 8, "SMALLEST": 4, "LARGEST": 16, "COUNTED": 10}.items():
        monkeypatch.setattr(reading, name, value)


def finish(found: Reading) -> Reading:
    """Until nothing is due any more."""
    for _ in range(10_000):
        if not found.step():
            return found
    raise AssertionError("it never ends")


def test_an_empty_log_is_an_empty_sheet(place: Place) -> None:
    found = finish(place.reading())
    assert (len(found.sheet()), found.progress(), found.complete) == (0, (0, 0, NOW), True)


@pytest.mark.usefixtures("small")
def test_the_newest_decisions_are_there_first_and_all_of_them_in_the_end(place: Place) -> None:
    place.decide(*(NOW - 1000.0 + 10 * at for at in range(100)))
    found = place.reading()
    assert len(found.sheet()) == 0
    found.step()
    assert found.sheet().time.tolist() == [NOW - 10.0 * at for at in range(4, 0, -1)]
    assert not found.complete
    seen = [len(found.sheet())]
    while found.step():
        seen.append(len(found.sheet()))
        newest = found.sheet().time
        assert newest.tolist() == place.whole().time.tolist()[-len(newest) :]
    assert sorted(seen) == seen
    assert found.complete
    assert alike(found.sheet(), place.whole())
    assert found.progress() == (100, 100, NOW - 1000)


@pytest.mark.usefixtures("small")
def test_how_many_there_are_is_known_before_all_are_read(place: Place) -> None:
    place.decide(*(NOW - 1000.0 + 10 * at for at in range(95)))
    found = place.reading()
    while found.progress().of < 95:
        found.step()
    assert found.progress().read < 95


def test_the_sheet_is_the_same_object_until_something_changes(place: Place) -> None:
    (name,) = place.decide(NOW - 5.0)
    found = finish(place.reading())
    first = found.sheet()
    place.clock += FRESH
    finish(found)
    assert found.sheet() is first
    place.like(name, place.clock)
    place.clock += FRESH
    finish(found)
    assert found.sheet() is not first
    assert found.sheet().generation != first.generation
    assert (found.sheet().heard.tolist(), first.heard.tolist()) == ([True], [False])


@pytest.mark.usefixtures("small")
def test_new_decisions_come_in_and_pieces_do_not_become_many(place: Place) -> None:
    found = finish(place.reading())
    for _ in range(400):
        place.clock += 10.0
        place.decide(place.clock - 5, place.clock - 4, place.clock - 3)
        finish(found)
        assert len(found.sheet()) == place.count
    assert alike(found.sheet(), place.whole())
    assert len(found._pieces) < 400 * 3 / 3


@pytest.mark.usefixtures("small")
def test_rewards_settle_as_time_passes(place: Place) -> None:
    names = place.decide(*(NOW - 50.0 + at for at in range(50)))
    found = finish(place.reading())
    assert not found.sheet().settled.any()
    place.clock += DAY / 2
    place.like(names[3], place.clock - 1)
    finish(found)
    assert found.sheet().heard.sum() <= 1  # it may not have been read again yet
    place.clock = NOW + DAY
    finish(found)
    assert found.sheet().settled.all()
    assert found.sheet().reward.sum() == 1.0
    assert alike(found.sheet(), place.whole())


@pytest.mark.usefixtures("small")
def test_feedback_that_comes_late_is_found_in_the_end(place: Place) -> None:
    table = dict(problem())
    table["reward"] = {**table["reward"], "count_late": True}
    place.domain = declared.from_table(table)
    names = place.decide(*(NOW - 5 * DAY + at for at in range(50)))
    found = finish(place.reading())
    assert found.sheet().reward.sum() == 0.0
    place.like(names[7], place.clock)
    place.clock += DAY
    finish(found)
    assert found.sheet().reward.sum() == 1.0


@pytest.mark.usefixtures("small")
def test_old_decisions_that_are_imported_later_are_read_too(place: Place) -> None:
    place.decide(*(NOW - 50.0 + at for at in range(50)))
    found = finish(place.reading())
    place.decide(*(NOW - 50 * DAY + at for at in range(60)))  # before all others
    place.decide(*(NOW - 40.0 + at / 10 for at in range(200)))  # in the midst of them
    place.clock += DAY
    finish(found)
    assert alike(found.sheet(), place.whole())
    assert len(found.sheet()) == 310


@pytest.mark.usefixtures("small")
def test_at_most_so_many_decisions_are_kept_the_newest(place: Place) -> None:
    place.decide(*(NOW - 1000.0 + at for at in range(500)))
    found = finish(place.reading(most=100))
    assert 100 <= len(found.sheet()) < 116
    assert found.complete
    assert found.progress().of == len(found.sheet())
    for _ in range(50):
        place.clock += 10.0
        place.decide(*(place.clock - 1 + at / 10 for at in range(5)))
        finish(found)
    assert 100 <= len(found.sheet()) < 120
    newest = place.whole().take(slice(-len(found.sheet()), None))
    assert found.sheet().time.tolist() == newest.time.tolist()


@pytest.mark.usefixtures("small")
def test_many_decisions_at_one_moment_are_read_together(place: Place) -> None:
    place.decide(*[NOW - 5.0] * 60, *(NOW - 9.0 + at / 10 for at in range(30)))
    assert alike(finish(place.reading()).sheet(), place.whole())


@pytest.mark.usefixtures("small")
def test_after_an_erasure_nothing_old_stays_in_memory(place: Place) -> None:
    place.decide(*(NOW - 100.0 + at for at in range(40)), user="bob")
    place.decide(*(NOW - 60.0 + at for at in range(40)), user="ann")
    place.ledger.note(ERASURE, "shop", {"of": "somebody long ago"}, time=NOW)
    found = finish(place.reading())
    assert len(found.sheet()) == 80
    before = found.sheet()
    place.log.erase("shop", "bob")
    place.ledger.note(ERASURE, "shop", {}, time=place.clock)
    found.step()
    assert len(found.sheet()) <= 8
    finish(found)
    assert alike(found.sheet(), place.whole())
    assert (len(found.sheet()), len(found.sheet().people)) == (40, 1)
    assert found.sheet().generation != before.generation


@pytest.mark.usefixtures("small")
def test_a_clock_that_is_set_back_stops_nothing(place: Place) -> None:
    place.decide(*(NOW - 100.0 + at for at in range(30)))
    found = finish(place.reading())
    place.clock = NOW - 3600.0
    place.decide(place.clock, NOW + 5.0)
    finish(found)
    assert alike(found.sheet(), place.whole())
    assert len(found.sheet()) == 32


@pytest.mark.usefixtures("small")
def test_every_change_is_another_generation(place: Place) -> None:
    names = place.decide(*(NOW - 100.0 + at for at in range(50)))
    found = finish(place.reading())
    seen = [found.sheet().generation]
    for _ in range(10):  # the newest decisions go, one after the other
        place.log.forget([names.pop()], [])
        place.clock += DAY
        finish(found)
        seen.append(found.sheet().generation)
    assert len(found.sheet()) == 40
    assert len(set(seen)) == 11


def test_an_erasure_of_another_domain_is_not_ours(place: Place) -> None:
    place.decide(NOW - 5)
    found = finish(place.reading())
    before = found.sheet()
    place.ledger.note(ERASURE, "library", {}, time=place.clock)
    place.clock += FRESH
    finish(found)
    assert found.sheet() is before


def test_contexts_that_do_not_fit_are_counted(place: Place) -> None:
    place.decide(NOW - 5, NOW - 4)
    place.decide(NOW - 3, context={"mood": "<b>", "age": 3})
    found = finish(place.reading())
    assert (len(found.sheet()), found.sheet().unfit, found.progress().read) == (2, 1, 3)


def test_delays_are_learned_from_more_than_a_piece(place: Place, small: None) -> None:
    table = dict(problem())
    table["reward"] = {**table["reward"], "wait": 3600.0, "delay_horizon": 30 * DAY}
    place.domain = declared.from_table(table)
    names = place.decide(*(NOW - 20 * DAY + 600.0 * at for at in range(400)))
    for at, name in enumerate(names):  # half of the likes come in time
        place.like(name, NOW - 20 * DAY + 600.0 * at + (60.0 if at % 2 else 2 * 3600.0))
    found = finish(place.reading()).sheet()
    assert found.reward.max() == pytest.approx(2.0, abs=0.02)
    assert alike(found, place.whole())


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Place]:
    with SqliteLog(tmp_path / "log.db") as log:
        ledger = SqliteLedger(tmp_path / "log.db")
        yield Place(log, ledger)
        ledger.close()


def until(true: Any) -> None:
    end = monotonic() + 30
    while not true():
        assert monotonic() < end
        sleep(0.01)


def test_a_thread_reads_and_keeps_reading(stored: Place) -> None:
    stored.decide(*(NOW - 3000.0 + at for at in range(3000)))
    found = stored.reading()
    found.start()
    try:
        until(lambda: len(found.sheet()) == 3000 and found.complete)
        stored.decide(NOW)
        stored.clock += FRESH
        until(lambda: len(found.sheet()) == 3001)
    finally:
        found.close()
    assert alike(found.sheet(), stored.whole())


def test_trouble_with_the_store_is_told_once_and_what_was_read_stays(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 0.01)
    place.decide(NOW - 5)
    found = place.reading()
    finish(found)
    asked: list[str] = []

    def locked(*_: Any, **__: Any) -> Any:
        asked.append("again")
        raise StoreLocked("Somebody else writes.", fix="Wait.")

    place.clock += FRESH
    with monkeypatch.context() as away, caplog.at_level(logging.ERROR):
        away.setattr(place.log, "read", locked)
        found.start()
        until(lambda: len(asked) > 5)
        assert len(found.sheet()) == 1
        assert [each.message for each in caplog.records] == [
            "The decisions cannot be read now, the pages show what was read before: Somebody else writes. Wait."
        ]
    place.decide(NOW)
    until(lambda: len(found.sheet()) == 2)
    found.close()


def test_a_fault_of_our_own_ends_nothing(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 0.01)
    place.decide(NOW - 5)
    found, calls = place.reading(), []
    ask = place.ledger.entries

    def entries(*words: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) < 4:
            raise ZeroDivisionError
        return ask(*words, **more)

    monkeypatch.setattr(place.ledger, "entries", entries)
    with caplog.at_level(logging.ERROR):
        found.start()
        until(lambda: len(found.sheet()) == 1)
        found.close()
    assert [each.message for each in caplog.records] == ["The decisions cannot be read now (ZeroDivisionError)."]
    assert caplog.records[0].exc_info


def test_nothing_is_written(stored: Place) -> None:
    stored.decide(*(NOW - 20_000.0 + at for at in range(20_000)))
    statements: list[str] = []
    hook = lambda connection: connection.set_exec_trace(lambda _, sql, values: statements.append(sql) or True)  # noqa: E731
    apsw.connection_hooks.append(hook)
    try:
        finish(stored.reading())
    finally:
        apsw.connection_hooks.remove(hook)
    assert not any(word in sql for sql in statements for word in ("INSERT", "UPDATE", "DELETE"))
    stored.log.database.only_read()
    assert len(finish(stored.reading()).sheet()) == 20_000


@pytest.mark.usefixtures("small")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("decide"), st.lists(st.floats(0, 3 * DAY), min_size=1, max_size=30)),
            st.tuples(st.just("like"), st.floats(0, 1)),
            st.tuples(st.just("wait"), st.floats(1, DAY)),
            st.tuples(st.just("step"), st.integers(1, 5)),
        ),
        max_size=25,
    )
)
def test_whatever_happens_in_whichever_order_the_sheet_is_what_the_log_says(events: list[Any]) -> None:
    place = Place(MemoryLog(), MemoryLedger())
    found = place.reading()
    names: list[str] = []
    for what, how in events:
        if what == "decide":
            names += place.decide(*(place.clock - back for back in how))
        elif what == "like" and names:
            place.like(names[int(how * (len(names) - 1))], place.clock)
        elif what == "wait":
            place.clock += how
        elif what == "step":
            for _ in range(how):
                found.step()
    place.clock += 10 * DAY  # each piece is read again by then
    finish(found)
    assert alike(found.sheet(), place.whole())
    assert dict(found.sheet().feedback) == dict(place.whole().feedback)
