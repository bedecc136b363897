"""The store in PostgreSQL: its tables through the releases, what it shares between processes, what it keeps secret."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest

from bondhu.errors import (
    DuplicateId,
    InvalidInput,
    SettingsInvalid,
    StoreCorrupt,
    StoreError,
    StoreTooNew,
    TrainingInProgress,
)
from bondhu.log.stores import Stores, open_stores
from bondhu.ports import Task
from bondhu.types import Decision, Feedback, Records
from tests.service.postgres import Cluster, address, cluster  # noqa: F401  fixtures

pytest.importorskip("asyncpg")

from bondhu.log.postgres import backup, copies, reading, writing
from bondhu.log.postgres.address import Address
from bondhu.log.postgres.schema import QUERIES, migrate, migrations

HERE = Path()  # an address stands in no folder
SECRET = "hunter2/@:%"


def decision(id_: str, **changes: object) -> Decision:
    plain = Decision(id_, "shop", f"s{id_}", "u1", 1.0, {"mood": "calm"}, ("a", "b"), "a", 0.5, (1.0,), "v1", "live")
    return plain._replace(**changes)


def said(id_: str, decision_id: str, value: float | None = 1.0, **changes: object) -> Feedback:
    return Feedback(id_, decision_id, "like", value, 2.0)._replace(**changes)


def everything(stores: Stores) -> Records:
    return stores.log.read("shop", -np.inf, np.inf)


def heard(stores: Stores) -> list[tuple[str, float]]:
    records = everything(stores)
    return [
        (records.id[row], value)
        for row, value in zip(records.feedback_decision, records.feedback_value.tolist(), strict=True)
    ]


@pytest.fixture
def stores(address: str) -> Iterator[Stores]:  # noqa: F811
    with closing(open_stores(address, HERE)) as opened:
        yield opened


def database_of(stores: Stores) -> str:
    name: str = stores.log.database.address.name  # type: ignore[attr-defined]  # it is PostgreSQL's
    return name.rpartition("/")[2]


# ------------------------------------------------------------------------------------------------- through the releases


def test_rows_of_an_older_release_are_brought_forward(
    cluster: Cluster,  # noqa: F811
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores.log.append([decision(str(number)) for number in range(300)], [said("f", "7")])
    newer = [*migrations(), "ALTER TABLE decision ADD COLUMN note text COLLATE \"C\" DEFAULT 'none'"]
    monkeypatch.setattr("bondhu.log.postgres.schema.migrations", lambda: newer)
    where = cluster.address(database_of(stores))
    with closing(open_stores(where, HERE)) as opened:
        assert everything(opened).id == [str(number) for number in range(300)]
        opened.log.append([decision("new")])
        assert heard(opened) == [("7", 1.0)]
    notes = cluster.fetch("SELECT DISTINCT note FROM decision", database=database_of(stores))
    assert notes == [("none",)]
    monkeypatch.undo()
    with pytest.raises(StoreTooNew, match=f"has version {len(newer)}") as caught:
        open_stores(where, HERE)
    assert "Upgrade" in str(caught.value)


def test_a_migration_that_fails_half_way_changes_nothing(
    cluster: Cluster,  # noqa: F811
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores.log.append([decision("d1")])
    broken = [*migrations(), "CREATE TABLE half (a int); CREATE TABLE decision (a int);"]
    monkeypatch.setattr("bondhu.log.postgres.schema.migrations", lambda: broken)
    with pytest.raises(StoreError, match="already exists"):
        open_stores(cluster.address(database_of(stores)), HERE)
    monkeypatch.undo()
    with closing(open_stores(cluster.address(database_of(stores)), HERE)) as opened:
        assert everything(opened).id == ["d1"]
    assert cluster.fetch("SELECT to_regclass('half')", database=database_of(stores)) == [(None,)]


def test_many_who_open_a_new_database_at_once_make_its_tables_once(cluster: Cluster, address: str) -> None:  # noqa: F811
    start, opened = Barrier(5), []

    def work() -> None:
        start.wait()
        opened.append(open_stores(address, HERE))

    threads = [Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 5
    for each in opened:
        each.close()
    rows = cluster.fetch("SELECT version FROM bondhu_schema", database=address.rpartition("/")[2])
    assert rows == [(len(migrations()),)]


def test_tables_that_another_makes_while_one_looks_for_them_are_not_taken_for_another_programs(
    cluster: Cluster,  # noqa: F811
    address: str,  # noqa: F811
) -> None:
    class Overtaken:
        """A connection: as it finds no tables, another process makes them all."""

        def __init__(self, connection: object) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> object:
            return getattr(self._connection, name)

        async def fetchval(self, query: str, *values: object) -> object:
            found = await self._connection.fetchval(query, *values)
            if "to_regclass" in query and found is None:
                await asyncio.to_thread(lambda: open_stores(address, HERE).close())
            return found

    async def look() -> None:
        connection = await Address(address).reach()
        await migrate(Overtaken(connection), "the store")
        await connection.close()

    asyncio.run(asyncio.wait_for(look(), 30))
    rows = cluster.fetch("SELECT version FROM bondhu_schema", database=address.rpartition("/")[2])
    assert rows == [(len(migrations()),)]


def test_a_database_of_another_program_is_refused_unchanged(cluster: Cluster, address: str) -> None:  # noqa: F811
    name = address.rpartition("/")[2]
    cluster.run("CREATE TABLE feedback (mine text)", database=name)
    with pytest.raises(StoreError, match="a table 'feedback' of another program"):
        open_stores(address, HERE)
    found = cluster.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace", database=name)
    assert found == [("feedback",)]


def test_a_database_that_is_not_unicode_is_refused(cluster: Cluster) -> None:  # noqa: F811
    cluster.run("CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match="does not keep text as UTF-8"):
        open_stores(cluster.address("old"), HERE)


# ----------------------------------------------------------------------------------------------- between who uses it


def test_feedback_and_its_decision_committed_at_one_moment_find_each_other(cluster: Cluster, stores: Stores) -> None:  # noqa: F811
    # as two transactions leave them of which neither sees what the other adds
    stores.log.append([decision("d1"), decision("d2")], [said("f1", "d1"), said("other", "d2", 5.0)])
    stores.log.append([], [said("f2", "d1", 3.0, replaces="f1"), said("lost", "never")])
    cluster.run("UPDATE feedback SET decision = NULL WHERE decision_id = 'd1'", database=database_of(stores))
    assert stores.log.find("d1") == (decision("d1"), [said("f1", "d1"), said("f2", "d1", 3.0, replaces="f1")])
    summary = stores.log.summary("shop")
    assert (summary.feedback, summary.unmatched) == (3, 1)
    (piece, waiting) = stores.log.facts("shop", -np.inf, np.inf)
    assert [each.id for each in piece.feedback] == ["f1", "f2", "other"]
    assert [each.id for each in waiting.feedback] == ["lost"]
    assert heard(stores) == [("d1", 3.0), ("d2", 5.0)]
    left = cluster.fetch("SELECT id FROM feedback WHERE decision IS NULL", database=database_of(stores))
    assert left == [("lost",)]  # who reads writes it down
    assert heard(stores) == [("d1", 3.0), ("d2", 5.0)]


APPENDER = """
import sys
from pathlib import Path
from bondhu.log.stores import open_stores
from bondhu.types import Decision, Feedback
stores = open_stores(sys.argv[1], Path())
me = int(sys.argv[2])
for number in range(60):
    mine, both = f"{me}-{number}", [f"both-{number}-{part}" for part in range(3)][:: 1 if me else -1]
    sets = tuple(f"a{each}" for each in range(number % 7 + 1))
    rest = sets, "a0", 0.5, (), "v1", "live"
    made = [Decision(name, "shop", name, "u", 1.0, {"n": name}, *rest) for name in (mine, *both)]
    early = [Feedback(f"early-{me}-{number}", f"{1 - me}-{number}", "like", 1.0, 2.0)]
    stores.log.append(made, [*early, *(Feedback(f"f{name}", name, "like", 1.0, 2.0) for name in both)])
