"""Every log can be streamed, let old rows go, take a person out, and be copied; and keeps all else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from threading import Event, Thread
from typing import Any

import apsw
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bondhu.errors import DuplicateId, InvalidInput, StoreLocked
from bondhu.log.memory import MemoryLedger, MemoryLog, MemoryTasks
from bondhu.log.prepared import Prepared, prepared, together
from bondhu.log.sqlite import SqliteLedger, SqliteLog, SqliteTasks
from bondhu.log.stores import open_stores
from bondhu.ports import Erased, Facts, Task
from bondhu.types import Decision, Feedback
from tests.service.postgres import address, cluster  # noqa: F401  fixtures

CHOICES = ("low", "high")
ALL = (-np.inf, np.inf)


def decision(id_: str, time: float = 10.0, **changes: Any) -> Decision:
    plain = Decision(id_, "shop", "s1", "ann", time, {"mood": "calm"}, CHOICES, "low", 0.25, (0.5,), "v1", "live", 0.5)
    return plain._replace(**changes)


def said(id_: str, decision_id: str = "d1", value: float | None = 1.0, **changes: Any) -> Feedback:
    return Feedback(id_, decision_id, "like", value, 20.0)._replace(**changes)


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


def flat(pieces: Iterator[Facts]) -> tuple[list[Decision], list[Feedback]]:
    """All decisions and all feedback in their order."""
    made, heard = zip(*pieces, strict=True) if (pieces := list(pieces)) else ((), ())  # type: ignore[assignment]
    return list(chain.from_iterable(made)), list(chain.from_iterable(heard))


def everything(log: Any, domain: str = "shop") -> tuple[list[Decision], list[Feedback]]:
    return flat(log.facts(domain, *ALL))


def ids(log: Any, domain: str = "shop") -> tuple[list[str], list[str]]:
    made, heard = everything(log, domain)
    return [row.id for row in made], [row.id for row in heard]


def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory", "keeping", "postgres.keeping"):
        monkeypatch.setattr(f"bondhu.log.{module}.PIECE", 3)


# ------------------------------------------------------------------------------------------------------------- prepared


BETWEEN = pytest.mark.parametrize("log", ["sqlite", "postgres"], indirect=True)  # what is in memory is in one process


def sent(rows: Prepared) -> Prepared:
    """As a message brings them: lists instead of tuples."""
    return Prepared(*msgspec.msgpack.decode(msgspec.msgpack.encode(rows)))


@BETWEEN
def test_what_one_process_prepared_another_one_inserts_as_if_it_were_appended(log: Any) -> None:
    parts = [
        prepared(
            [decision("d1", memo=(0.1, -2.5), user=None), decision("d2", memo=())], [said("f1"), said("w", "never")]
        ),
        prepared([decision("d3", allowed=("low",))], [said("f2", "d2", None, replaces="f9")]),
    ]
    log.insert(sent(together(parts)))
    log.insert(sent(together(parts[:1])))  # again: nothing new
    made, heard = everything(log)
    assert made == [
        decision("d1", memo=(0.1, -2.5), user=None),
        decision("d2", memo=()),
        decision("d3", allowed=("low",)),
    ]
    assert heard == [said("f1"), said("f2", "d2", None, replaces="f9"), said("w", "never")]
    assert together(parts) == Prepared(
        [*parts[0].decisions, *parts[1].decisions], [*parts[0].feedback, *parts[1].feedback]
    )


@BETWEEN
def test_prepared_rows_are_all_inserted_or_none_of_them(log: Any) -> None:
    log.append([decision("d1")], [said("f1")])
    for other in (
        prepared([decision("d2"), decision("d1", 11.0)]),
        prepared([decision("d2")], [said("f1", value=0.5)]),
    ):
        with pytest.raises(DuplicateId, match="already stored with other content") as caught:
            log.insert(sent(other))
        assert caught.value.value in ("d1", "f1")
    assert ids(log) == (["d1"], ["f1"])


def test_what_no_log_would_take_is_not_prepared() -> None:
    with pytest.raises(InvalidInput) as caught:
        prepared([decision("d1"), decision("d2", probability=0.0)])
    assert (caught.value.field, caught.value.value) == ("probability", 0.0)
    with pytest.raises(InvalidInput, match="finite"):
        prepared([], [said("f", value=np.nan)])
    assert prepared([]) == Prepared([], [])


# ---------------------------------------------------------------------------------------------------------------- facts


def test_facts_come_as_they_arrived_with_what_was_revised_and_revoked(log: Any) -> None:
    made = [decision("b", 12.0, user=None, context={"z": 1, "a": [0.1, None]}), decision("a", 11.0, memo=())]
    heard = [
        said("f1", "b"),
        said("f2", "b", 0.5, replaces="f1"),
        said("f3", "b", None, replaces="f2"),
        said("f0", "a"),
    ]
    log.append([], [heard[3]])
    log.append(made, heard[:3])
    assert everything(log) == (made, heard)
    assert list(everything(log)[0][0].context) == ["z", "a"]


def test_feedback_that_waits_comes_last_and_only_where_the_window_has_no_end(log: Any) -> None:
    log.append([decision("d1"), decision("e", domain="other")], [said("w", "never"), said("f1"), said("g", "e")])
    assert [([row.id for row in made], [row.id for row in heard]) for made, heard in log.facts("shop", *ALL)] == [
        (["d1"], ["f1"]),
        ([], ["w"]),
    ]
    assert flat(log.facts("shop", -np.inf, 99.0))[1] == [said("f1")]
    assert flat(log.facts("nothing", *ALL)) == ([], [said("w", "never")])


def test_facts_of_a_window_hold_its_start_and_not_its_end(log: Any) -> None:
    log.append([decision(str(time), time) for time in (3.0, 1.0, 2.0)], [said("f", "3.0"), said("g", "2.0")])
    assert flat(log.facts("shop", 1.0, 3.0)) == ([decision("1.0", 1.0), decision("2.0", 2.0)], [said("g", "2.0")])
    with pytest.raises(InvalidInput, match="not a number"):
        list(log.facts("shop", np.nan, 1.0))


def test_pieces_are_small_and_of_one_moment(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    few_at_a_time(monkeypatch)
    log.append([decision(str(number)) for number in range(7)], [said(f"w{number}", "never") for number in range(4)])
    pieces = log.facts("shop", *ALL)
    first = next(pieces)
    log.append([decision("new")], [said("late", "0")])
    rest = list(pieces)
    assert [(len(made), len(heard)) for made, heard in (first, *rest)] == [(3, 0), (3, 0), (1, 0), (0, 3), (0, 1)]
    assert len(everything(log)[0]) == 8


def test_whoever_is_given_facts_cannot_change_the_log(log: Any) -> None:
    log.append([decision("d1")])
    next(log.facts("shop", *ALL)).decisions[0].context["mood"] = "changed"  # type: ignore[index]  # one who is careless
    assert log.find("d1")[0].context == {"mood": "calm"}


# ----------------------------------------------------------------------------------------------------- letting them go


def test_old_sessions_go_whole_and_those_that_went_on_stay(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    few_at_a_time(monkeypatch)
    old = [decision(f"o{number}", float(number), session=f"old-{number // 2}") for number in range(8)]
    crossing = [decision("c1", 1.0, session="on"), decision("c2", 50.0, session="on")]
    other = decision("x", 1.0, domain="other", session="old-1")
    log.append([*old, *crossing, other], [said("f", "o3"), said("g", "c1"), said("h", "x"), said("w", "never")])
    gone = log.let_go("shop", 50.0)
    assert (sorted(gone.decisions), gone.feedback) == ([row.id for row in old], ("f",))
    assert ids(log) == (["c1", "c2"], ["g", "w"])
    assert ids(log, "other") == (["x"], ["h", "w"])
    assert log.let_go("shop", 50.0) == Erased((), ())
    log.append([old[0]])  # its id is free again
    assert log.find("o0") == (old[0], [])


def test_what_is_named_is_forgotten_and_other_feedback_waits_for_its_decision(log: Any) -> None:
    log.append([decision("d1"), decision("d2")], [said("f1"), said("f2"), said("f3", "d2")])
    log.forget(["d1", "never"], ["f1", "never"])
    assert ids(log) == (["d2"], ["f3", "f2"])
    assert (log.find("d1"), log.said("f1"), log.said("f2")) == (None, None, said("f2"))
    assert log.summary("shop").unmatched == 1
    log.append([decision("d1")], [said("f1")])
    assert log.find("d1") == (decision("d1"), [said("f2"), said("f1")])
    log.forget([], ["f2"])
    assert log.find("d1") == (decision("d1"), [said("f1")])


# -------------------------------------------------------------------------------------------------------------- erasing


def test_a_person_is_erased_with_their_sessions_and_all_that_was_said_of_them(log: Any) -> None:
    made = [
        decision("a1"),
        decision("a2", user=None),  # before ann said who she is
        decision("b1", user="ben", session="s2"),
        decision("a3", session="s2"),  # one session, two people: what is nobody's stays
        decision("n1", user=None, session="s2"),
        decision("n2", user=None, session="s3"),
        decision("o1", domain="other"),
    ]
    log.append(made, [said(f"f-{row.id}", row.id) for row in made] + [said("w", "never")])
    gone = log.erase("shop", "ann")
    assert (sorted(gone.decisions), sorted(gone.feedback)) == (["a1", "a2", "a3"], ["f-a1", "f-a2", "f-a3"])
    assert ids(log) == (["b1", "n1", "n2"], ["f-b1", "f-n1", "f-n2", "w"])
    assert ids(log, "other") == (["o1"], ["f-o1", "w"])
    assert log.said("f-a2") is None
    assert log.erase("shop", "ann") == log.erase("shop", "an") == Erased((), ())
    with pytest.raises(InvalidInput, match="Nobody is named"):
        log.erase("shop", "")
    log.append([made[0]])  # whoever comes back begins anew
    assert log.find("a1") == (made[0], [])


# -------------------------------------------------------------------------------------------------------------- copying


@pytest.mark.parametrize("log", ["memory", "sqlite"], indirect=True)  # PostgreSQL's is of its own kind
def test_a_backup_holds_every_domain_and_what_waits_and_replaces_nothing(log: Any, tmp_path: Path) -> None:
    log.append([decision("d1"), decision("e", domain="other")], [said("f1"), said("f2", value=None, replaces="f1")])
    log.append([], [said("w", "never")])
    log.backup(tmp_path / "copy.db")
    log.append([decision("d2")])
    with SqliteLog(tmp_path / "copy.db") as copy:
        assert ids(copy) == (["d1"], ["f1", "f2", "w"])
        assert everything(copy, "other") == everything(log, "other")
    with pytest.raises(InvalidInput, match="is there already"):
        log.backup(tmp_path / "copy.db")
    assert sorted(each.name for each in tmp_path.glob("copy*")) == ["copy.db"]


def test_what_was_recorded_and_noted_can_be_listed(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteTasks(path) as tasks, closing(SqliteLedger(path)) as ledger:
        for records, notes in ((MemoryTasks(), MemoryLedger()), (tasks, ledger)):
            assert (records.names(), notes.kinds()) == ([], [])
            for name in ("b", "a", "b"):
                records.record(Task(name, 1.0, "completed", 0, 0, 0.0, {}))
                notes.note(name, "shop", {}, time=1.0)
            assert (records.names(), notes.kinds()) == (["a", "b"], ["a", "b"])


rows = st.lists(
    st.tuples(
        st.integers(0, 5),  # id
        st.integers(0, 9),  # time
        st.sampled_from(["s1", "s2", "s3"]),
        st.sampled_from([None, "", "ann", "ben"]),
        st.lists(st.integers(0, 9), max_size=3),  # feedback
    ),
    max_size=8,
    unique_by=lambda row: row[0],
)


@given(rows=rows, act=st.sampled_from(["erase", "let_go", "forget"]), at=st.integers(0, 9))
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_twins_keep_the_same(tmp_path_factory: pytest.TempPathFactory, rows: Any, act: str, at: int) -> None:
    memory, path = MemoryLog(), tmp_path_factory.mktemp("twins") / "log.db"
    made = [decision(f"d{id_}", float(time), session=session, user=user) for id_, time, session, user, _ in rows]
    heard = {f"f{n}": said(f"f{n}", f"d{id_}") for id_, *_, numbers in rows for n in numbers}
    with SqliteLog(path) as sqlite:
        done = []
        for log in (memory, sqlite):
            log.append(made[::2], list(heard.values()))
            log.append(made[1::2])
            if act == "forget":
                log.forget([f"d{at}", "d1"], [f"f{at}", "f2"])
            else:
                gone = log.erase("shop", "ann") if act == "erase" else log.let_go("shop", float(at))
                done.append((sorted(gone.decisions), sorted(gone.feedback)))
        assert done[:1] == done[1:]
        assert everything(memory) == everything(sqlite)
        assert [memory.find(row.id) for row in made] == [sqlite.find(row.id) for row in made]


# --------------------------------------------------------------------------------------------------------- in the file


def crowded(log: SqliteLog, people: tuple[str, ...]) -> None:
    """Rows of all sizes, in an order and with ids that make pages split: copies are left in the gaps."""
    rng = np.random.default_rng(0)
    for number in range(402):
        who = people[number % len(people)]
        names = [f"{int(rng.integers(1 << 62)):016x}-{who}" for _ in range(6)]
        size = int(rng.choice([1, 20, 700]))
        log.append(
            [decision(n, session=f"s-{who}", user=who, context={"note": f"secret of {who} " * size}) for n in names],
            [said(f"f-{n}", n, signal=f"by {who}" if number % 7 else "like") for n in names],
        )


def bytes_of(path: Path) -> bytes:
    """Of the log and all that SQLite keeps beside it."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def test_the_bytes_of_an_erased_person_are_gone_from_the_files_while_it_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path) as log, SqliteLog(path) as other:
        crowded(log, ("mallory", "ann", "ben"))
        assert len(everything(other)[0]) == 2412
        assert bytes_of(path).count(b"mallory") > 1000
        assert len(log.erase("shop", "mallory").decisions) == 804
        assert bytes_of(path).count(b"mallory") == 0
        assert bytes_of(path).count(b"ann") > 1000
        assert path.with_name("log.db-wal").stat().st_size == 0
        log.append([decision("later", user="ben")])
        log.erase("shop", "ann")
        assert bytes_of(path).count(b"secret of ann") == bytes_of(path).count(b"-ann") == 0
        assert len(everything(other)[0]) == 805
        with log.database.reading() as connection:
            assert connection.pragma("integrity_check") == "ok"


