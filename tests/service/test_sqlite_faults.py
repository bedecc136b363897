"""Whatever happens to the process, the disk or the file, nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import numpy as np
import pytest

from benchmarks.power_cut import cut
from bondhu.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreTooNew
from bondhu.log.checkpoints import Checkpointer
from bondhu.log.database import APPLICATION, SHORT, migrations
from bondhu.log.sqlite import SqliteLog, SqliteTasks
from bondhu.ports import Task
from bondhu.types import Decision, Feedback


def decision(id_: str, size: int = 10) -> Decision:
    return Decision(id_, "shop", "s", None, 1.0, {"text": "x" * size}, ("a", "b"), "a", 0.5, (1.0,), "v1", "live")


def ids(log: SqliteLog) -> list[str]:
    return list(log.read("shop", -np.inf, np.inf).id)


@contextmanager
def another_writer(path: Path) -> Iterator[apsw.Connection]:
    """Another process would hold the file the same way."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


WRITER = """
import sys
from contextlib import nullcontext
from bondhu.log.checkpoints import Checkpointer
from bondhu.log.sqlite import SqliteLog
from bondhu.types import Decision, Feedback
with SqliteLog(sys.argv[1]) as log, Checkpointer(log.database, 0.001) if sys.argv[3] == "server" else nullcontext():
    for number in range(1_000_000):
        names = [f"{sys.argv[2]}-{number}-{part}" for part in range(number % 5 + 1)]
        log.append(
            [Decision(n, "shop", "s", None, 1.0, {"n": n}, ("a",), "a", 0.5, (), "v1", "live") for n in names],
            [Feedback(f"f{n}", n, "like", 1.0, 2.0) for n in names],
        )
        print(*names, flush=True)
"""


@pytest.mark.parametrize("kind", ["command", "server"])  # a server has a checkpointer
def test_every_acknowledged_row_survives_kill_9(tmp_path: Path, kind: str) -> None:
    path, acknowledged = tmp_path / "log.db", []
    for run, lines in enumerate((1, 40, 150)):
        command = [sys.executable, "-c", WRITER, str(path), str(run), kind]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(lines):
                acknowledged.append(process.stdout.readline().split())
            process.send_signal(signal.SIGKILL)
            acknowledged.extend(line.split() for line in process.stdout if line.endswith("\n"))
        assert process.returncode == -signal.SIGKILL
    with SqliteLog(path) as log:
        records = log.read("shop", -np.inf, np.inf)
        stored = set(records.id)
        assert {name for names in acknowledged for name in names} <= stored
        assert len(acknowledged) >= 191
        # what was not acknowledged is there whole or not at all: each decision has its one feedback
        assert sorted(records.feedback_decision) == list(range(len(stored)))
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.pragma("integrity_check") == "ok"


LIMITED = """
import resource, signal, sys
from bondhu.errors import StoreFull
from bondhu.log.sqlite import SqliteLog
from bondhu.types import Decision
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with SqliteLog(sys.argv[1]) as log:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    for number in range(1000):
        made = Decision(str(number), "shop", "s", None, 1.0, {"x": "x" * 5000}, ("a",), "a", 0.5, (), "v1", "live")
        try:
            log.append([made])
        except StoreFull as error:
            print(number, error)
            break
    print(len(log.read("shop", 0.0, 9.0).id))
"""


def test_no_room_on_the_disk_is_said_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    refused, readable = done.stdout.splitlines()
    stored, message = refused.split(maxsplit=1)
    assert int(stored) > 10
    assert "No room on the disk" in message
    assert "Free some space" in message
    assert readable == stored
    with SqliteLog(path) as log:  # room again: the same row can be sent again
        assert ids(log) == [str(number) for number in range(int(stored))]
        log.append([decision(stored)])
        assert ids(log)[-1] == stored


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this container may not mount a small disk")
    try:
        with SqliteLog(disk / "log.db") as log:
            stored = _fill(log)
            assert ids(log) == stored
    finally:
        subprocess.run(["umount", disk], check=True)
    assert len(stored) > 10


