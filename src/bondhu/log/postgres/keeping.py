"""What an operator does with a log in PostgreSQL: stream its facts, let old ones go, take a person out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

import numpy as np

from bondhu.errors import InvalidInput, StoreError
from bondhu.log.columns import check_window
from bondhu.log.postgres.database import LONG, Connection, Database, View
from bondhu.log.postgres.rows import decision_of, feedback_of
from bondhu.log.postgres.schema import QUERIES
from bondhu.log.postgres.spelling import plain, spelled
from bondhu.ports import Erased, Facts
from bondhu.types import Feedback

PIECE = 5_000  # decisions, or feedback that waits, in a piece of facts; also deleted at a time
IN_FLIGHT = 10_000  # rows that others may be about to commit with lower numbers than those that are there

Row = tuple[Any, ...]


def match_early(database: Database) -> None:
    """Write down which decision early feedback belongs to, where it has come since; whoever reads then need not look.
    Where the store is read-only, or busy, somebody else does so."""
    with suppress(StoreError):
        database.run(lambda connection: connection.execute(QUERIES["match_early_feedback"]), LONG)


def facts(database: Database, domain: str, start: float, end: float) -> Iterator[Facts]:
    """The pieces, all of one moment: what is committed while they are read is not in them. Feedback is in the order of
    its decisions, then of arrival."""
    check_window(start, end)
    with database.view() as view:
        after = -1
        while start < end and (rows := view.rows(QUERIES["facts"], after, spelled(domain), start, end, PIECE)):
            yield Facts([decision_of(row[1:]) for row in rows], _said_of(view, rows))
            after = rows[-1][0]
        after = -1
        while end == np.inf and (waiting := view.rows(QUERIES["waiting"], after, PIECE)):
            yield Facts([], [feedback_of(row[1:]) for row in waiting])
            after = waiting[-1][0]


def _said_of(view: View, decisions: Sequence[Row]) -> list[Feedback]:
    place = {row[1]: number for number, row in enumerate(decisions)}
    said = view.rows(QUERIES["said_of"], [row[0] for row in decisions], list(place))
    return [feedback_of(row[1:]) for row in sorted(said, key=lambda row: (place[row[2]], row[0]))]


def let_go(database: Database, domain: str, before: float) -> Erased:
    """As ports.Keeping. A few thousand rows a transaction, so that others can write in between; a session that goes on
    meanwhile stays."""
    check_window(before, before)
    name = spelled(domain)
    with database.view() as view:
        ((newest,),) = view.rows("SELECT coalesce(max(seq), 0) FROM decision")
        old = view.rows(QUERIES["old_sessions"], name, before)
    parts = [_let_go(database, name, newest, some) for some in _in_parts(old)]
    return Erased(tuple(id_ for part in parts for id_ in part[0]), tuple(id_ for part in parts for id_ in part[1]))


def _in_parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Whole sessions, as many as have PIECE decisions together."""
    some: list[Row] = []
    for _, session in groupby(rows, key=lambda row: row[2]):
        some.extend(session)
        if len(some) >= PIECE:
            yield some
            some = []
    if some:
        yield some


def _let_go(database: Database, domain: str, newest: int, rows: Sequence[Row]) -> Erased:
    async def delete(connection: Connection) -> Erased:
        await _stop_writers(connection)
        names, seqs = list({row[2] for row in rows}), [row[0] for row in rows]
        on = await connection.fetch(QUERIES["sessions_gone_on"], newest - IN_FLIGHT, domain, names, seqs)
        gone_on = {name for (name,) in on}
        return await _delete(connection, [(seq, id_) for seq, id_, name in rows if name not in gone_on])

    return database.transact(delete, LONG)


def forget(database: Database, decisions: Collection[str], feedback: Collection[str]) -> None:
    """As ports.Keeping; in one transaction."""
    made, said = list(map(spelled, decisions)), list(map(spelled, feedback))

    async def delete(connection: Connection) -> None:
        await _stop_writers(connection)
        await connection.execute(QUERIES["delete_feedback_by_id"], said)
        await connection.execute(QUERIES["let_feedback_wait"], made)
        await connection.execute(QUERIES["delete_transcripts"], made)
        await connection.execute(QUERIES["delete_decisions_by_id"], made)

    database.transact(delete, LONG)


def erase(database: Database, domain: str, user: str) -> Erased:
    """As ports.Keeping. The tables are then written anew, even where nobody was found: an erasure that was cut off is
    finished that way. Rows that are only deleted would stay in the gaps of their pages. What the server keeps of
    its journal, and backups, still hold them until they are recycled."""
    if not user:
        raise InvalidInput("Nobody is named.", field="user", value=user, fix="Name the person to be erased.")

    async def delete(connection: Connection) -> Erased:
        await _stop_writers(connection)
        rows = await connection.fetch(QUERIES["of_user"], spelled(domain), spelled(user))
        return await _delete(connection, list(map(tuple, rows)))

    gone = database.transact(delete, LONG)
    for table in ("decision", "feedback", "transcript"):
        _rewrite(database, f"VACUUM (FULL, ANALYZE) {table}")
    return gone


def _rewrite(database: Database, statement: str) -> None:
    database.run(lambda connection: connection.execute(statement), LONG)


async def _stop_writers(connection: Connection) -> None:
    """Until the transaction ends, so that nothing is said of a decision, or around it, while it is deleted; readers
    go on."""
    await connection.execute("LOCK TABLE decision, feedback, transcript IN SHARE ROW EXCLUSIVE MODE")


async def _delete(connection: Connection, rows: Sequence[tuple[int, str]]) -> Erased:
    """By seq and id of decisions."""
    seqs, ids = [seq for seq, _ in rows], [id_ for _, id_ in rows]
    said = await connection.fetch(QUERIES["delete_feedback"], seqs, ids)
    await connection.execute(QUERIES["delete_transcripts"], ids)
    await connection.execute(QUERIES["delete_decisions"], seqs)
    return Erased(tuple(map(plain, ids)), tuple(plain(id_) for (id_,) in said))