stores.close()
"""


def test_processes_that_append_the_same_and_other_rows_keep_each_once(address: str, stores: Stores) -> None:  # noqa: F811
    command = [sys.executable, "-c", APPENDER, address]
    both = [subprocess.Popen([*command, str(number)]) for number in (0, 1)]
    assert [each.wait() for each in both] == [0, 0]
    records = everything(stores)
    assert len(records.id) == len(set(records.id)) == 60 * 2 + 60 * 3
    found = {id_: set(records.allowed_sets[row]) for id_, row in zip(records.id, records.allowed, strict=True)}
    assert found["0-6"] == found["both-6-1"] == {f"a{each}" for each in range(7)}
    assert len(records.feedback_decision) == 60 * 3 + 120  # those said early among them
    assert stores.log.summary("shop").unmatched == 0


def test_the_lock_is_held_by_one_and_goes_with_it(address: str, stores: Stores) -> None:  # noqa: F811
    with closing(open_stores(address, HERE)) as others:
        held = pytest.raises(TrainingInProgress, match="at it already")
        with stores.alone("training"), others.alone("checkpoint"), held, others.alone("training"):
            pass
        with others.alone("training"):
            others.close()  # whoever holds it may go
    with stores.alone("training"):
        pass
    holder = (
        "import sys, os; from pathlib import Path; from bondhu.log.stores import open_stores\n"
        "held = open_stores(sys.argv[1], Path()).alone('training'); held.__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", holder, address], check=False).returncode == 9
    for _ in range(1000):
        try:
            with stores.alone("training"):
                return
        except TrainingInProgress:  # the server has yet to see that it is gone
            pass
    raise AssertionError("the lock is still held")


@pytest.mark.parametrize("many", [20, 9 * writing.COPIED])
def test_the_same_ids_in_opposite_order_never_wait_for_each_other_in_a_circle(
    cluster: Cluster,  # noqa: F811
    stores: Stores,
    address: str,  # noqa: F811
    many: int,
) -> None:
    start, rounds = Barrier(2), 60 if many < writing.COPIED else 8
    deadlocks = (cluster.folder / "log").read_text().count("deadlock detected")

    def work(store: Stores, step: int) -> None:
        for number in range(rounds):
            made = [decision(f"{number}-{each}") for each in range(many)][::step]
            start.wait()
            store.log.append(made, [said(f"f{each.id}", f"early-{each.id}") for each in made])

    with closing(open_stores(address, HERE)) as others:
        threads = [Thread(target=work, args=each) for each in ((stores, 1), (others, -1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (cluster.folder / "log").read_text().count("deadlock detected") == deadlocks
    ids = everything(stores).id
    assert len(ids) == len(set(ids)) == rounds * many
    for number in range(rounds):  # whoever came first: in the order in which they arrived
        there = [each for each in ids if each.startswith(f"{number}-")]
        given = [f"{number}-{each}" for each in range(many)]
        assert there in (given, given[::-1])


@pytest.mark.parametrize("many", [3, 250])
def test_what_was_there_before_is_skipped_in_a_group_of_any_size(stores: Stores, many: int) -> None:
    assert many == 3 or many >= writing.COPIED
    made = [decision(str(number)) for number in range(many)]
    stores.log.append(made[1:2], [said("f0", "0")])
    stores.log.append(made, [said("f0", "0"), said("f1", "1")])
    assert everything(stores).id == ["1", "0", *(str(number) for number in range(2, many))]
    assert sorted(heard(stores)) == [("0", 1.0), ("1", 1.0)]
    with pytest.raises(DuplicateId, match="'2'") as caught:
        stores.log.append([*(each._replace(id=f"n{each.id}") for each in made), made[2]._replace(action="b")])
    assert caught.value.value == "2"
    assert len(everything(stores).id) == many


def test_chunks_of_any_size_read_the_same(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [
        decision(str(number), time=float(number % 7), domain="other" if number % 5 == 0 else "shop")
        for number in range(60)
    ]
    stores.log.append(
        made, [said(f"f{each.id}-{number}", each.id, float(number)) for each in made for number in range(3)]
    )
    whole = stores.log.read("shop", 1.0, 5.0)
    monkeypatch.setattr(reading, "CHUNK", 4)
    parts = stores.log.read("shop", 1.0, 5.0)
    assert whole.id == parts.id == [each.id for each in made if each.domain == "shop" and 1.0 <= each.time < 5.0]
    assert parts.feedback_decision.tolist() == [row for row in range(len(whole.id)) for _ in range(3)]
    np.testing.assert_array_equal(whole.feedback_value, parts.feedback_value)


def test_the_two_monitoring_queries_answer_as_they_are_documented(cluster: Cluster, stores: Stores) -> None:  # noqa: F811
    monday = 1_759_712_400.25  # 2025-10-06T01:00:00.25Z
    for at, average in ((monday, 0.2), (monday + 60, 0.4), (monday + 604_800, 0.5)):
        training = {"average_reward": average, "users_trained": 3, "agent_stats": {"total_states": 7}}
        stores.tasks.record(Task("rl_training", at, "completed", 3, 40, 1.5, {"training": training}))
    name = database_of(stores)
    progress = cluster.fetch(QUERIES["training_progress"], database=name)
    assert progress == [(date(2025, 10, 13), 0.5, 3), (date(2025, 10, 6), pytest.approx(0.3), 6)]
    first = cluster.fetch(QUERIES["training_statistics"], database=name)[0]
    assert first[1:] == (3, 40, "0.5", '{"total_states": 7}')


# ------------------------------------------------------------------------------------------------ what is kept secret


def test_a_wrong_password_is_told_and_not_shown(cluster: Cluster) -> None:  # noqa: F811
    cluster.run(f"CREATE USER locked SUPERUSER PASSWORD '{SECRET}'")
    where = cluster.address("postgres", "locked")
    with closing(open_stores(where, HERE, SECRET)) as opened:
        assert SECRET not in repr(opened) + repr(opened.log.__dict__)
        assert opened.log.domains() == []
    written = where.replace("locked@", "locked:hunter2%2F%40%3A%25@")
    with closing(open_stores(written, HERE)) as opened:
        assert "hunter2" not in repr(vars(opened.log))
    for address_, password in ((where, "hunter3/@:%"), (written.replace("r2", "r3"), None), (where, None)):
        with pytest.raises(StoreError, match=r"refuses this user|cannot be") as caught:
            open_stores(address_, HERE, password)
        assert caught.value.status == 503
        assert "hunter" not in str(caught.value)
        assert "hunter" not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("where", ["postgresql://u:hun/ter2@host/x", "postgresql://u:hunter2@h:99999999/x"])
def test_an_address_that_cannot_be_read_is_not_shown(where: str) -> None:
    with pytest.raises(SettingsInvalid, match="address cannot be read") as caught:
        open_stores(where, HERE)
    assert "ter2" not in "".join(traceback.format_exception(caught.value)).replace(where, "")


def test_a_database_that_is_not_there_is_named(cluster: Cluster) -> None:  # noqa: F811
    with pytest.raises(StoreError, match="/nothing is not there") as caught:
        open_stores(cluster.address("nothing"), HERE)
    assert "createdb" in str(caught.value)


# -------------------------------------------------------------------------------------------------------------- keeping


def test_bytes_of_a_person_are_gone_from_the_tables(cluster: Cluster, stores: Stores) -> None:  # noqa: F811
    name = database_of(stores)
    made = [decision(f"d{number}", user=("Rosalind" if number % 3 else "Barbara")) for number in range(600)]
    stores.log.append(made, [said(f"f{each.id}", each.id) for each in made])
    cluster.run("ANALYZE", "CHECKPOINT", database=name)
    folder = cluster.data / "base" / str(cluster.fetch("SELECT oid FROM pg_database WHERE datname = $1", name)[0][0])

    def on_disk(text: bytes) -> bool:
        return any(text in file.read_bytes() for file in folder.iterdir() if file.is_file())

    assert on_disk(b"Rosalind")
    gone = stores.log.erase("shop", "Rosalind")
    cluster.run("CHECKPOINT", database=name)
    assert (len(gone.decisions), len(gone.feedback)) == (400, 400)
    assert not on_disk(b"Rosalind")
    assert on_disk(b"Barbara")
    assert len(everything(stores).id) == len(heard(stores)) == 200


@pytest.mark.parametrize("dumped", [True, False])
def test_a_backup_made_while_others_write_is_whole_and_can_be_restored(
    cluster: Cluster,  # noqa: F811
    stores: Stores,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dumped: bool,
) -> None:
    if dumped and shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")
    if not dumped:
        monkeypatch.setattr(backup, "find_program", lambda name, major: None)
    stores.log.append(
        [decision("\x00é"), *(decision(str(n)) for n in range(200))], [said("f1", "\x00é"), said("f2", "x")]
    )
    stores.tasks.record(Task("job", 1.0, "completed", 1, 2, 0.5, {"a": 1}))
    noted = stores.ledger.note("act", "shop", {"by": "ada"}, time=1.0)
    writing_on = Thread(target=lambda: [stores.log.append([decision(f"later{n}")]) for n in range(50)])
    writing_on.start()
    stores.log.backup(tmp_path / "copy")
    writing_on.join()
    assert (tmp_path / "copy").read_bytes().startswith(copies.DUMP) == dumped
    with pytest.raises(InvalidInput, match="there already"):
        stores.log.backup(tmp_path / "copy")
    where = cluster.address(cluster.create())
    backup.restore(tmp_path / "copy", where)
    with closing(open_stores(where, HERE)) as restored:
        ids, all_ids = everything(restored).id, everything(stores).id
        assert ids == all_ids[: len(ids)]
        assert len(ids) >= 201
        assert restored.log.find("\x00é") == (decision("\x00é"), [said("f1", "\x00é")])
        assert restored.tasks.recent("job", 1) == stores.tasks.recent("job", 1)
        restored.log.append([decision("new", allowed=("a", "new"))], [said("f3", "new")])
        assert restored.ledger.note("act", "shop", {}, time=1.0).seq > noted.seq
        assert restored.ledger.entries("act")[0] == noted
    with pytest.raises(InvalidInput, match="holds a log already"):
        backup.restore(tmp_path / "copy", where)
    backup.restore(tmp_path / "copy", where, replace=True)
    with closing(open_stores(where, HERE)) as restored:
        assert everything(restored).id == ids


def test_what_is_no_backup_is_refused(cluster: Cluster, stores: Stores, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "text").write_text("nothing of the kind")
    where = cluster.address(cluster.create())
    with pytest.raises(StoreCorrupt, match="no backup, or damaged"):
        backup.restore(tmp_path / "text", where)
    with pytest.raises(InvalidInput, match="There is no backup"):
        backup.restore(tmp_path / "none", where)
    stores.log.append([decision("d1")])
    with pytest.raises(StoreError, match="cannot be written"):
        stores.log.backup(tmp_path / "no folder" / "copy")
