"""The record of what the jobs did, and what is noted beside the facts, in the log's database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bondhu.log.checks import decode, encode
from bondhu.log.postgres.database import Connection, Database
from bondhu.log.postgres.schema import QUERIES
from bondhu.log.postgres.spelling import plain, spelled
from bondhu.ports import Entry, Task

_ZERO = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # the one character that no jsonb holds, as JSON writes it


class PostgresTasks:
    """Table `system_tasks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, task: Task) -> None:
        at = datetime.fromtimestamp(task.executed_at, UTC).replace(tzinfo=None)
        row = (
            *(spelled(task.task_name), at, task.status, task.users_processed, task.records_processed),
            float(task.duration_seconds),
            _ZERO.sub(r"\1\\ufffd", encode(task.metadata).decode()),
            None if task.error is None else spelled(task.error),
        )
        self._database.run(lambda connection: connection.execute(QUERIES["add_task"], *row))

    def recent(self, task_name: str, limit: int) -> list[Task]:
        """Newest first."""
        asked = QUERIES["recent_tasks"], spelled(task_name), limit
        return [_task(*row) for row in self._database.run(lambda connection: connection.fetch(*asked))]

    def names(self) -> list[str]:
        """Names of the tasks that were recorded, sorted."""
        rows = self._database.run(lambda connection: connection.fetch(QUERIES["task_names"]))
        return sorted(plain(name) for (name,) in rows)


class PostgresLedger:
    """Table `ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, kind: str, domain: str, body: Mapping[str, Any], *, time: float) -> Entry:
        """Append; on disk when it returns."""
        text = encode(body).decode()

        async def write(connection: Connection) -> int:
            await connection.execute(QUERIES["one_at_a_time"])
            seq: int = await connection.fetchval(QUERIES["note"], time, spelled(kind), spelled(domain), text)
            return seq

        return Entry(self._database.transact(write), time, kind, domain, decode(text))

    def entries(self, kind: str, domain: str | None = None, *, after: int = 0) -> list[Entry]:
        """Oldest first, with seq > `after`; None: of every domain."""
        asked = QUERIES["entries"], spelled(kind), None if domain is None else spelled(domain), after
        rows = self._database.run(lambda connection: connection.fetch(*asked))
        return [Entry(seq, at, plain(name), plain(of), decode(body)) for seq, at, name, of, body in rows]

    def kinds(self) -> list[str]:
        """Kinds of which something was noted, sorted."""
        rows = self._database.run(lambda connection: connection.fetch(QUERIES["kinds"]))
        return sorted(plain(name) for (name,) in rows)


def _task(name: str, executed_at: datetime, status: str, users: int, records: int, *rest: Any) -> Task:
    seconds, metadata, error = rest
    at = executed_at.replace(tzinfo=UTC).timestamp()
    told = None if error is None else plain(error)
    return Task(plain(name), at, status, users, records, seconds, decode(metadata), told)
