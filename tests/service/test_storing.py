"""What an operator does with a store: archive, back up, restore, move to another one. Nothing is lost or doubled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import numpy as np
import pytest

from bondhu import cli, settings
from bondhu.access.keys import Ring, Wanted
from bondhu.app import App, open_app
from bondhu.certificates import certificates, certify
from bondhu.errors import InvalidInput, StoreCorrupt, StoreError, StoreLocked, StoreTooNew
from bondhu.log import archive as archiving
from bondhu.log.archive import archive, erase_archived
from bondhu.log.backup import check, restore
from bondhu.log.database import migrations
from bondhu.log.importers import to_toml
from bondhu.log.lock import only_one
from bondhu.log.moving import all_entries, all_tasks, move_in, move_out
from bondhu.log.parquet import Pair, digested, facts_of, holds_facts, write_facts
from bondhu.log.sqlite import SqliteLog
from bondhu.log.stores import Stores, open_stores
from bondhu.ports import Erased, Facts, Task
from bondhu.types import Decision, Feedback
from tests.service.postgres import address, cluster  # noqa: F401  fixtures
from tests.service.shop import shop
from tests.service.stand import log, tables

DAY = 86_400.0
ALL = (-np.inf, np.inf)
ODD = "è \u2028 \U0001f600 '\""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs commands in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["bondhu", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run


def expect_refusal(done: Done, message: str) -> None:
    """One message, without a traceback, and exit status 1."""
    assert done.code == 1, done
    assert re.search(message, done.err, re.DOTALL), done.err
    assert "Traceback" not in done.err


def declared(path: Path, **more: Any) -> App:
    """The shop in a folder."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "bondhu.toml").write_text(to_toml(tables(**more)), encoding="utf-8")
    return open_app(settings.load(path))


def everything(log: Any, domain: str = "shop") -> list[Any]:
    """All facts in their order, whatever pieces they come in."""
    pieces = list(log.facts(domain, *ALL))
    return [row for piece in pieces for row in piece.decisions] + [row for piece in pieces for row in piece.feedback]


def archived(folder: Path) -> list[Any]:
    pieces = list(facts_of(folder)) if holds_facts(folder) else []
    return [row for piece in pieces for row in piece.decisions] + [row for piece in pieces for row in piece.feedback]


def made(id_: str, time: float, **changes: Any) -> Decision:
    plain = Decision(
        id_, "shop", f"s-{id_}", None, time, {"mood": "sad", "age": 1}, ("red", "blue"), "red", 0.5, (), "v", "live"
    )
    return plain._replace(**changes)


def fill(log: Any) -> None:
    """Facts of every kind."""
    rows = [
        made(
            f"d{n}",
            1e9 + n / 7,
            session=f"{ODD}{n // 3}",
            user=None if n % 4 == 0 else f"{ODD}{n % 9}",
            context={"b": ODD, "a": [n / 3, None, {"deep": -1e300}]},
            memo=(n / 3, 0.1)[: n % 3],
            allowed=("red", "blue", "green")[: 1 + n % 3],
            probability=1 / (1 + n % 7),
            assigned=1 / (1 + n % 3),
        )
        for n in range(50)
    ]
    said = [Feedback(f"f{n}", f"d{n % 60}", "like", n / 3, 1e9 + n) for n in range(90)]  # some wait for decisions
    said += [
        Feedback("r1", "d1", "like", 0.5, 1e9, "f1"),
        Feedback("r2", "d1", "like", None, 2e9, "r1"),
        Feedback("r3", "d0", "watched", None, 2e9, "not here"),
    ]
    log.append(rows[:30], said[::2])
    log.append(rows[30:], said[1::2])
    log.append([made("x", 1.0, domain="other")], [Feedback("fx", "x", "like", 1.0, 2.0)])


# -------------------------------------------------------------------------------------------------------------- archive


