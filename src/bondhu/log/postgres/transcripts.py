"""What was said around decisions, in table `transcript` of the log's database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bondhu.log.checks import decode
from bondhu.log.postgres.database import LONG, Connection, Database
from bondhu.log.postgres.rows import decision_of
from bondhu.log.postgres.schema import QUERIES
from bondhu.log.postgres.spelling import plain, spelled
from bondhu.log.postgres.writing import Group
from bondhu.log.prepared import Prepared, prepared
from bondhu.log.transcript_checks import checked_transcript
from bondhu.ports import Transcript
from bondhu.types import Decision, Feedback


class PostgresTranscripts:
    """Any thread of any process may use it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, transcripts: Sequence[Transcript], feedback: Sequence[Feedback] = ()) -> None:
        """As ports.Transcripts: all of them on disk when it returns, or none."""
        rows = [checked_transcript(each) for each in transcripts]
        said = prepared([], feedback).feedback
        if not rows and not said:
            return
        about = [spelled(each[1]) for each in said]
        ids, times, bodies = map(list, zip(*rows, strict=True)) if rows else ([], [], [])

        async def write(connection: Connection) -> None:
            await connection.execute(QUERIES["only_beside_decisions"])
            await connection.execute(QUERIES["add_transcripts"], list(map(spelled, ids)), times, bodies)
            found = await connection.fetch(QUERIES["decisions_there"], about) if said else ()
            there = {id_ for (id_,) in found}
            beside = Prepared([], [row for row, id_ in zip(said, about, strict=True) if id_ in there])
            await Group(beside).write_beside(connection)

        self._database.transact(write, LONG)

    def transcripts(self, decision_ids: Collection[str]) -> list[Transcript]:
        """As ports.Transcripts."""
        asked = QUERIES["transcripts"], list(map(spelled, decision_ids))
        return [_transcript(row) for row in self._database.run(lambda connection: connection.fetch(*asked), LONG)]

    def latest(self, domain: str, session: str, user: str | None) -> tuple[Decision, Transcript | None] | None:
        """As ports.Transcripts; along an index."""
        who = None if user is None else spelled(user)
        asked = QUERIES["latest_of_session"], spelled(domain), spelled(session), who
        row = self._database.run(lambda connection: connection.fetchrow(*asked))
        if row is None:
            return None
        found = QUERIES["decision"], row[0]
        decision = self._database.run(lambda connection: connection.fetchrow(*found))
        return None if decision is None else (decision_of(tuple(decision)[1:]), _transcript(row))


def _transcript(row: Iterable[Any]) -> Transcript:
    id_, time, body = row
    return Transcript(plain(id_), time, decode(body))