def test_a_store_that_may_not_grow_is_full(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log:
        with log._database.writing() as connection:
            connection.execute("PRAGMA max_page_count = 60")
        stored = _fill(log)
        assert ids(log) == stored
        with log._database.writing() as connection:
            connection.execute("PRAGMA max_page_count = 100000")
        log.append([decision("after")])
        assert ids(log) == [*stored, "after"]


def _fill(log: SqliteLog) -> list[str]:
    for number in range(1000):
        try:
            log.append([decision(str(number), 5000)], [Feedback(f"f{number}", str(number), "like", 1.0, 2.0)])
        except StoreFull:
            return [str(each) for each in range(number)]
    raise AssertionError("the disk was never full")


def test_a_log_that_another_process_holds_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path, timeout=0.05) as log:
        log.append([decision("d1")])
        with another_writer(path):
            with pytest.raises(StoreLocked, match=r"for more than 0\.05 s") as caught:
                log.append([decision("d2")])
            assert caught.value.status == 503
            assert ids(log) == ["d1"]  # readers wait for nobody
            with pytest.raises(StoreLocked), SqliteLog(path, timeout=0.05):
                pass
        log.append([decision("d2")])
        assert ids(log) == ["d1", "d2"]


def test_writers_of_two_processes_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as ours, SqliteLog(path) as theirs, SqliteTasks(path) as tasks:
        for number in range(20):
            ours.append([decision(f"a{number}")])
            theirs.append([decision(f"b{number}")])
            tasks.record(Task("job", float(number), "completed", 0, 0, 0.0, {}))
        assert len(ids(ours)) == len(ids(theirs)) == 40
        assert len(tasks.recent("job", 99)) == 20


@pytest.mark.parametrize("left", [0.9, 0.5, 0.1])
def test_a_truncated_file_is_corrupt_and_left_alone(tmp_path: Path, left: float) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as log:
        log.append([decision(str(number), 2000) for number in range(50)])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    with pytest.raises(StoreCorrupt, match="is damaged") as caught, SqliteLog(path) as log:
        ids(log)
    assert "backup" in str(caught.value)
    assert path.stat().st_size == int(len(data) * left)


