"""The embedded log and task record: one SQLite file, every append on disk before it returns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from itertools import chain
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw

from bondhu.log import keeping
from bondhu.log.backup import Told, backup, nobody
from bondhu.log.checks import decode, duplicate, encode
from bondhu.log.collection import paused_collection
from bondhu.log.columns import check_window
from bondhu.log.database import QUERIES, Database
from bondhu.log.prepared import ALLOWED, Prepared, prepared
from bondhu.log.readback import read_decisions, read_feedback
from bondhu.ports import Entry, Erased, Facts, LogSummary, Task
from bondhu.types import Decision, Feedback, Records

MOST_SETS = 10_000  # sets of allowed actions remembered between appends

TOGETHER = 10  # decisions to a statement
SUMMED = 100_000  # decisions that one statement counts, or whose feedback

Row = tuple[Any, ...]

_ONE = f"({', '.join('?' * 13)})"
ADD_DECISIONS = QUERIES["add_decision"].replace(_ONE, ", ".join([_ONE] * TOGETHER))


class SqliteLog:
    """Append-only facts in a file. Any thread of any process may use it; close it, or use it in a `with`."""

    def __init__(self, path: str | Path, timeout: float = 5.0) -> None:
        """`timeout`: seconds to wait for another process that is writing."""
        self._database = Database(path, timeout)
        self._sets: dict[str, int] = {}  # row of each set of allowed actions, by its JSON

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> SqliteLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def database(self) -> Database:
        """The file, for what a server does with it beside the log."""
        return self._database

    def append(self, decisions: Sequence[Decision], feedback: Sequence[Feedback] = ()) -> None:
        """Commit all of it or nothing."""
        self.insert(prepared(decisions, feedback))

    def insert(self, rows: Prepared) -> None:
        """Commit all of it or nothing: what was checked before, perhaps by another process. Raises DuplicateId."""
        with self._database.writing() as connection:
            sets = self._numbers(connection, {row[ALLOWED] for row in rows.decisions})
            made = [(*row[:ALLOWED], sets[row[ALLOWED]], *row[ALLOWED + 1 :]) for row in rows.decisions]
            if _add(connection, "add_decision", made) < len(made):
                _confirm(connection, "decision_row", made)
            if made and connection.execute(QUERIES["is_feedback_early"]).get:
                connection.execute(QUERIES["match_early_feedback"], (encode([row[0] for row in made]).decode(),))
            if _add(connection, "add_feedback", rows.feedback) < len(rows.feedback):
                _confirm(connection, "feedback_row", rows.feedback)
        self._sets = sets

    def _numbers(self, connection: apsw.Connection, used: Set[str]) -> dict[str, int]:
        """Row of each set of allowed actions. A new dictionary if any is new: what is rolled back is not remembered."""
        unknown = used - self._sets.keys()
        if not unknown:
            return self._sets
        sets = dict(self._sets) if len(self._sets) < MOST_SETS else {}
        for text in unknown if sets else used:
            connection.execute(QUERIES["add_action_set"], (text,))
            sets[text] = connection.execute(QUERIES["action_set_number"], (text,)).get
        return sets

    def read(self, domain: str, start: float, end: float) -> Records:
        """Decisions with start <= time < end and all their feedback so far."""
        check_window(start, end)
        with paused_collection(), self._database.reading() as connection:
            first, last = connection.execute(QUERIES["span"], (domain, start, end)).get
            window = (first or 0, last or -1, domain, start, end)
            seq, made = read_decisions(connection, window)
            return Records(**made, **read_feedback(connection, seq))

    def find(self, decision_id: str) -> tuple[Decision, list[Feedback]] | None:
        """One decision and what was said of it (revised and revoked rows included), or None."""
        with self._database.reading() as connection:
            row: Row | None = connection.execute(QUERIES["decision"], (decision_id,)).fetchone()
            if row is None:
                return None
            said: list[Row] = connection.execute(QUERIES["feedback_of_decision"], (row[0],)).fetchall()
        return keeping.decision_of(row[1:]), list(map(Feedback._make, said))

    def said(self, feedback_id: str) -> Feedback | None:
        """One feedback as it arrived, whether its decision is there or not, or None."""
        with self._database.reading() as connection:
            row: Row | None = connection.execute(QUERIES["feedback_row"], (feedback_id,)).fetchone()
        return None if row is None else Feedback._make(row)

    def domains(self) -> list[str]:
        """Names of the domains that decisions have been logged for."""
        with self._database.reading() as connection:
            return [name for (name,) in connection.execute(QUERIES["domains"])]

    def summary(self, domain: str) -> LogSummary:
        """How much is there. Looks up the domain of all feedback, some at a time: half a second for a million rows."""
        with self._database.reading() as connection:
            first, last = connection.execute(QUERIES["bounds_of_decisions"], (domain,)).get
            decisions = _count(connection, domain)
            starts = range(1, connection.execute(QUERIES["last"]).get + 1, SUMMED)
            query = QUERIES["summary_of_feedback"]
            feedback = sum(connection.execute(query, (at, at + SUMMED - 1, domain)).get for at in starts)
            unmatched = connection.execute(QUERIES["unmatched"]).get
            size = connection.execute(QUERIES["size"]).get
        return LogSummary(decisions, feedback, first, last, unmatched, size)

    # ------------------------------------------------------------------------------------------------------- keeping

    def facts(self, domain: str, start: float, end: float) -> Iterator[Facts]:
        """As ports.Keeping, all of one moment."""
        return keeping.facts(self._database, domain, start, end)

    def let_go(self, domain: str, before: float) -> Erased:
        """As ports.Keeping; pages are given back to the disk."""
        return keeping.let_go(self._database, domain, before)

    def reach(self, domain: str, before: float, count: int) -> tuple[float, int] | None:
        """As ports.Keeping."""
        check_window(before, before)
        with self._database.reading() as connection:
            time, rows = connection.execute(QUERIES["reach"], (domain, before, count)).get
        return (time, rows) if rows else None

    def forget(self, decisions: Collection[str], feedback: Collection[str]) -> None:
        """As ports.Keeping; pages are given back to the disk."""
        keeping.forget(self._database, decisions, feedback)

    def erase(self, domain: str, user: str) -> Erased:
        """As ports.Keeping. Writes the whole file anew: others who write wait for some seconds a gigabyte."""
        return keeping.erase(self._database, domain, user)

    def backup(self, path: Path, told: Told = nobody) -> None:
        """As ports.Keeping; an SQLite file that `restore` takes. Raises InvalidInput where it is there already."""
        backup(self._database, path, told)


def _add(connection: apsw.Connection, query: str, rows: Sequence[Row]) -> int:
    """How many of the rows were new. Most go in several to a statement: a quarter less work for each."""
    before = connection.total_changes()
    whole = len(rows) - len(rows) % TOGETHER if query == "add_decision" else 0
    if whole:
        flat = [tuple(chain.from_iterable(rows[at : at + TOGETHER])) for at in range(0, whole, TOGETHER)]
        connection.executemany(ADD_DECISIONS, flat)
    connection.executemany(QUERIES[query], rows[whole:])
    return connection.total_changes() - before


def _count(connection: apsw.Connection, domain: str) -> int:
    """How many decisions there are, some at a time."""
    decisions, at = 0, (-inf, -1)
    while far := connection.execute(QUERIES["far_decision"], (domain, *at, SUMMED)).fetchone():
        decisions, at = decisions + SUMMED, far
    rest: int = connection.execute(QUERIES["decisions_after"], (domain, *at)).get
    return decisions + rest


def _confirm(connection: apsw.Connection, query: str, rows: Iterable[Row]) -> None:
    """Raises DuplicateId unless every row is stored as it was given: some of them were there before."""
    for row in map(tuple, rows):
        stored = connection.execute(QUERIES[query], (row[0],)).get
        if stored != row and _comparable(stored) != _comparable(row):
            raise duplicate(Decision._make(row) if query == "decision_row" else Feedback._make(row))


def _comparable(row: Row) -> Row:
    """With a decision's context as an object: the order of its fields says nothing."""
    return (*row[:5], decode(row[5]), *row[6:]) if len(row) > len(Feedback._fields) else row


