"""Opens the log and what stands beside it in the same store: an SQLite file, or a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

from bondhu.errors import SettingsInvalid
from bondhu.log.kept import KeptLog, Stores
from bondhu.log.lock import only_one
from bondhu.log.sqlite import SqliteLedger, SqliteLog, SqliteTasks
from bondhu.log.transcripts import SqliteTranscripts

__all__ = ["KeptLog", "Stores", "is_postgres", "open_stores"]

POSTGRES = ("postgresql://", "postgres://")


def is_postgres(where: str) -> bool:
    return where.startswith(POSTGRES)


def open_stores(where: str, directory: Path, password: str | None = None) -> Stores:
    """The store at a path below `directory`, or at an address such as postgresql://user@host/database."""
    if is_postgres(where):
        from bondhu.log.postgres import open_postgres

        return open_postgres(where, password)
    if "://" in where:
        fix = "Name a file, or an address that begins with postgresql://."
        raise SettingsInvalid("The store's address is of no kind that is known.", field="store.log", fix=fix)
    path = directory / where
    path.parent.mkdir(parents=True, exist_ok=True)
    log, tasks, ledger = SqliteLog(path), SqliteTasks(path), SqliteLedger(path)
    transcripts = SqliteTranscripts(log.database)  # in this process they take turns, rather than wait for a lock

    def close() -> None:
        for each in (log, tasks, ledger, transcripts):
            each.close()

    return Stores(log, tasks, ledger, transcripts, lambda name: only_one(path.with_name(f"{name}.lock")), close)