def test_an_erasure_beside_somebody_who_reads_an_older_state_says_so_and_is_finished_by_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log.db"
    with SqliteLog(path, timeout=0.05) as log:
        log.append([decision("d1", user="mallory"), decision("d2")])
        pieces = log.facts("shop", *ALL)
        next(pieces)
        with pytest.raises(StoreLocked, match="not yet from every byte"):
            log.erase("shop", "mallory")
        assert log.find("d1") is None
        pieces.close()
        assert log.erase("shop", "mallory") == Erased((), ())
    assert b"mallory" not in bytes_of(path)


@pytest.mark.parametrize("before", [False, True])
def test_rows_that_are_let_go_give_their_space_back(tmp_path: Path, before: bool) -> None:
    """Also in a store that was made `before` pages could be given back a few at a time."""
    path = tmp_path / "log.db"
    if before:
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    with SqliteLog(path) as log:
        with log.database.reading() as connection:
            assert connection.pragma("auto_vacuum") == (0 if before else 2)
        crowded(log, ("ann", "ben"))
        log.append([decision("new", 100.0, session="new")])
        full = log.summary("shop").bytes
        assert len(log.let_go("shop", 50.0).decisions) == 2412
        assert log.summary("shop").bytes < full / 20
        assert path.stat().st_size < full / 20
        assert ids(log)[0] == ["new"]