def test_old_rows_move_to_an_archive_as_they_arrived_and_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    with SqliteLog(tmp_path / "log.db") as log, SqliteLog(tmp_path / "again.db") as again:
        fill(log)
        before = everything(log)
        assert shop().idle > 60  # sessions that went on at the border stay whole
        moved = archive(log, shop(), 1e9 + 5, folder, now=2e9)
        assert moved.pair is not None
        stayed = [row.id for piece in log.facts("shop", *ALL) for row in piece.decisions]
        assert stayed == [f"d{n}" for n in range(33, 50)]  # d33 began the session of d35, which is not old
        assert moved.decisions == 33
        assert sorted(map(repr, archived(folder) + everything(log))) == sorted(map(repr, before))
        assert [row.id for row in archived(folder)[:33]] == [f"d{n}" for n in range(33)]
        assert sorted(each.name for each in folder.iterdir()) == [
            f"shop-20330518T033320-001.{part}.parquet" for part in ("decisions", "feedback")
        ]
        assert everything(log, "other")[0].id == "x"
        assert archive(log, shop(), 1e9 + 5, folder, now=2e9)[:2] == (0, 0)
        assert archive(log, shop(), 2e9, folder, now=2e9).decisions == 17
        for piece in facts_of(folder):  # two pairs by now
            again.append(piece.decisions, piece.feedback)
            log.append(piece.decisions, piece.feedback)
        waiting = [row for row in everything(log) if row.id == "f50"]
        again.append(
            [], [row for row in before if isinstance(row, Feedback) and row.decision_id not in again_ids(again)]
        )
        assert everything(again) == before
        assert waiting == [Feedback("f50", "d50", "like", 50 / 3, 1e9 + 50)]
        assert sorted(map(repr, everything(log))) == sorted(map(repr, before))


def again_ids(log: SqliteLog) -> set[str]:
    return {row.id for piece in log.facts("shop", *ALL) for row in piece.decisions}


def test_feedback_that_comes_after_its_decision_was_archived_waits_for_it(tmp_path: Path) -> None:
    late = Feedback("late", "d1", "like", 1.0, 9.0)
    with SqliteLog(tmp_path / "log.db") as log:
        log.append([made("d1", 1.0)], [Feedback("f1", "d1", "like", 1.0, 2.0)])

        class Meanwhile:
            """Somebody says something while the rows are on their way."""

            facts = log.facts

            def forget(self, *rows: Any) -> None:
                log.append([], [late])
                log.forget(*rows)

        assert archive(Meanwhile(), shop(), 5.0, tmp_path / "a", now=9.0)[:2] == (1, 1)  # type: ignore[arg-type]
        assert everything(log) == [late]
        for piece in facts_of(tmp_path / "a"):
            log.append(piece.decisions, piece.feedback)
        assert log.find("d1") == (made("d1", 1.0), [late, Feedback("f1", "d1", "like", 1.0, 2.0)])


CRASHES = """
import os, shutil, signal, sys
from pathlib import Path
import numpy, pyarrow.parquet
from bondhu.log import archive as module, keeping, parquet
from bondhu.log.sqlite import SqliteLog
from tests.service.shop import shop

parquet.MOST = keeping.PIECE = 50

def dying(function, at, steps):
    def call(*arguments, **more):
        result = function(*arguments, **more)
        if next(steps) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

def crash(folder, at):
    steps = iter(range(1000))
    module.flush, module.write_facts = dying(module.flush, at, steps), dying(module.write_facts, at, steps)
    Path.rename, Path.unlink = dying(Path.rename, at, steps), dying(Path.unlink, at, steps)
    SqliteLog.forget = dying(SqliteLog.forget, at, steps)
    with SqliteLog(folder / "log.db") as log:
        module.archive(log, shop(), 500.0, folder / "a", now=1e9, told=dying(module.ignored, at, steps))

at, code = 0, -9
while code == -9:
    folder = Path(sys.argv[1]) / str(at)
    folder.mkdir()
    shutil.copy(Path(sys.argv[1]) / "log.db", folder / "log.db")
    child = os.fork()
    if not child:
        crash(folder, at)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    at += 1
print(at, code)
"""


