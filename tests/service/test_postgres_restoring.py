"""A backup is put back into PostgreSQL whole or not at all, and only while nobody uses the log."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bondhu.errors import StoreCorrupt, StoreError, StoreLocked, StoreTooNew
from bondhu.log.stores import Stores, open_stores
from tests.service.postgres import Cluster, address, cluster  # noqa: F401  fixtures

pytest.importorskip("asyncpg")

from bondhu.log.postgres import backup, copies
from tests.service.test_postgres import HERE, database_of, decision, everything, heard, said, stores  # noqa: F401  a fixture


def _back_up(stores: Stores, path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with monkeypatch.context() as patch:
        if kind == "archived":
            patch.setattr(backup, "find_program", lambda name, major: None)
        elif shutil.which("pg_dump") is None:
            pytest.skip("pg_dump is not installed")
        stores.log.backup(path)


@pytest.mark.parametrize("kind", ["dumped", "archived"])
def test_a_backup_that_is_damaged_leaves_the_log_as_it_was(
    stores: Stores,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,  # noqa: F811
    kind: str,
) -> None:
    stores.log.append([decision(str(n), context={"n": [n] * 50}) for n in range(300)], [said("f1", "7")])
    _back_up(stores, tmp_path / "copy", kind, monkeypatch)
    stores.close()
    whole, bad = (tmp_path / "copy").read_bytes(), tmp_path / "bad"
    middle = len(whole) // 2
    for damaged in (
        whole[:middle],
        whole[: middle * 4 // 3],
        whole[:-60],
        whole[:middle] + b"x" * 40 + whole[middle + 40 :],
    ):
        bad.write_bytes(damaged)
        with pytest.raises(StoreCorrupt, match="no backup, or damaged"):
            backup.restore(bad, address, replace=True)
        with closing(open_stores(address, HERE)) as opened:
            assert (len(everything(opened).id), heard(opened)) == (300, [("7", 1.0)])


KILLED = """
import os, sys
from pathlib import Path
from bondhu.log.postgres import backup
real, filled = backup._fill, []
async def fill(connection, copy, table):
    await real(connection, copy, table)
    filled.append(table)
    if table == "decision":
        os._exit(9)
backup._fill = fill
backup.restore(Path(sys.argv[1]), sys.argv[2], replace=True)
"""


@pytest.mark.parametrize("kind", ["dumped", "archived"])
def test_who_is_killed_while_restoring_leaves_the_log_as_it_was(
    stores: Stores,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,  # noqa: F811
    kind: str,
) -> None:
    stores.log.append([decision(str(n)) for n in range(50)])
    _back_up(stores, tmp_path / "copy", kind, monkeypatch)
    stores.log.append([decision("later", allowed=("a", "new"))], [said("f", "later")])
    stores.close()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "copy"), address]
    assert subprocess.run(command, check=False).returncode == 9
    with closing(_opened_soon(address)) as opened:
        assert everything(opened).id == [*map(str, range(50)), "later"]
        assert heard(opened) == [("later", 1.0)]


def _opened_soon(address: str) -> Stores:  # noqa: F811
    """The server has yet to see that who restored is gone."""
    for _ in range(1000):
        try:
            return open_stores(address, HERE)
        except StoreLocked:
            pass
    raise AssertionError("the log is still locked")


def test_nothing_is_restored_over_a_log_in_use_and_nobody_uses_one_that_is_being_restored(
    cluster: Cluster,  # noqa: F811
    stores: Stores,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,  # noqa: F811
) -> None:
    stores.log.append([decision("d1")])
    stores.log.backup(tmp_path / "copy")
    stores.log.append([decision("d2", allowed=("a", "new"))])
    with pytest.raises(StoreLocked, match=r"in use by a server.*Stop it and try again"):
        backup.restore(tmp_path / "copy", address, replace=True)
    assert everything(stores).id == ["d1", "d2"]
    real, refused = backup._fill, []

    async def fill(*arguments: Any) -> None:
        with pytest.raises(StoreLocked, match="A backup is being restored") as caught:
            open_stores(address, HERE)
        refused.append(caught.value.status)
        await real(*arguments)

    monkeypatch.setattr(backup, "_fill", fill)
    # as after a restart of the server, before anything of the other process was asked again
    cluster.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + database_of(stores) + "'")
    backup.restore(tmp_path / "copy", address, replace=True)
    assert refused == [503] * 6  # once for each table
    made = decision("d3", allowed=("c", "d"), action="c"), decision("d4", allowed=("a", "new"))
    stores.log.append(made)  # numbers of sets that it remembered would be other sets now
    assert [stores.log.find(each.id) for each in made] == [(each, []) for each in made]
    assert everything(stores).id == ["d1", "d3", "d4"]


@pytest.mark.parametrize("kind", ["dumped", "archived"])
def test_a_backup_of_an_older_release_is_brought_forward_and_one_of_a_newer_refused(
    cluster: Cluster,  # noqa: F811
    stores: Stores,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,  # noqa: F811
    kind: str,
) -> None:
    stores.log.append([decision("d1")], [said("f1", "d1")])
    older = tmp_path / "older"
    _back_up(stores, older, kind, monkeypatch)
    stores.close()
    newer = [
        *backup.migrations(),
        "CREATE TABLE decision_note (a int); ALTER TABLE decision ADD COLUMN b int DEFAULT 7",
    ]
    for module in ("schema", "backup", "copies"):
        monkeypatch.setattr(f"bondhu.log.postgres.{module}.migrations", lambda: newer)
    backup.restore(older, address, replace=True)
    with closing(open_stores(address, HERE)) as opened:
        assert (everything(opened).id, heard(opened)) == (["d1"], [("d1", 1.0)])
        assert cluster.fetch("SELECT b FROM decision", database=database_of(opened)) == [(7,)]
        _back_up(opened, tmp_path / "newer", kind, monkeypatch)
    monkeypatch.undo()
    with pytest.raises(StoreTooNew, match=f"version {len(newer)}"):
        backup.restore(tmp_path / "newer", address, replace=True)
    assert cluster.fetch("SELECT id FROM decision", database=address.rpartition("/")[2]) == [("d1",)]


def test_without_pg_restore_and_with_another_programs_dump_nothing_is_touched(
    cluster: Cluster,  # noqa: F811
    stores: Stores,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,  # noqa: F811
) -> None:
    stores.log.append([decision("d1")])
    _back_up(stores, tmp_path / "copy", "dumped", monkeypatch)
    stores.close()
    other = cluster.create()
    cluster.run("CREATE TABLE mine (a int)", database=other)
    dump = ["pg_dump", "-Fc", "-d", cluster.address(other), "-f", str(tmp_path / "other")]
    subprocess.run(dump, check=True, capture_output=True)
    with pytest.raises(StoreError, match="no backup of a log"):
        backup.restore(tmp_path / "other", address, replace=True)
    monkeypatch.setattr(copies, "find_program", lambda name, major: None)
    with pytest.raises(StoreError, match="pg_restore is not there"):
        backup.restore(tmp_path / "copy", address, replace=True)
    with closing(open_stores(address, HERE)) as opened:
        assert everything(opened).id == ["d1"]
