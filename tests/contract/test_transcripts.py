"""Every store keeps what was said around decisions, once, and lets it go with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import apsw
import numpy as np
import pytest

from bondhu import archives
from bondhu.errors import InvalidInput
from bondhu.log.archive import archive
from bondhu.log.backup import restore
from bondhu.log.database import APPLICATION, migrations
from bondhu.log.memory import MemoryLedger, MemoryLog, MemoryTasks
from bondhu.log.moving import TRANSCRIPTS, move_in, move_out
from bondhu.log.parquet import Pair
from bondhu.log.sqlite import SqliteLog
from bondhu.log.stores import Stores, open_stores
from bondhu.log.transcripts import SqliteTranscripts
from bondhu.ports import Transcript
from bondhu.types import Decision, Feedback
from tests.service.postgres import Cluster, address, cluster  # noqa: F401  fixtures

ODD = "è \u2028 \x00\x1b\x1e \U0001f600"


@dataclass(frozen=True)
class Idle:
    """All that an archiving asks of a domain."""

    name: str = "chat"
    idle: float = 0.0


def decision(id_: str, time: float = 10.0, **changes: Any) -> Decision:
    plain = Decision(id_, "chat", "s1", "ann", time, {"text": "hello"}, ("a", "b"), "a", 0.5, (), "v1", "live", 1.0)
    return plain._replace(**changes)


def transcript(id_: str, text: str = "hello", **changes: Any) -> Transcript:
    messages = [{"role": "user", "content": text}]
    body = {"messages": messages, "answer": {"role": "assistant", "content": f"{text} you"}, "cost": None}
    return Transcript(id_, 11.5, body)._replace(**changes)


def in_memory() -> Stores:
    log = MemoryLog()
    return Stores(log, MemoryTasks(), MemoryLedger(), log, None, lambda: None)  # type: ignore[arg-type]  # no locks


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    if request.param == "memory":
        yield in_memory()
        return
    where = "log.db" if request.param == "sqlite" else request.getfixturevalue("address")
    with closing(open_stores(where, tmp_path)) as opened:
        yield opened


def kept(stores: Stores, *ids: str) -> list[str]:
    return [each.decision_id for each in stores.transcripts.transcripts(ids or [f"d{number}" for number in range(10)])]


# -------------------------------------------------------------------------------------------------------------- keeping


def test_a_transcript_comes_back_as_it_was_kept(stores: Stores) -> None:
    odd = transcript(f"d-{ODD}", ODD * 1000, time=1_700_000_000.123456)
    stores.log.append([decision(odd.decision_id), decision("d2")])
    stores.transcripts.keep([odd, transcript("d2", body={})])
    assert stores.transcripts.transcripts([odd.decision_id, "d2", "nothing"]) == [odd, transcript("d2", body={})]
    assert stores.transcripts.transcripts([]) == []


def test_one_that_is_there_already_stays_as_it_is(stores: Stores) -> None:
    stores.log.append([decision("d1"), decision("d2")])
    stores.transcripts.keep([transcript("d1", "first")])
    stores.transcripts.keep([transcript("d2"), transcript("d1", "second"), transcript("d2", "third")])
    stores.transcripts.keep([])
    assert stores.transcripts.transcripts(["d2", "d1"]) == [transcript("d1", "first"), transcript("d2")]


def test_without_its_decision_nothing_is_kept(stores: Stores) -> None:
    """Whoever was erased while an answer was being written leaves no text that nobody could find again."""
    stores.log.append([decision("d1")])
    stores.transcripts.keep([transcript("d1"), transcript("d2")])
    stores.log.append([decision("d2")])
    assert kept(stores) == ["d1"]
    stores.transcripts.keep([transcript("d2")])
    assert kept(stores) == ["d1", "d2"]


def test_nor_is_what_was_measured_of_it(stores: Stores) -> None:
    """Nor do figures of an answer to somebody who was erased meanwhile wait for ever for its decision."""
    stores.log.append([decision("d1"), decision("d2", user="eve")])
    stores.log.erase("chat", "eve")
    said = [Feedback(f"f-{id_}", id_, "cost", 0.5, 11.0) for id_ in ("d1", "d2", "d3")]
    stores.transcripts.keep([transcript("d1"), transcript("d2")], said)
    stores.transcripts.keep([], said[1:])
    assert [each and each.id for each in (stores.log.said(each.id) for each in said)] == ["f-d1", None, None]
    summary = stores.log.summary("chat")
    assert (summary.decisions, summary.feedback) == (1, 1)
    with pytest.raises(InvalidInput):
        stores.transcripts.keep([], [said[2]._replace(value=float("nan"))])


@pytest.mark.parametrize("value", [0.5, 0.7], ids=["the same", "another"])
def test_feedback_that_is_there_already_stays_as_it_is(stores: Stores, value: float) -> None:
    """Whoever did not hear of a commit keeps the same again; what is new beside it is kept."""
    stores.log.append([decision("d1"), decision("d2")])
    first, second = Feedback("f1", "d1", "cost", 0.5, 11.0), Feedback("f2", "d2", "cost", 0.2, 12.0)
    stores.transcripts.keep([transcript("d1")], [first])
    stores.transcripts.keep([transcript("d2")], [first._replace(value=value), second, second._replace(value=value)])
    assert kept(stores) == ["d1", "d2"]
    assert [stores.log.said(id_) for id_ in ("f1", "f2")] == [first, second]
    assert stores.log.summary("chat").feedback == 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (transcript("d1", body={"answer": float("nan")}), "answer"),
        (transcript("d1", body={"answer": object()}), "body"),
        (transcript("d1", body="text"), "body"),
        (transcript("d1", body={"answer": "\ud800"}), "body"),
        (transcript(""), "decision_id"),
        (transcript("x" * 129), "decision_id"),
        (transcript("d1", time=float("inf")), "time"),
        (transcript("d1", time="noon"), "time"),
    ],
)
def test_what_could_not_be_read_back_is_refused_and_nothing_beside_it_is_kept(
    stores: Stores, wrong: Transcript, field: str
) -> None:
    stores.log.append([decision("d1"), decision("d2")])
    with pytest.raises(InvalidInput) as refused:
        stores.transcripts.keep([transcript("d2"), wrong])
    assert refused.value.field == field
    assert kept(stores) == []


def test_whoever_is_given_a_transcript_cannot_change_it(stores: Stores) -> None:
    stores.log.append([decision("d1")])
    given = transcript("d1", body={"messages": []})
    stores.transcripts.keep([given])
    given.body["messages"].append("more")
    stores.transcripts.transcripts(["d1"])[0].body["messages"].append("more")
    assert stores.transcripts.transcripts(["d1"])[0].body == {"messages": []}


# ------------------------------------------------------------------------------------------------------------- sessions


def test_the_newest_decision_of_a_session_is_found_with_what_was_said_around_it(stores: Stores) -> None:
    rows = [
        decision("d1", 12.0),
        decision("d2", 11.0),  # is older
        decision("d3", 99.0, session="other"),
        decision("d4", 99.0, domain="other"),
        decision("d5", 99.0),  # nothing was said around it
        decision("d6", 12.0),  # at the same moment as the first: what was kept last
    ]
    stores.log.append(rows)
    stores.transcripts.keep([transcript("d1"), transcript("d2"), transcript("d3"), transcript("d4")])
    assert stores.transcripts.latest("chat", "s1", "ann") == (rows[0], transcript("d1"))
    assert stores.transcripts.latest("chat", "other", "ann") == (rows[2], transcript("d3"))
    assert stores.transcripts.latest("chat", "nothing", "ann") is None
    stores.transcripts.keep([transcript("d6")])
    assert stores.transcripts.latest("chat", "s1", "ann") == (rows[5], transcript("d6"))
    stores.log.forget(["d6", "d1"], [])
    assert stores.transcripts.latest("chat", "s1", "ann") == (rows[1], transcript("d2"))


def test_what_others_said_in_a_session_of_the_same_name_is_not_found(stores: Stores) -> None:
    rows = [decision("d1", 1.0), decision("d2", 2.0, user="eve"), decision("d3", 3.0, user=None)]
    stores.log.append(rows)
    stores.transcripts.keep([transcript(each.id) for each in rows])
    for row in rows:
        assert stores.transcripts.latest("chat", "s1", row.user) == (row, transcript(row.id))
    assert stores.transcripts.latest("chat", "s1", "ben") is None


# ------------------------------------------------------------------------------------------------- going with decisions


def filled(stores: Stores) -> Stores:
    made = [decision(f"d{n}", float(n), session=f"s{n // 2}", user="ann" if n % 4 < 2 else "ben") for n in range(8)]
    stores.log.append(made, [Feedback("f1", "d1", "like", 1.0, 20.0)])
    stores.transcripts.keep([transcript(f"d{n}", f"secret {n}") for n in range(8)])
    return stores


def test_a_transcript_goes_with_its_decision(stores: Stores) -> None:
    filled(stores)
    stores.log.forget(["d0", "never"], ["f1"])
    assert kept(stores) == [f"d{n}" for n in range(1, 8)]
    stores.log.let_go("chat", 4.0)
    assert kept(stores) == ["d4", "d5", "d6", "d7"]
    stores.log.erase("chat", "ann")
    assert kept(stores) == ["d6", "d7"]
    stores.log.append([decision("d0")])
    assert stores.transcripts.transcripts(["d0"]) == []  # whoever comes back begins anew


def test_an_archive_holds_no_transcripts(stores: Stores, tmp_path: Path) -> None:
    filled(stores)
    moved = archive(stores.log, Idle(), 4.0, tmp_path / "archive", now=99.0)  # type: ignore[arg-type]  # as said above
    assert (moved.decisions, kept(stores)) == (4, ["d4", "d5", "d6", "d7"])
    assert b"secret" not in b"".join(each.read_bytes() for each in (tmp_path / "archive").iterdir())


def test_everything_moves_to_another_store_and_a_person_leaves_the_folder(stores: Stores, tmp_path: Path) -> None:
    filled(stores)
    folder = tmp_path / "folder"
    move_out(stores, "chat", folder, lambda _: None)
    with closing(open_stores("there.db", tmp_path)) as there:
        assert move_in(there, "chat", folder, lambda _: None).transcripts == 8
        move_in(there, "chat", folder, lambda _: None)
        asked = [f"d{number}" for number in range(8)]
        assert there.transcripts.transcripts(asked) == stores.transcripts.transcripts(asked)
    assert archives.without(Pair.called(folder), ["ann"]) == 4
    assert sorted(each.name for each in folder.iterdir() if each.suffix == ".part") == []
    with closing(open_stores("after.db", tmp_path)) as after:
        assert move_in(after, "chat", folder, lambda _: None).transcripts == 4
        assert kept(after) == ["d2", "d3", "d6", "d7"]
    (folder / TRANSCRIPTS).unlink()  # as an older release wrote it
    assert archives.without(Pair.called(folder), ["ben"]) == 4


@pytest.mark.parametrize("stores", ["memory", "sqlite"], indirect=True)  # PostgreSQL's is of its own kind
def test_a_backup_holds_them(stores: Stores, tmp_path: Path) -> None:
    filled(stores)
    stores.log.backup(tmp_path / "copy.db")
    restore(tmp_path / "copy.db", tmp_path / "again.db")
    with closing(open_stores("again.db", tmp_path)) as again:
        asked = [f"d{number}" for number in range(8)]
        assert again.transcripts.transcripts(asked) == stores.transcripts.transcripts(asked)


@pytest.mark.parametrize("dumped", [True, False])
def test_a_backup_of_postgresql_holds_them(
    dumped: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: Cluster,  # noqa: F811  the fixture
) -> None:
    from bondhu.log.postgres.backup import restore as restore_postgres

    if not dumped:
        monkeypatch.setattr("bondhu.log.postgres.backup.find_program", lambda *_: None)
    here, there = cluster.create(), cluster.create()
    try:
        with closing(open_stores(cluster.address(here), tmp_path)) as stores:
            filled(stores).log.backup(tmp_path / "copy")
        restore_postgres(tmp_path / "copy", cluster.address(there))
        with closing(open_stores(cluster.address(there), tmp_path)) as again:
            assert len(kept(again)) == 8
            again.log.append([decision("d9")])
            again.transcripts.keep([transcript("d9")])  # numbered after those that came back
            assert kept(again)[-1] == "d9"
    finally:
        cluster.drop(here)
        cluster.drop(there)


# ---------------------------------------------------------------------------------------------------- beside the writer


def test_they_are_kept_beside_another_writer(tmp_path: Path) -> None:
    """As a worker does beside the process that writes decisions and feedback: nobody is refused, nothing is lost."""
    path, count = tmp_path / "log.db", 200
    with SqliteLog(path) as log, SqliteTranscripts(path, timeout=60.0) as mine, SqliteTranscripts(path, 60.0) as other:
        log.append([decision(f"d{number}") for number in range(count)])

        def say() -> None:
            for number in range(count):
                log.append([], [Feedback(f"f{number}", f"d{number}", "like", 1.0, 12.0)])

        def keep(transcripts: SqliteTranscripts) -> None:
            for number in range(count):
                transcripts.keep([transcript(f"d{number}")])

        threads = [Thread(target=say), Thread(target=keep, args=(mine,)), Thread(target=keep, args=(other,))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(mine.transcripts([f"d{number}" for number in range(count)])) == count
        assert log.summary("chat").feedback == count


def test_in_postgresql_they_are_kept_beside_an_erasure(address: str, tmp_path: Path) -> None:  # noqa: F811
    """Whatever comes first: afterwards nothing is left of who was erased."""
    with closing(open_stores(address, tmp_path)) as stores, closing(open_stores(address, tmp_path)) as other:
        ids = [f"d{number}" for number in range(60)]
        stores.log.append([decision(id_, user="ann" if n % 2 else "ben") for n, id_ in enumerate(ids)])
        keeper = Thread(target=lambda: [other.transcripts.keep([transcript(id_)]) for id_ in ids])
        keeper.start()
        stores.log.erase("chat", "ann")
        keeper.join()
        assert kept(stores, *ids) == ids[::2]


# ---------------------------------------------------------------------------------------------------------- in the file


def bytes_of(path: Path) -> bytes:
    """Of the log and all that SQLite keeps beside it."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def test_the_bytes_of_an_erased_person_are_gone_from_the_file(tmp_path: Path) -> None:
    path, rng = tmp_path / "log.db", np.random.default_rng(0)
    with SqliteLog(path) as log, SqliteTranscripts(path) as transcripts:
        for number in range(300):
            who = ("mallory", "ann", "ben")[number % 3]
            id_ = f"{int(rng.integers(1 << 62)):016x}-{who}"
            log.append([decision(id_, user=who, session=f"s-{who}")])
            transcripts.keep([transcript(id_, f"secret of {who} " * int(rng.choice([1, 20, 700])))])
        assert bytes_of(path).count(b"mallory") > 1000
        log.erase("chat", "mallory")
        assert bytes_of(path).count(b"mallory") == 0
        assert bytes_of(path).count(b"secret of ann") > 1000
        assert transcripts.latest("chat", "s-mallory", "mallory") is None