def test_kill_9_at_any_step_of_an_archiving_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log:
        rows = [made(f"d{n}", float(n)) for n in range(120)] + [made("new", 1000.0)]
        log.append(rows, [Feedback(f"f{n}", f"d{n}", "like", 1.0, 5.0) for n in range(120)])
        log.append([], [Feedback("w", "never", "like", 1.0, 5.0)])
        before = sorted(map(repr, everything(log)))
    command = [sys.executable, "-c", CRASHES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    steps, code = map(int, done.stdout.split())
    assert (code, steps) == (0, 15)  # of these, the last run ended by itself
    for at in range(steps):
        folder = tmp_path / str(at)
        with SqliteLog(folder / "log.db") as log:
            left, there = everything(log), archived(folder / "a")
            assert set(map(repr, left + there)) == set(before)  # nothing is lost at any moment ...
            archive(log, shop(), 500.0, folder / "a", now=2e9)  # ... and the next run mends what was cut off
            assert sorted(map(repr, everything(log) + archived(folder / "a"))) == before
            assert len(archived(folder / "a")) == 240
            assert {each.suffix for each in (folder / "a").iterdir()} == {".parquet"}


def test_rows_stay_in_the_log_where_an_archive_cannot_be_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteLog(tmp_path / "log.db") as log:
        fill(log)
        before = everything(log)

        def flipping(pieces: Any, pair: Pair, domain: str) -> Any:
            """A disk that gives back other numbers than it was given."""
            written = write_facts(pieces, pair, domain)
            wrong = [Facts([row._replace(time=0.0) for row in piece.decisions], piece.feedback) for piece in facts]
            write_facts(wrong, pair, domain)
            return written

        facts = list(log.facts("shop", -np.inf, 1e9 + 1))
        monkeypatch.setattr(archiving, "write_facts", flipping)
        with pytest.raises(StoreCorrupt, match="does not read back as it was written"):
            archive(log, shop(), 1e9 + 5, tmp_path / "a", now=2e9)
        assert not holds_facts(tmp_path / "a")
        monkeypatch.undo()
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="file cannot be written"):
            archive(log, shop(), 1e9 + 5, tmp_path / "file", now=2e9)
        assert everything(log) == before


def test_a_person_is_taken_out_of_the_archives(tmp_path: Path) -> None:
    with SqliteLog(tmp_path / "log.db") as log:
        rows = [made(f"d{n}", float(n), user=("ann", "ben", None)[n % 3]) for n in range(9)]
        rows.append(made("same", 0.5, session=rows[0].session, user=None))
        log.append(rows, [Feedback(f"f{n}", f"d{n}", "like", 1.0, 5.0) for n in range(9)])
        archive(log, shop(), 5.0, tmp_path, now=1e9)
        archive(log, shop(), 99.0, tmp_path, now=2e9)
    (tmp_path / f"shop-20330518T033320-002.decisions.parquet{archiving.REWRITTEN}").write_text("cut off")
    gone = erase_archived(tmp_path, "shop", "ann")
    assert (sorted(gone.decisions), sorted(gone.feedback)) == (["d0", "d3", "d6", "same"], ["f0", "f3", "f6"])
    assert [row.id for row in archived(tmp_path)] == [
        *("d1", "d2", "d4", "d5", "d7", "d8"),
        *("f1", "f2", "f4", "f5", "f7", "f8"),
    ]
    assert erase_archived(tmp_path, "shop", "ann") == erase_archived(tmp_path, "other", "ben") == Erased((), ())
    assert erase_archived(tmp_path / "nowhere", "shop", "ben") == Erased((), ())
    assert list(tmp_path.glob("*.decisions.parquet?*")) == []
    with pytest.raises(InvalidInput, match="Nobody"):
        erase_archived(tmp_path, "shop", "")


