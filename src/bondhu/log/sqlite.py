"""The embedded log and task record: one SQLite file, every append on disk before it returns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw
import numpy as np

from bondhu.log.checks import check_feedback, checked_contexts, decode, duplicate, encode
from bondhu.log.collection import paused_collection
from bondhu.log.columns import LogSummary, check_window, memo_bytes
from bondhu.log.database import QUERIES, Database
from bondhu.log.readback import read_decisions, read_feedback
from bondhu.ports import Task
from bondhu.types import Decision, Feedback, Records

MOST_SETS = 10_000  # sets of allowed actions remembered between appends

TOGETHER = 10  # decisions to a statement

Row = tuple[Any, ...]

_ONE = f"({', '.join('?' * 13)})"
ADD_DECISIONS = QUERIES["add_decision"].replace(_ONE, ", ".join([_ONE] * TOGETHER))


class SqliteLog:
    """Append-only facts in a file. Any thread of any process may use it; close it, or use it in a `with`."""

    def __init__(self, path: str | Path, timeout: float = 5.0) -> None:
        """`timeout`: seconds to wait for another process that is writing."""
        self._database = Database(path, timeout)
        self._sets: dict[tuple[str, ...], int] = {}

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> SqliteLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def append(self, decisions: Sequence[Decision], feedback: Sequence[Feedback] = ()) -> None:
        """Commit all of it or nothing."""
        contexts = checked_contexts(decisions)
        said = [_feedback_row(each) for each in feedback]
        with self._database.writing() as connection:
            sets = self._numbers(connection, {id(each.allowed): each.allowed for each in decisions}.values())
            made = _decision_rows(decisions, contexts, sets)
            if _add(connection, "add_decision", made) < len(made):
                _confirm(connection, "decision_row", zip(decisions, made, strict=True))
            if made and connection.execute(QUERIES["is_feedback_early"]).get:
                connection.execute(QUERIES["match_early_feedback"], (encode([row[0] for row in made]).decode(),))
            if _add(connection, "add_feedback", said) < len(said):
                _confirm(connection, "feedback_row", zip(feedback, said, strict=True))
        self._sets = sets

    def _numbers(self, connection: apsw.Connection, used: Collection[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
        """Row of each set of allowed actions. A new dictionary if any is new: what is rolled back is not remembered."""
        unknown = set(used) - self._sets.keys()
        if not unknown:
            return self._sets
        sets = dict(self._sets) if len(self._sets) < MOST_SETS else {}
        for actions in unknown if sets else used:
            text = encode(actions).decode()
            connection.execute(QUERIES["add_action_set"], (text,))
            sets[actions] = connection.execute(QUERIES["action_set_number"], (text,)).get
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
        _, *known, context, allowed, action, probability, memo, version, variant, assigned = row
        numbers = tuple(np.frombuffer(memo or b"", "<f8").tolist())
        known += (decode(context), tuple(decode(allowed)), action, probability, numbers, version, variant, assigned)
        return Decision._make(known), list(map(Feedback._make, said))

    def domains(self) -> list[str]:
        """Names of the domains that decisions have been logged for."""
        with self._database.reading() as connection:
            return [name for (name,) in connection.execute(QUERIES["domains"])]

    def summary(self, domain: str) -> LogSummary:
        """How much is there. Looks up the domain of all feedback: half a second for a million rows."""
        with self._database.reading() as connection:
            decisions, first, last = connection.execute(QUERIES["summary_of_decisions"], (domain,)).get
            feedback = connection.execute(QUERIES["summary_of_feedback"], (domain,)).get
            unmatched = connection.execute(QUERIES["unmatched"]).get
            size = connection.execute(QUERIES["size"]).get
        return LogSummary(decisions, feedback, first, last, unmatched, size)


def _decision_rows(rows: Sequence[Decision], contexts: list[str], sets: dict[tuple[str, ...], int]) -> list[Row]:
    if not rows:
        return []
    id_, domain, session, user, time, _, allowed, action, probability, memo, *rest = zip(*rows, strict=True)
    version, variant, assigned = rest
    times, probabilities, shares = map(float, time), map(float, probability), map(float, assigned)
    numbers, memos = _once(sets.__getitem__, allowed), _once(memo_bytes, memo)
    columns = (
        *(id_, domain, session, user, times, contexts, numbers),
        *(action, probabilities, memos, version, variant, shares),
    )
    return list(zip(*columns, strict=True))


def _once(function: Callable[[Any], Any], column: Sequence[Any]) -> Iterator[Any]:
    """`function` of each entry, called once for an object that comes again and again."""
    results = {key: function(each) for key, each in {id(each): each for each in column}.items()}
    return map(results.__getitem__, map(id, column))


def _feedback_row(row: Feedback) -> Row:
    check_feedback(row)
    id_, decision_id, signal, value, time, replaces = row
    return id_, decision_id, signal, None if value is None else float(value), float(time), replaces


def _add(connection: apsw.Connection, query: str, rows: Sequence[Row]) -> int:
    """How many of the rows were new. Most go in several to a statement: a quarter less work for each."""
    before = connection.total_changes()
    whole = len(rows) - len(rows) % TOGETHER if query == "add_decision" else 0
    if whole:
        flat = [tuple(chain.from_iterable(rows[at : at + TOGETHER])) for at in range(0, whole, TOGETHER)]
        connection.executemany(ADD_DECISIONS, flat)
    connection.executemany(QUERIES[query], rows[whole:])
    return connection.total_changes() - before


def _confirm(connection: apsw.Connection, query: str, pairs: Iterable[tuple[Decision | Feedback, Row]]) -> None:
    """Raises DuplicateId unless every row is stored as it was given: some of them were there before."""
    for given, row in pairs:
        stored = connection.execute(QUERIES[query], (row[0],)).get
        if stored != row and _comparable(stored) != _comparable(row):
            raise duplicate(given)


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
