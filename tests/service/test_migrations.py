"""A store of every older release is brought forward with all of its rows; one of a newer release is left alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import numpy as np
import pytest

from bondhu.errors import SettingsInvalid, StoreTooNew
from bondhu.log.database import APPLICATION, migrations
from bondhu.log.sqlite import SqliteLedger, SqliteLog, SqliteTasks
from bondhu.ports import Task
from bondhu.types import Decision, Feedback

ROWS = 500
NEWEST = len(migrations())
ODD = "è \u2028 \U0001f600"

# What a store of each version can hold: rows are written in its own words, not in those of today.
ADD_DECISION = """
INSERT INTO decision
    (seq, id, domain, session, "user", time, context, allowed, action, probability, memo, version, variant)
VALUES (?, ?, 'shop', ?, ?, ?, ?, 1, 'b', 0.25, ?, 'v1', 'live')"""
ADD_FEEDBACK = "INSERT INTO feedback VALUES (?, ?, ?, ?, 'like', ?, ?, ?)"
ADD_TASK = (
    "INSERT INTO system_tasks VALUES (?, 'job', '2025-10-06T01:00:00.250000+00:00', 'failed', 1, 2, 0.5, '{}', 'no')"
)


def filled(path: Path, version: int) -> None:
    """A store as the release that knew so many scripts would have left it."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("BEGIN")
        for script in migrations()[:version]:
            connection.execute(script)
        connection.execute(f"PRAGMA user_version = {version}; PRAGMA application_id = {APPLICATION}")
        connection.execute("""INSERT INTO action_set VALUES (1, '["a","b"]')""")
        for n in range(1, ROWS + 1):
            memo = np.array([n, 0.1]).tobytes() if n % 2 else None
            user = None if n % 5 == 0 else f"{ODD}{n}"
            connection.execute(ADD_DECISION, (n, f"d{n}", f"s{n // 3}", user, n / 7, f'{{"n":{n},"x":"{ODD}"}}', memo))
            known = n if n % 4 else None  # early feedback that still waits
            value, replaces = (None, f"f{n - 1}") if n % 10 == 1 else (n / 3, None)
            connection.execute(ADD_FEEDBACK, (n, f"f{n}", known, f"d{n}" if known else f"w{n}", value, n / 2, replaces))
            if version >= 2:
                connection.execute(ADD_TASK, (n,))
        if version >= 3:
            connection.execute("UPDATE decision SET assigned = 0.125")
        connection.execute("COMMIT")


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_a_filled_store_of_an_older_release_is_brought_forward_with_all_of_its_rows(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "log.db"
    filled(path, version)
    with SqliteLog(path) as log, SqliteTasks(path) as tasks, closing(SqliteLedger(path)) as ledger:
        pieces = list(log.facts("shop", -np.inf, np.inf))
        made = [row for piece in pieces for row in piece.decisions]
        heard = sorted((row for piece in pieces for row in piece.feedback), key=lambda row: int(row.id[1:]))
        assert made == [
            Decision(
                *(f"d{n}", "shop", f"s{n // 3}", None if n % 5 == 0 else f"{ODD}{n}", n / 7, {"n": n, "x": ODD}),
                *(
                    ("a", "b"),
                    "b",
                    0.25,
                    (float(n), 0.1) if n % 2 else (),
                    "v1",
                    "live",
                    0.125 if version >= 3 else 1.0,
                ),
            )
            for n in range(1, ROWS + 1)
        ]
        assert heard == [
            Feedback(
                *(f"f{n}", f"d{n}" if n % 4 else f"w{n}", "like", None if n % 10 == 1 else n / 3, n / 2),
                f"f{n - 1}" if n % 10 == 1 else None,
            )
            for n in range(1, ROWS + 1)
        ]
        assert log.summary("shop").unmatched == len(pieces[-1].feedback) == ROWS // 4
        task = Task("job", 1_759_712_400.25, "failed", 1, 2, 0.5, {}, "no")
        assert tasks.recent("job", 9999) == ([task] * ROWS if version >= 2 else [])
        # and it works on as a store of today
        log.append([Decision("w4", "shop", "s", None, 1.0, {}, ("a",), "a", 0.5, (), "v", "live", 0.5)])
        assert log.find("w4")[1] == [heard[3]]  # type: ignore[index]  # what waited has found it
        assert ledger.note("key", "shop", {"a": 1}, time=1.0).seq == 1
        with log.database.reading() as connection:
            assert connection.pragma("integrity_check") == "ok"
            assert connection.pragma("user_version") == NEWEST


def test_a_filled_store_of_a_newer_release_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    filled(path, NEWEST - 1)
    with SqliteLog(path):
        pass
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    before = path.read_bytes()
    for kind in (SqliteLog, SqliteTasks, SqliteLedger):
        with pytest.raises(StoreTooNew, match=f"has version {NEWEST + 1}.* up to {NEWEST}") as caught:
            kind(path)
        assert "Upgrade" in caught.value.fix
    assert path.read_bytes() == before


def test_an_sqlite_that_can_damage_a_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for found in ("3.40.1", "3.51.2", "3.9.9"):
        monkeypatch.setattr(apsw, "sqlite_lib_version", lambda found=found: found)
        with pytest.raises(SettingsInvalid, match=f"SQLite {found}") as caught:
            SqliteLog(tmp_path / "log.db")
        assert "apsw 3.51.3 or later" in caught.value.fix
    assert list(tmp_path.iterdir()) == []
    for found in ("3.51.3", "3.54.1", "4.0"):
        monkeypatch.setattr(apsw, "sqlite_lib_version", lambda found=found: found)
        with SqliteLog(tmp_path / f"{found}.db") as log:
            assert log.domains() == []