class SqliteTasks:
    """The record of what the jobs did, in table `system_tasks` of the log's file."""

    def __init__(self, path: str | Path, timeout: float = 5.0) -> None:
        self._database = Database(path, timeout)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> SqliteTasks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def record(self, task: Task) -> None:
        with self._database.writing() as connection:
            connection.execute(QUERIES["add_task"], _task_row(task))

    def recent(self, task_name: str, limit: int) -> list[Task]:
        """Newest first."""
        with self._database.reading() as connection:
            rows: list[Row] = connection.execute(QUERIES["recent_tasks"], (task_name, limit)).fetchall()
        return [_task(*row) for row in rows]

    def names(self) -> list[str]:
        """Names of the tasks that were recorded, sorted."""
        with self._database.reading() as connection:
            return [name for (name,) in connection.execute(QUERIES["task_names"])]


class SqliteLedger:
    """What is noted beside the facts, in table `ledger` of the log's file."""

    def __init__(self, path: str | Path, timeout: float = 5.0) -> None:
        self._database = Database(path, timeout)

    def close(self) -> None:
        self._database.close()

    def note(self, kind: str, domain: str, body: Mapping[str, Any], *, time: float) -> Entry:
        """Append; on disk when it returns."""
        text = encode(body).decode()
        with self._database.writing() as connection:
            seq: int = connection.execute(QUERIES["note"], (time, kind, domain, text)).get
        return Entry(seq, time, kind, domain, decode(text))

    def entries(self, kind: str, domain: str | None = None, *, after: int = 0) -> list[Entry]:
        """Oldest first, with seq > `after`; None: of every domain."""
        with self._database.reading() as connection:
            rows: list[Row] = connection.execute(QUERIES["entries"], (kind, domain, after)).fetchall()
        return [Entry._make((*row, decode(body))) for *row, body in rows]

    def kinds(self) -> list[str]:
        """Kinds of which something was noted, sorted."""
        with self._database.reading() as connection:
            return [kind for (kind,) in connection.execute(QUERIES["kinds"])]


def _task_row(task: Task) -> Row:
    return (
        task.task_name,
        datetime.fromtimestamp(task.executed_at, UTC).isoformat(timespec="microseconds"),
        *(task.status, task.users_processed, task.records_processed, task.duration_seconds),
        encode(task.metadata).decode(),
        task.error,
    )


def _task(name: str, executed_at: str, status: str, users: int, records: int, *rest: Any) -> Task:
    seconds, metadata, error = rest
    at = datetime.fromisoformat(executed_at).timestamp()
    return Task(name, at, status, users, records, seconds, decode(metadata), error)
