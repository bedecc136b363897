"""What was said around decisions, in the log's SQLite file: short transactions beside whoever writes facts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bondhu.log.checks import decode, encode
from bondhu.log.database import QUERIES, Database
from bondhu.log.keeping import decision_of
from bondhu.log.prepared import prepared
from bondhu.log.transcript_checks import checked_transcript
from bondhu.ports import Transcript
from bondhu.types import Decision, Feedback

Row = tuple[Any, ...]


class SqliteTranscripts:
    """Table `transcript` of the log's file. Any thread of any process may use it; close it, or use it in a `with`."""

    def __init__(self, path: str | Path | Database, timeout: float = 5.0) -> None:
        """`path`: or the database of a log, it takes turns with that and leaves it open; `timeout`: seconds to
        wait for another process that is writing."""
        self._shared = isinstance(path, Database)
        self._database = path if isinstance(path, Database) else Database(path, timeout)

    def close(self) -> None:
        if not self._shared:
            self._database.close()

    def __enter__(self) -> SqliteTranscripts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def keep(self, transcripts: Sequence[Transcript], feedback: Sequence[Feedback] = ()) -> None:
        """As ports.Transcripts: all of them on disk when it returns, or none."""
        rows = [checked_transcript(each) for each in transcripts]
        said = prepared([], feedback).feedback
        if rows or said:
            with self._database.writing() as connection:
                connection.executemany(QUERIES["add_transcript"], rows)
                connection.executemany(QUERIES["add_feedback_beside"], said)

    def transcripts(self, decision_ids: Collection[str]) -> list[Transcript]:
        """As ports.Transcripts."""
        asked = encode(list(decision_ids)).decode()
        with self._database.reading() as connection:
            rows: list[Row] = connection.execute(QUERIES["transcripts"], (asked,)).fetchall()
        return [Transcript(id_, time, decode(body)) for id_, time, body in rows]

    def latest(self, domain: str, session: str, user: str | None) -> tuple[Decision, Transcript | None] | None:
        """As ports.Transcripts; along an index."""
        with self._database.reading() as connection:
            asked = domain, session, user
            row: Row | None = connection.execute(QUERIES["latest_of_session"], asked).fetchone()
            if row is None:
                return None
            id_, time, body = row
            decision: Row = connection.execute(QUERIES["decision"], (id_,)).fetchall()[0]
        return decision_of(decision[1:]), Transcript(id_, time, decode(body))
