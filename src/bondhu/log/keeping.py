"""What an operator does with a log in an SQLite file: stream its facts, let old ones go, take a person out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby, islice
from struct import unpack
from typing import Any

import apsw
import numpy as np

from bondhu.errors import InvalidInput
from bondhu.log.checks import decode, encode
from bondhu.log.columns import check_window
from bondhu.log.database import QUERIES, Database
from bondhu.log.prepared import ALLOWED
from bondhu.ports import Erased, Facts
from bondhu.types import Decision, Feedback

PIECE = 10_000  # decisions, or feedback that waits, in a piece of facts; also deleted at a time

Row = tuple[Any, ...]


def decision_of(row: Row, allowed: tuple[str, ...] | None = None) -> Decision:
    """A decision as it was given, from a row of the queries `decision` and `piece` without its `seq`; where the
    `allowed` actions were read before, they need not be read again."""
    *known, context, names, action, probability, memo, version, variant, assigned = row
    numbers = unpack(f"<{len(memo) // 8}d", memo) if memo else ()
    known += (
        decode(context),
        allowed or tuple(decode(names)),
        action,
        probability,
        numbers,
        version,
        variant,
        assigned,
    )
    return Decision._make(known)


def facts(database: Database, domain: str, start: float, end: float) -> Iterator[Facts]:
    """The pieces, all of one moment: what is committed while they are read is not in them. Feedback is in the order of
    its decisions, then of arrival."""
    check_window(start, end)
    with database.reading() as connection:
        first, last = connection.execute(QUERIES["span"], (domain, start, end)).get
        while first is not None:
            asked = (first, last, domain, start, end, PIECE)
            rows: list[Row] = connection.execute(QUERIES["piece"], asked).fetchall()
            if not rows:
                break
            sets = {text: tuple(decode(text)) for text in {row[ALLOWED + 1] for row in rows}}
            made = [decision_of(row[1:], sets[row[ALLOWED + 1]]) for row in rows]
            yield Facts(made, _feedback_of(connection, [row[0] for row in rows]))
            first = rows[-1][0] + 1
        if end == np.inf:
            waiting = map(Feedback._make, connection.execute(QUERIES["waiting"]))
            while some := list(islice(waiting, PIECE)):
                yield Facts([], some)


def _feedback_of(connection: apsw.Connection, seqs: Sequence[int]) -> list[Feedback]:
    wanted = set(seqs)
    rows = connection.execute(QUERIES["feedback_of_piece"], (seqs[0], seqs[-1]))
    return [Feedback._make(row) for decision, *row in rows if decision in wanted]


def let_go(database: Database, domain: str, before: float) -> Erased:
    """As ports.Keeping. A few thousand rows a transaction, so that others can write in between; a session that goes on
    meanwhile stays. Pages are given back a few at a time: rewriting the file would stop a server for seconds."""
    check_window(before, before)
    gone = Erased((), ())
    with database.reading() as connection:
        last = connection.execute(QUERIES["last"]).get
        sessions = connection.execute(QUERIES["old_sessions"], (domain, before))
        parts = []
        for some in _in_parts(sessions):
            names = _listed(some)
            with database.writing() as writer:
                went_on = {name for (name,) in writer.execute(QUERIES["went_on"], (last, domain, names))}
                seqs = [seq for name, rows in some.items() if name not in went_on for seq in rows]
                parts.append(_delete(writer, seqs))
    if parts:
        made, said = zip(*parts, strict=True)
        gone = Erased(tuple(id_ for part in made for id_ in part), tuple(id_ for part in said for id_ in part))
    database.give_back()
    return gone


def _in_parts(rows: Iterable[Row]) -> Iterator[dict[str, list[int]]]:
    """Whole sessions, as many as have PIECE decisions together."""
    some: dict[str, list[int]] = {}
    held = 0
    for name, group in groupby(rows, key=lambda row: row[0]):
        some[str(name)] = [seq for _, seq in group]
        held += len(some[str(name)])
        if held >= PIECE:
            yield some
            some, held = {}, 0
    if some:
        yield some


def forget(database: Database, decisions: Collection[str], feedback: Collection[str]) -> None:
    """As ports.Keeping; in one transaction."""
    made, said = _listed(decisions), _listed(feedback)
    with database.writing() as connection:
        connection.execute(QUERIES["delete_feedback_by_id"], (said,))
        connection.execute(QUERIES["let_feedback_wait"], (made,))
        connection.execute(QUERIES["delete_transcripts_by_id"], (made,))
        connection.execute(QUERIES["delete_decisions_by_id"], (made,))
    database.give_back()


def erase(database: Database, domain: str, user: str) -> Erased:
    """As ports.Keeping. What is deleted is overwritten with zeros, and then the whole file is written anew, even where
    nobody was found: an erasure that was cut off is finished that way. Zeros alone, or pages given back, would leave
    copies in the gaps of pages whose rows were moved when a page was full."""
    if not user:
        raise InvalidInput("Nobody is named.", field="user", value=user, fix="Name the person to be erased.")
    with database.maintaining() as connection:
        connection.execute("PRAGMA secure_delete = ON")
    try:
        with database.writing() as connection:
            seqs = [seq for (seq,) in connection.execute(QUERIES["decisions_of_user"], (domain, user))]
            gone = _delete(connection, seqs)
            waiting = _ids(connection, "delete_waiting_for", gone.decisions)
        database.rewrite()
    finally:
        with database.maintaining() as connection:
            connection.execute("PRAGMA secure_delete = OFF")
    return Erased(gone.decisions, (*gone.feedback, *waiting))


def _delete(connection: apsw.Connection, seqs: Sequence[int]) -> Erased:
    said = _ids(connection, "delete_feedback_of", seqs)
    connection.execute(QUERIES["delete_transcripts_of"], (_listed(seqs),))
    return Erased(_ids(connection, "delete_decisions", seqs), said)


def _ids(connection: apsw.Connection, query: str, rows: Iterable[Any]) -> tuple[str, ...]:
    """Of what the query deleted."""
    return tuple(str(id_) for (id_,) in connection.execute(QUERIES[query], (_listed(rows),)).fetchall())


def _listed(values: Iterable[Any]) -> str:
    return encode(list(values)).decode()