def test_the_archive_command_moves_what_is_older_than_the_settings_say(run: Run, tmp_path: Path) -> None:
    app = declared(tmp_path)
    log(app, ["ann", "ben"], 3, ago=90 * DAY)
    log(app, ["ann"], 2, ago=5 * DAY)
    expect_refusal(run("archive"), r"Nothing says how long rows stay.*retain_days.*--days")
    expect_refusal(run("archive", "--days", "0.01"), r"may not be settled.*Give 0\.0\d+ days or more")
    declared(tmp_path, store={"retain_days": 30.0})
    assert "Moved 6 decisions and 2 feedback to data/archive/shop-" in run("archive").out
    assert run("archive").out == "Nothing is old enough.\n"
    assert app.log.summary("shop").decisions == 2
    assert "Moved 2 decisions" in run("archive", "--days", "1").out
    done = run("import", "data/archive")
    assert "holds 8 decisions and 3 feedback; 8 and 3 of them are new here" in done.out
    assert app.log.summary("shop").decisions == 8
    with only_one(tmp_path / "data" / "archive.lock"):
        expect_refusal(run("archive"), "is at it already")


# --------------------------------------------------------------------------------------------------- backup and restore


def test_a_backup_is_restored_only_where_nothing_is_lost_and_nobody_is_at_it(run: Run, tmp_path: Path) -> None:
    app = declared(tmp_path)
    fill(app.log)
    app.ledger.note("key", "shop", {"hash": "abc"}, time=1.0)
    before = everything(app.log)
    assert re.search(r"Wrote copy\.db: 0\.\d MiB, checked\.", run("backup", "copy.db").out)
    expect_refusal(run("backup", "copy.db"), r"copy\.db is there already.*replaces nothing")
    expect_refusal(run("backup", "nowhere/copy.db"), r"nowhere/copy\.db cannot be written")
    app.log.append([made("more", 1.0)])
    expect_refusal(run("restore", "copy.db", "--replace"), r"log\.sqlite is in use.*Stop it and try again")
    app.stores.close()
    expect_refusal(run("restore", "copy.db"), r"log\.sqlite holds a log already.*--replace")
    expect_refusal(run("restore", "none.db"), "There is no backup none.db")
    assert run("restore", "copy.db", "--replace").out.startswith("Restored copy.db to data/log.sqlite.\n")
    app = declared(tmp_path)
    assert everything(app.log) == before
    assert app.ledger.entries("key")[0].body == {"hash": "abc"}
    declared(tmp_path / "new").stores.close()  # its store is there and holds nothing
    assert run("restore", "copy.db", "-C", "new").code == 0
    assert everything(declared(tmp_path / "new").log) == before
    assert [
        each.name for each in (tmp_path / "data").glob("log*") if each.suffix not in (".sqlite-wal", ".sqlite-shm")
    ] == ["log.sqlite"]


