"""The store in a PostgreSQL database: the log, the record of the jobs, the ledger, and locks between processes."""

from __future__ import annotations

from bondhu.errors import SettingsInvalid
from bondhu.log.kept import Stores


def open_postgres(where: str, password: str | None = None) -> Stores:
    """The store at an address such as postgresql://user@host:5432/database; its tables are made or brought forward."""
    try:
        from bondhu.log.postgres.address import Address
        from bondhu.log.postgres.database import Database
    except ModuleNotFoundError:
        fix = "Install it with `pip install 'bondhu[postgres]'`."
        raise SettingsInvalid("PostgreSQL needs the package asyncpg.", field="store.log", fix=fix) from None
    from bondhu.log.postgres.keeping import match_early
    from bondhu.log.postgres.log import PostgresLog
    from bondhu.log.postgres.tasks import PostgresLedger, PostgresTasks
    from bondhu.log.postgres.transcripts import PostgresTranscripts

    database = Database(Address(where, password))
    match_early(database)
    log, tasks, ledger = PostgresLog(database), PostgresTasks(database), PostgresLedger(database)
    return Stores(log, tasks, ledger, PostgresTranscripts(database), database.alone, database.close)