def test_a_backup_made_while_a_writer_writes_is_one_moment_of_the_log(tmp_path: Path) -> None:
    path, stop = tmp_path / "log.db", Event()
    with SqliteLog(path) as log:
        log.append([decision(f"first-{number}", context={"x": "x" * 2000}) for number in range(3000)])

        def write() -> None:
            number = 0
            while not stop.is_set():
                log.append([decision(f"d{number}")], [said(f"f{number}", f"d{number}")])
                number += 1

        writer = Thread(target=write)
        writer.start()
        try:
            counts = []
            for number in range(3):
                log.backup(tmp_path / f"{number}.db")
                with SqliteLog(tmp_path / f"{number}.db") as copy:
                    made, heard = ids(copy)
                    counts.append(len(made))
                    assert len(heard) == len(made) - 3000  # each decision came with its feedback
                    with copy.database.reading() as connection:
                        assert connection.pragma("integrity_check") == "ok"
        finally:
            stop.set()
            writer.join()
        assert counts == sorted(counts)
        assert 3000 <= counts[0] < counts[2] < len(ids(log)[0])


def test_how_far_back_so_many_decisions_reach(log: Any) -> None:
    log.append([decision(str(at), float(at)) for at in (3, 1, 2, 5, 4)], [said("f", "5")])
    log.append([decision("other", 4.5, domain="library")])
    assert log.reach("shop", np.inf, 1) == (5.0, 1)
    assert log.reach("shop", np.inf, 3) == (3.0, 3)
    assert log.reach("shop", 3.0, 2) == (1.0, 2)  # before, not at
    assert log.reach("shop", np.inf, 100) == (1.0, 5)  # there are fewer
    assert log.reach("shop", 1.0, 100) is None
    assert log.reach("museum", np.inf, 1) is None
    with pytest.raises(InvalidInput):
        log.reach("shop", np.nan, 1)