def test_a_backup_that_is_damaged_foreign_or_newer_is_refused_before_the_store_is_touched(tmp_path: Path) -> None:
    store = tmp_path / "log.db"
    with SqliteLog(store) as log:
        fill(log)
        before = everything(log)
        log.backup(tmp_path / "good.db")
    assert check(tmp_path / "good.db") == len(migrations())
    data = bytearray((tmp_path / "good.db").read_bytes())
    (tmp_path / "half.db").write_bytes(data[: len(data) // 2])
    for page in range(4, 9):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    (tmp_path / "spoilt.db").write_bytes(data)
    (tmp_path / "text.db").write_text("not a database " * 100)
    shutil.copy(tmp_path / "good.db", tmp_path / "newer.db")
    with closing(apsw.Connection(str(tmp_path / "newer.db"))) as connection:
        connection.execute(f"PRAGMA user_version = {len(migrations()) + 1}")
    with closing(apsw.Connection(str(tmp_path / "foreign.db"))) as connection:
        connection.execute("CREATE TABLE mine (a)")
    for name, kind in (
        *(("half", StoreCorrupt), ("spoilt", StoreCorrupt), ("text", StoreCorrupt)),
        *(("newer", StoreTooNew), ("foreign", StoreError), ("none", InvalidInput)),
    ):
        with pytest.raises(kind):
            restore(tmp_path / f"{name}.db", store, replace=True)
    with SqliteLog(store) as log:
        assert everything(log) == before
    with pytest.raises(InvalidInput, match="holds a log already"):  # nor is another program's file given up
        restore(tmp_path / "good.db", tmp_path / "foreign.db")


def test_a_damaged_store_is_put_aside_and_not_deleted(tmp_path: Path) -> None:
    store = tmp_path / "log.db"
    with SqliteLog(store) as log:
        fill(log)
        before = everything(log)
        log.backup(tmp_path / "good.db")
    store.write_bytes(b"\xff" * 5000)
    with pytest.raises(StoreCorrupt, match=r"is damaged.*put it aside"):
        restore(tmp_path / "good.db", store)
    for number in (1, 2):
        restore(tmp_path / "good.db", store, replace=True)
        with SqliteLog(store) as log:
            assert everything(log) == before
        assert (tmp_path / f"log.db.damaged-{number}").read_bytes() == b"\xff" * 5000
        store.write_bytes(b"\xff" * 5000)


HOLDER = """
import sys
from bondhu.log.sqlite import SqliteLog
with SqliteLog(sys.argv[1]) as log:
    print(len(log.domains()), flush=True)
    sys.stdin.read()
"""


def test_a_store_that_another_process_has_open_is_not_replaced_be_it_idle(tmp_path: Path) -> None:
    store = tmp_path / "log.db"
    with SqliteLog(store) as log:
        fill(log)
        log.backup(tmp_path / "good.db")
    command = [sys.executable, "-c", HOLDER, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "2\n"
        with pytest.raises(StoreLocked, match="in use"):
            restore(tmp_path / "good.db", store, replace=True)
        assert holder.stdin is not None
        holder.stdin.close()
    restore(tmp_path / "good.db", store, replace=True)
    with SqliteLog(store) as log:
        assert len(again_ids(log)) == 50


# --------------------------------------------------------------------------------------------------------------- moving


def filled(stores: Stores) -> Stores:
    fill(stores.log)
    for n in range(3):
        stores.tasks.record(Task("job", 1e9 + n / 4, "completed", n, 0, 0.5, {"n": [n, ODD]}, None if n else "no"))
        stores.ledger.note(("key", "act")[n % 2], "shop", {"n": n, ODD: None}, time=float(n))
        stores.ledger.note("key", "other", {"n": n}, time=float(n))
    return stores


def unheard(_decisions: int) -> None:
    """Nobody looks at the progress."""


def beside(stores: Stores) -> tuple[list[Any], list[Any]]:
    """All but the numbers of the entries, which every store gives itself."""
    return all_tasks(stores.tasks), [entry[1:] for entry in all_entries(stores.ledger, "shop")]


def carried(source: Stores, folder: Path, target: Stores) -> None:
    """By way of a folder; a second time changes nothing."""
    move_out(source, "shop", folder, unheard)
    first = move_in(target, "shop", folder, unheard)
    assert (first.new_decisions, first.new_feedback, first.new_beside) == (first.decisions, first.feedback, 6)
    before = everything(target.log), beside(target)
    assert move_in(target, "shop", folder, unheard)[2:5] == (0, 0, 0)
    assert (everything(target.log), beside(target)) == before


def test_moving_from_sqlite_to_sqlite_gives_equal_facts_in_the_same_order(tmp_path: Path) -> None:
    here, there = (open_stores(name, tmp_path) for name in ("a.db", "b.db"))
    filled(here)
    carried(here, tmp_path / "folder", there)
    assert everything(there.log) == everything(here.log)
    assert beside(there) == beside(here)
    assert len(everything(there.log)) == 50 + 93
    assert digested(facts_of(tmp_path / "folder")) == digested(here.log.facts("shop", *ALL))
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    for stores in (here, there):
        stores.close()


def test_moving_to_postgresql_and_back_gives_equal_facts_in_the_same_order(
    tmp_path: Path,
    address: str,  # noqa: F811  the fixture
) -> None:
    here, server, there = (open_stores(name, tmp_path) for name in ("a.db", address, "b.db"))
    try:
        filled(here)
        carried(here, tmp_path / "to", server)
        carried(server, tmp_path / "back", there)
        assert everything(there.log) == everything(server.log) == everything(here.log)
        assert beside(there) == beside(server) == beside(here)
    finally:
        for stores in (here, server, there):
            stores.close()


def test_the_commands_move_a_deployment(run: Run, tmp_path: Path) -> None:
    app = declared(tmp_path)
    filled(app.stores)
    assert run("export", "moved/").out == "Wrote 50 decisions and 93 feedback to moved.\n"
    expect_refusal(run("export", "moved"), "moved is there already.*Name a new folder")
    expect_refusal(run("export", "other", "--days", "3"), "A folder takes the whole log")
    expect_refusal(run("export", "nowhere/deeper"), "nowhere/deeper cannot be written")
    again = declared(tmp_path / "again")
    shown = "moved holds 50 decisions and 93 feedback; {} of them are new here, and {} records beside them"
    assert shown.format("50 and 93", 6) in run("import", "moved", "-C", "again").out
    assert everything(again.log) == everything(app.log)
    assert shown.format("0 and 0", 0) in run("import", "moved", "-C", "again").out
    declared(tmp_path / "else", domain={"name": "elsewhere"})
    expect_refusal(run("import", "moved", "-C", "else"), "holds facts of 'shop', and this deployment is 'elsewhere'")
    (tmp_path / "moved" / "ledger.jsonl").write_text("{")
    expect_refusal(run("import", "moved", "-C", "again"), r"Line 1 of moved/ledger.jsonl cannot be read")
    (tmp_path / "moved" / "feedback.parquet").write_text("nothing")
    expect_refusal(run("import", "moved", "-C", "again"), r"feedback\.parquet is damaged")
    (tmp_path / "moved" / "feedback.parquet").unlink()
    expect_refusal(run("import", "moved", "-C", "again"), r"feedback\.parquet is not there")
    assert sorted(each.name for each in tmp_path.glob("*.part")) == []
    assert os.listdir(tmp_path / "moved") != []


def test_facts_of_a_newer_release_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bondhu.log.parquet.FORMAT", 2)
    write_facts([Facts([made("d", 1.0)], [])], Pair.called(tmp_path), "shop")
    assert len(list(facts_of(tmp_path))) == 1
    monkeypatch.undo()
    with pytest.raises(StoreTooNew, match="newer release"):
        list(facts_of(tmp_path))


def test_facts_in_parquet_have_typed_columns_that_other_tools_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    row = made("d", 1.5, user="ann", memo=(0.5,))
    write_facts([Facts([row], [Feedback("f", "d", "like", None, 2.0, "g")])], Pair.called(tmp_path, "x"), "shop")
    decisions, feedback = (pq.read_table(each) for each in Pair.called(tmp_path, "x"))
    assert decisions.to_pylist() == [
        {**row._asdict(), "context": '{"mood":"sad","age":1}', "allowed": ["red", "blue"], "memo": [0.5]}
    ]
    assert feedback.to_pylist() == [Feedback("f", "d", "like", None, 2.0, "g")._asdict()]
    assert str(decisions.schema.field("memo").type) == "list<element: double>"
    assert [*facts_of(tmp_path / "x.feedback.parquet")] == [Facts([row], [Feedback("f", "d", "like", None, 2.0, "g")])]


# ----------------------------------------------------------------------------------- what a restored store goes on from


def test_what_the_ledger_noted_since_a_backup_is_kept_so_that_no_revoked_key_comes_back(
    run: Run, tmp_path: Path
) -> None:
    app = declared(tmp_path)
    ring = Ring(app.ledger, None)
    first, second = (ring.create(Wanted(name, "reader", "shop"), "me", 1e9) for name in ("first", "second"))
    assert run("backup", "copy.db").code == 0
    app.log.append([made("more", 1.0)])
    ring.revoke(first.key.id, "me", 2e9)
    third = ring.create(Wanted("third", "reader", None), "me", 2e9)
    certify(app, {"run": "a"})
    certify(app, {"run": "b"})
    before = {kind: [each[1:] for each in app.ledger.entries(kind)] for kind in app.ledger.kinds()}
    app.stores.close()
    done = run("restore", "copy.db", "--replace")
    assert done.code == 0
    assert "1 of kind act, 1 of kind backup, 2 of kind erasure, 2 of kind key" in done.out
    assert "erase them again" in done.out
    app = declared(tmp_path)
    assert everything(app.log) == []
    keys = Ring(app.ledger, None).keys()
    assert {name: key.good(2e9) for name, key in keys.items()} == {
        first.key.id: False,
        second.key.id: True,
        third.key.id: True,
    }
    after = {kind: [each[1:] for each in app.ledger.entries(kind)] for kind in app.ledger.kinds()}
    assert after.pop("act")[: len(before["act"])] == before.pop("act")
    assert after == before
    assert [each.problem for each in certificates(app)] == ["", ""]
    app.stores.close()
    kept = before["key"]
    assert run("restore", "copy.db", "--replace").code == 0  # a second time nothing is doubled
    assert [each[1:] for each in declared(tmp_path).ledger.entries("key")] == kept


def test_in_postgresql_a_revoked_key_does_not_come_back_either(tmp_path: Path, address: str) -> None:  # noqa: F811
    def command(*words: str) -> str:  # in a process of its own: it lets go of the database when it ends
        ran = [sys.executable, "-m", "bondhu", *words]
        return subprocess.run(ran, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120).stdout

    with closing(declared(tmp_path, store={"log": address}).stores) as stores:
        key = Ring(stores.ledger, None).create(Wanted("first", "reader", "shop"), "me", 1e9).key
    command("backup", "copy.db")
    with closing(open_stores(address, tmp_path)) as stores:
        Ring(stores.ledger, None).revoke(key.id, "me", 2e9)
    assert "1 of kind key" in command("restore", "copy.db", "--replace")
    with closing(open_stores(address, tmp_path)) as stores:
        assert [each.good(2e9) for each in Ring(stores.ledger, None).keys().values()] == [False]


def test_where_the_ledger_is_lost_the_keys_that_come_back_are_named(run: Run, tmp_path: Path) -> None:
    app = declared(tmp_path)
    key = Ring(app.ledger, None).create(Wanted("first", "reader", "shop"), "me", 1e9).key
    assert run("backup", "copy.db").code == 0
    Ring(app.ledger, None).revoke(key.id, "me", 2e9)
    app.stores.close()
    store = tmp_path / "data" / "log.sqlite"
    store.write_bytes(b"x" * store.stat().st_size)
    done = run("restore", "copy.db", "--replace")
    assert done.code == 0
    assert f"Keys that are good now: {key.id}." in done.out


def test_an_export_says_what_it_leaves_in_the_archive(run: Run, tmp_path: Path) -> None:
    app = declared(tmp_path)
    now = app.now()
    app.log.append([made(f"d{age}", now - age * DAY) for age in (60, 50, 1)], [])
    assert "decisions are in the archive" not in run("export", "before.csv").out
    assert run("archive", "--days", "30").code == 0
    assert "2 more decisions are in the archive" in run("export", "after.csv").out
    assert "1 more decisions are in the archive" in run("export", "some.csv", "--days", "55").out
    assert "2 more decisions are in the archive" in run("export", "all").out
    assert "are in the archive" not in run("export", "few.csv", "--days", "2").out


def test_whatever_holds_people_is_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        app = declared(tmp_path)
        app.log.append([made("old", app.now() - 60 * DAY, user="ann"), made("new", app.now() - DAY, user="ann")], [])
        for name in ("out.csv", "out.jsonl", "out.parquet", "out.dsjson"):
            assert run("export", name).code == 0
        assert run("backup", "copy.db").code == 0
        assert run("archive", "--days", "30").code == 0
        (tmp_path / "out.csv").chmod(0o640)
        assert run("erase", "ann", "--yes").code == 0
        (tmp_path / "new").mkdir()
        shutil.copy(tmp_path / "bondhu.toml", tmp_path / "new")
        assert run("restore", "copy.db", "-C", "new").code == 0
    finally:
        os.umask(before)
    files = [*tmp_path.glob("out.*"), *tmp_path.glob("copy.*"), *tmp_path.glob("**/*.sqlite*")]
    files += (tmp_path / "data" / "archive").glob("*.parquet")
    assert len(files) >= 10
    modes = {each.name: each.stat().st_mode & 0o777 for each in files}
    assert modes.pop("out.csv") == 0o640  # as its owner wanted it
    assert set(modes.values()) == {0o600}, modes
