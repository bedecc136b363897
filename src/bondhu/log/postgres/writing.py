"""Adds decisions and feedback to the tables, all of it or nothing; used by the log and by the service's writer."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from bondhu.log.checks import decode, duplicate
from bondhu.log.postgres.database import Connection
from bondhu.log.postgres.schema import QUERIES
from bondhu.log.postgres.spelling import plain, spelled_column
from bondhu.log.prepared import ALLOWED, Prepared
from bondhu.types import Decision, Feedback

COPIED = 100  # decisions from which on they are sent as a stream of rows, which takes a transaction of its own
MOST_SETS = 10_000  # sets of allowed actions remembered for a connection
DECISION, SAID = Decision._fields, Feedback._fields
NAMES = {"id", "domain", "session", "user", "action", "version", "variant", "decision_id", "signal", "replaces"}

# As `add_group`, of which they are the parts.
ALL_NEW = "SELECT all_new(count(*) = cardinality($1))"
ONLY_DECISIONS, ONLY_FEEDBACK = (
    QUERIES[name].replace("SELECT count(*)", ALL_NEW) for name in ("add_decisions", "add_feedback")
)

Row = tuple[Any, ...]
Columns = Sequence[Sequence[Any]]

# What the database said to this connection: while it lives, nobody restores a backup.
_sets: WeakKeyDictionary[Connection, dict[str, int]] = WeakKeyDictionary()


class Group:
    """Rows to be committed together, as columns."""

    def __init__(self, rows: Prepared) -> None:
        self.decisions, self.feedback = len(rows.decisions), len(rows.feedback)
        self._made = list(zip(*rows.decisions, strict=True)) or [()] * len(DECISION)
        said = list(zip(*rows.feedback, strict=True)) or [()] * len(Feedback._fields)
        self._said = _spelled(SAID, said)

    async def write(self, connection: Connection) -> None:
        """Commit. Raises DuplicateId, or what asyncpg raises."""
        made = await self._columns(connection)
        try:
            if self.decisions >= COPIED:
                await self._copy(connection, made)
            elif self._of_itself():
                await self._one_after_the_other(connection, made)
            elif self.decisions and self.feedback:
                await connection.execute(QUERIES["add_group"], *made, *self._said)
            elif self.decisions:
                await connection.execute(ONLY_DECISIONS, *made)
            elif self.feedback:
                await connection.execute(ONLY_FEEDBACK, *self._said)
        except asyncpg.UniqueViolationError:
            await self._one_after_the_other(connection, made)

    async def write_beside(self, connection: Connection) -> None:
        """The feedback alone, within a transaction that is under way; what is there already under its id stays as it
        is."""
        if self.feedback:
            await connection.execute(QUERIES["add_feedback"], *self._said)

    async def _columns(self, connection: Connection) -> Columns:
        """Those of the decisions, with the numbers of the sets of allowed actions."""
        sets = await _numbers(connection, set(self._made[ALLOWED]))
        made = _spelled(DECISION, self._made)
        made[ALLOWED] = list(map(sets.__getitem__, self._made[ALLOWED]))
        return made

    def _of_itself(self) -> bool:
        """Whether some of the feedback is about the decisions beside it: it can be matched once they are there."""
        return not set(self._made[0]).isdisjoint(self._said[1])

    async def _copy(self, connection: Connection, made: Columns) -> None:
        async with connection.transaction():
            numbers = await connection.fetchval(QUERIES["next_numbers"], self.decisions)
            rows = sorted(zip(numbers, *made, strict=True), key=itemgetter(1))  # by id, as `add_group`
            await connection.copy_records_to_table("decision", records=rows, columns=("seq", *DECISION))
            await self._add_feedback(connection)

    async def _one_after_the_other(self, connection: Connection, made: Columns) -> None:
        async with connection.transaction():
            if self.decisions and await connection.fetchval(QUERIES["add_decisions"], *made) < self.decisions:
                await _confirm(connection, "decision_rows", made)
            await self._add_feedback(connection)

    async def _add_feedback(self, connection: Connection) -> None:
        if self.feedback and await connection.fetchval(QUERIES["add_feedback"], *self._said) < self.feedback:
            await _confirm(connection, "feedback_rows", self._said)


def _spelled(names: Sequence[str], columns: Columns) -> list[Sequence[Any]]:
    named = zip(names, columns, strict=True)
    return [spelled_column(column) if name in NAMES else column for name, column in named]


async def _numbers(connection: Connection, used: set[str]) -> dict[str, int]:
    """Row of each set of allowed actions. New ones are committed at once: alone they say nothing."""
    known = _sets.setdefault(connection, {})
    unknown = used - known.keys()
    if unknown:
        if len(known) > MOST_SETS:
            known.clear()
            unknown = used
        await connection.execute(QUERIES["add_action_sets"], sorted(unknown))  # sorted: nobody waits in a circle
        known.update(await connection.fetch(QUERIES["action_set_numbers"], list(unknown)))
    return known


async def _confirm(connection: Connection, query: str, columns: Columns) -> None:
    """Raises DuplicateId unless every row is stored as it was given: some of them were there before."""
    stored = {row[0]: tuple(row) for row in await connection.fetch(QUERIES[query], list(columns[0]))}
    for row in zip(*columns, strict=True):
        if stored[row[0]] != row and _comparable(stored[row[0]]) != _comparable(row):
            given = Decision._make(row) if query == "decision_rows" else Feedback._make(row)
            raise duplicate(given._replace(id=plain(row[0])))


def _comparable(row: Row) -> Row:
    """With a decision's context as an object: the order of its fields says nothing."""
    return (*row[:5], decode(row[5]), *row[6:]) if len(row) > len(Feedback._fields) else row