def test_damage_inside_is_corrupt_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as log:
        log.append([decision(str(number), 2000) for number in range(50)])
    data = bytearray(path.read_bytes())
    for page in range(20, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    with SqliteLog(path) as log, pytest.raises(StoreCorrupt):
        ids(log)


def test_a_file_of_something_else_is_refused_unchanged(tmp_path: Path) -> None:
    text, foreign = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("not a database " * 100)
    with pytest.raises(StoreCorrupt):
        SqliteLog(text)
    with closing(apsw.Connection(str(foreign))) as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(StoreError, match="another program's"):
        SqliteLog(foreign)
    assert text.read_text() == "not a database " * 100
    with closing(apsw.Connection(str(foreign))) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


def test_a_log_of_a_newer_release_is_refused_and_readable_again_by_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as log:
        log.append([decision("d1")])
    newer = len(migrations()) + 1
    _set_version(path, newer)
    with pytest.raises(StoreTooNew, match=f"has version {newer}") as caught:
        SqliteLog(path)
    assert "Upgrade" in str(caught.value)
    _set_version(path, newer - 1)
    with SqliteLog(path) as log:
        assert ids(log) == ["d1"]


def test_a_log_of_an_older_release_is_brought_forward_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(migrations()[0])
        connection.execute(f"PRAGMA user_version = 1; PRAGMA application_id = {APPLICATION}")
        connection.execute("""INSERT INTO action_set VALUES (1, '["a"]')""")
        connection.execute(
            "INSERT INTO decision VALUES (1, 'old', 'shop', 's', NULL, 1.0, '{}', 1, 'a', 0.5, NULL, 'v', 'live')"
        )
    with SqliteLog(path) as log, SqliteTasks(path) as tasks:
        assert ids(log) == ["old"]
        tasks.record(Task("job", 1.0, "completed", 0, 0, 0.0, {}))
        assert len(tasks.recent("job", 9)) == 1


def _set_version(path: Path, version: int) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def test_a_migration_that_fails_half_way_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as log:
        log.append([decision("d1")])
    scripts = [*migrations(), "CREATE TABLE half (a); CREATE TABLE decision (a);"]
    monkeypatch.setattr("bondhu.log.database.migrations", lambda: scripts)
    with pytest.raises(StoreError, match="already exists"):
        SqliteLog(path)
    monkeypatch.undo()
    with SqliteLog(path) as log:
        assert ids(log) == ["d1"]
        with log._database.reading() as connection:
            assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").get == 0


def test_a_place_that_cannot_hold_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        SqliteLog(tmp_path / "file" / "log.db")
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteLog(tmp_path)


def test_a_closed_log_says_so(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.append([decision("d1")])
    assert ids(log) == ["d1"]
    log.close()
    log.close()
    for use in (lambda: log.append([decision("d2")]), lambda: ids(log)):
        with pytest.raises(StoreError, match="has been closed"):
            use()


def test_every_commit_is_flushed_and_readers_do_not_block(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log, log._database.reading() as before, log._database.writing() as writer:
        assert writer.pragma("journal_mode") == "wal"
        assert writer.pragma("synchronous") == 2  # FULL
        assert before.execute("SELECT count(*) FROM decision").get == 0


def test_no_acknowledged_row_is_lost_when_the_power_is_cut_and_the_simulation_can_tell() -> None:
    flushed, control = cut("FULL", 6, 1500), cut("NORMAL", 6, 1500)
    assert (flushed.lost, flushed.damaged, flushed.opened) == (0, 0, 24)
    assert flushed.acknowledged > 1000
    assert control.lost > 0  # as many as the last pages of its log held
    assert control.damaged == 0


def _pages(log: SqliteLog) -> int:
    """Of the write-ahead log, as far as it is in use."""
    with log.database.maintaining() as connection:
        return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0]


def test_a_checkpointer_keeps_the_write_ahead_log_short_while_a_writer_never_pauses(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log:
        with Checkpointer(log.database, 0.02):
            most = 0
            for number in range(600):
                log.append([decision(f"{number}-{each}", 2000) for each in range(20)])
                most = max(most, _pages(log))
            assert most < 3 * SHORT  # of the 10,000 pages and more that were written
        log.append([decision("after")])
        assert len(ids(log)) == 12_001
    with closing(apsw.Connection(str(tmp_path / "log.db"))) as connection:
        assert connection.pragma("integrity_check") == "ok"


def test_after_a_checkpointer_commits_checkpoint_by_themselves_again(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log:
        with Checkpointer(log.database, 3600.0):  # one that never comes to it
            for number in range(100):
                log.append([decision(f"{number}-{each}", 4000) for each in range(20)])
        for number in range(100):
            log.append([decision(f"again-{number}-{each}", 4000) for each in range(20)])
        assert _pages(log) < 2 * SHORT


def test_a_reader_of_an_older_state_only_makes_the_write_ahead_log_longer(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log, Checkpointer(log.database, 0.002):
        log.append([decision("first")])
        pieces = log.facts("shop", -np.inf, np.inf)
        with log.database.reading() as before:
            assert before.execute("SELECT count(*) FROM decision").get == 1
            for number in range(300):
                log.append([decision(f"{number}-{each}", 2000) for each in range(20)])
            assert before.execute("SELECT count(*) FROM decision").get == 1
            assert _pages(log) > 2 * SHORT
        for number in range(20):  # and is short again when the reader has ended
            log.append([decision(f"after-{number}-{each}", 2000) for each in range(20)])
            time.sleep(0.005)
        assert _pages(log) < SHORT
        assert sum(len(piece.decisions) for piece in pieces) == 1 + 320 * 20