def test_the_bytes_of_an_erased_person_are_gone_from_the_tables(cluster: Cluster, tmp_path: Path) -> None:  # noqa: F811
    name = cluster.create()
    with closing(open_stores(cluster.address(name), tmp_path)) as stores:
        stores.log.append([decision(f"m{number}", user="mallory") for number in range(50)] + [decision("d1")])
        stores.transcripts.keep([transcript(f"m{number}", "whisper of mallory") for number in range(50)])
        stores.transcripts.keep([transcript("d1")])
        stores.log.erase("chat", "mallory")
        cluster.run("CHECKPOINT")
        query = "SELECT pg_relation_filepath('transcript'), pg_relation_filepath(reltoastrelid) FROM pg_class"
        ((table, texts),) = cluster.fetch(f"{query} WHERE relname = 'transcript'", database=name)
        held = b"".join((cluster.data / each).read_bytes() for each in (table, texts))
        assert (b"mallory" in held, kept(stores)) == (False, ["d1"])
    cluster.drop(name)


# ----------------------------------------------------------------------------------------------------- an older release


def test_a_filled_store_of_the_release_before_takes_transcripts(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    row = "INSERT INTO decision VALUES (?, ?, 'chat', ?, 'ann', ?, '{}', 1, 'a', 0.5, NULL, 'v', 'live', 1)"
    with closing(apsw.Connection(str(path))) as connection:
        for script in migrations()[:4]:
            connection.execute(script)
        connection.execute(f"PRAGMA user_version = 4; PRAGMA application_id = {APPLICATION}")
        connection.execute("""INSERT INTO action_set VALUES (1, '["a","b"]')""")
        connection.executemany(row, [(n + 1, f"d{n}", f"s{n % 7}", float(n)) for n in range(500)])
    with closing(open_stores("log.db", tmp_path)) as stores:
        assert stores.transcripts.latest("chat", "s3", "ann") is None
        stores.transcripts.keep([transcript("d493"), transcript("d9999")])
        found = stores.transcripts.latest("chat", "s3", "ann")
        assert found == (stores.log.find("d493")[0], transcript("d493"))  # type: ignore[index]  # it is there
        assert kept(stores, "d493", "d9999") == ["d493"]
        assert stores.log.summary("chat").decisions == 500


def test_filled_tables_of_the_release_before_take_transcripts(
    cluster: Cluster,  # noqa: F811  the fixture
    tmp_path: Path,
) -> None:
    import asyncpg

    from bondhu.log.postgres.schema import bring_forward

    name = cluster.create()

    async def before() -> None:
        connection = await asyncpg.connect(cluster.address(name))
        await bring_forward(connection, 0, 3)
        await connection.execute("""INSERT INTO action_set VALUES (1, '["a","b"]')""")
        row = "INSERT INTO decision VALUES ($1, $2, 'chat', $3, 'ann', $4, '{}', 1, 'a', 0.5, NULL, 'v', 'live', 1)"
        await connection.executemany(row, [(n + 1, f"d{n}", f"s{n % 7}", float(n)) for n in range(500)])
        await connection.close()

    asyncio.run(before())
    with closing(open_stores(cluster.address(name), tmp_path)) as stores:
        assert stores.transcripts.latest("chat", "s3", "ann") is None
        stores.transcripts.keep([transcript("d493"), transcript("d9999")])
        found = stores.transcripts.latest("chat", "s3", "ann")
        assert found == (stores.log.find("d493")[0], transcript("d493"))  # type: ignore[index]  # it is there
        assert kept(stores, "d493", "d9999") == ["d493"]
        assert stores.log.summary("chat").decisions == 500
    cluster.drop(name)
