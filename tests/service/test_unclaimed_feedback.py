"""Feedback whose decision never comes goes away in time, and that of an erased person's archived decisions at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.app import App
from bondhu.archives import erase_from_archive
from bondhu.erasing import erase
from bondhu.errors import StoreCorrupt
from bondhu.imports import archive_old
from bondhu.log import archive as archiving
from bondhu.log.archive import archive, erase_archived, forget_unclaimed
from bondhu.log.memory import MemoryLog
from bondhu.log.sqlite import SqliteLog
from bondhu.log.stores import open_stores
from bondhu.server import scheduling
from bondhu.types import Decision, Feedback
from tests.service.postgres import address, cluster  # noqa: F401  fixtures
from tests.service.shop import shop
from tests.service.stand import HOUR, NOW, opened

DAY = 24 * HOUR


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryLog()
    elif request.param == "sqlite":
        with SqliteLog(tmp_path / "log.db") as opened:
            yield opened
    else:
        stores = open_stores(request.getfixturevalue("address"), tmp_path)
        yield stores.log
        stores.close()


def made(id_: str, time: float, user: str | None = None) -> Decision:
    context = {"mood": "sad", "age": 1}
    return Decision(id_, "shop", f"s-{id_}", user, time, context, ("red", "blue"), "red", 0.5, (), "v", "live")


def said(id_: str, decision: str, time: float) -> Feedback:
    return Feedback(id_, decision, "like", 1.0, time)


def heard(log: Any) -> list[str]:
    """Ids of the feedback that the log holds, sorted."""
    return sorted(row.id for piece in log.facts("shop", -np.inf, np.inf) for row in piece.feedback)


def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory", "keeping", "postgres.keeping"):
        monkeypatch.setattr(f"bondhu.log.{module}.PIECE", 3)


def test_old_feedback_that_no_decision_claims_is_deleted_and_all_else_stays(
    log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_at_a_time(monkeypatch)
    log.append([made("away", 1.0), made("here", 200.0)], [said("first", "away", 2.0), said("kept", "here", 2.0)])
    archive(log, shop(), 100.0, tmp_path / "archive", now=1e9)
    waiting = [said(f"old{n}", f"never{n}", 50.0 + n) for n in range(10)]
    waiting += [said("young", "never1", 60.0), said("late", "away", 3.0)]
    log.append([], waiting)
    assert forget_unclaimed(log, "shop", 60.0, tmp_path / "archive") == 10
    assert heard(log) == ["kept", "late", "young"]
    assert forget_unclaimed(log, "shop", 60.0, tmp_path / "archive") == 0
    assert log.summary("shop").decisions == 1
    assert forget_unclaimed(log, "shop", 61.0, tmp_path / "nowhere") == 2  # no archive claims the late one there
    assert heard(log) == ["kept"]


def test_no_more_than_a_piece_of_waiting_feedback_is_held_and_deleted_at_a_time(
    log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_at_a_time(monkeypatch)
    log.append([made("here", 1.0)], [said(f"f{n}", f"never{n}", 1.0) for n in range(8)])
    asked: list[int] = []
    forget = type(log).forget

    def counting(self: Any, decisions: Any, feedback: Any) -> None:
        asked.append(len(feedback))
        forget(self, decisions, feedback)

    monkeypatch.setattr(type(log), "forget", counting)
    assert forget_unclaimed(log, "shop", 60.0, tmp_path) == 8
    assert asked == [3, 3, 2]


@pytest.mark.parametrize(("days", "wait", "limit"), [(None, HOUR, 30 * DAY), (2, HOUR, 2 * DAY), (2, 3 * DAY, 3 * DAY)])
def test_the_hourly_tidy_deletes_feedback_whose_decision_did_not_come_in_time(
    tmp_path: Path, days: float | None, wait: float, limit: float
) -> None:
    store = {} if days is None else {"retain_days": days}
    app = opened(tmp_path, store=store, reward={"wait": wait})
    rows = [said("old", "never", NOW - limit - 1.0), said("young", "never", NOW - limit + 1.0)]
    app.log.append([made("d", NOW - 60.0)], [*rows, said("known", "d", NOW - limit - 1.0)])
    scheduling._tidy(app)
    assert heard(app.log) == ["known", "young"]


def test_one_part_of_the_tidy_that_fails_leaves_the_others_to_be_done(tmp_path: Path) -> None:
    app = opened(tmp_path, store={"retain_days": 1}, reward={"wait": 2 * DAY})  # days that do not settle rewards
    app.log.append([], [said("old", "never", NOW - 3 * DAY)])
    scheduling._tidy(app)
    assert heard(app.log) == []


def test_nothing_is_deleted_while_somebody_archives(tmp_path: Path) -> None:
    app = opened(tmp_path)
    app.log.append([], [said("old", "never", NOW - 90 * DAY)])
    with app.stores.alone("archive"):
        scheduling._tidy(app)
    assert heard(app.log) == ["old"]


def test_nothing_is_deleted_where_an_archive_cannot_be_read(tmp_path: Path) -> None:
    log = MemoryLog()
    log.append([], [said("old", "never", 1.0)])
    (tmp_path / "shop-20330518T033320-001.decisions.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(StoreCorrupt, match=r"001\.decisions\.parquet cannot be read"):
        forget_unclaimed(log, "shop", 60.0, tmp_path)
    assert heard(log) == ["old"]


# ------------------------------------------------------------------------------------------------------------ erasures


def late(app: App) -> None:
    """Two people whose decisions are archived, and what comes for them afterwards."""
    old = NOW - 20 * DAY
    app.log.append([made("a1", old, "ann"), made("b1", old, "ben"), made("a2", NOW - 3 * HOUR, "ann")])
    archive_old(app, 10)
    waiting = [said("of-ann", "a1", NOW), said("of-ben", "b1", NOW), said("of-nobody", "never", NOW)]
    app.log.append([], [*waiting, said("known", "a2", NOW)])


def test_erasing_a_person_deletes_what_waits_for_their_archived_decisions(tmp_path: Path) -> None:
    app = opened(tmp_path)
    late(app)
    certificate = erase(app, "ann", by="test")
    assert certificate["files"]["archive"] == 1
    assert heard(app.log) == ["of-ben", "of-nobody"]
    app.stores.close()
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path.name for path in files if b"of-ann" in path.read_bytes()] == []
    assert any(b"of-ben" in path.read_bytes() for path in files)


def test_an_erasure_that_was_cut_off_before_the_archive_was_written_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(tmp_path)
    late(app)

    def cut_off(*_: Any) -> None:
        raise OSError("cut off")

    with monkeypatch.context() as cut:
        cut.setattr(archiving, "write_facts", cut_off)
        with pytest.raises(OSError, match="cut off"):
            erase_from_archive(app, ["ann"])
    assert erase_from_archive(app, ["ann"]) == 1
    assert heard(app.log) == ["known", "of-ben", "of-nobody"]
    assert erase_from_archive(app, ["ann"]) == 0


def test_every_log_gives_up_what_waits_for_archived_decisions_of_a_person(log: Any, tmp_path: Path) -> None:
    log.append([made("a1", 1.0, "ann"), made("b1", 1.0, "ben")], [said("f", "a1", 2.0)])
    archive(log, shop(), 100.0, tmp_path, now=1e9)
    log.append([], [said("of-ann", "a1", 3.0), said("of-ben", "b1", 3.0)])
    gone = erase_archived(tmp_path, "shop", "ann", log)
    assert (gone.decisions, sorted(gone.feedback)) == (("a1",), ["f", "of-ann"])
    assert heard(log) == ["of-ben"]
