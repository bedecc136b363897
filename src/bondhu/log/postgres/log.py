"""The log in a PostgreSQL database: every append is on disk before it returns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bondhu.log.collection import paused_collection
from bondhu.log.columns import check_window
from bondhu.log.postgres import keeping
from bondhu.log.postgres.backup import backup
from bondhu.log.postgres.database import LONG, Database
from bondhu.log.postgres.reading import read_decisions, read_feedback
from bondhu.log.postgres.rows import decision_of, feedback_of
from bondhu.log.postgres.schema import QUERIES
from bondhu.log.postgres.spelling import plain, spelled
from bondhu.log.postgres.writing import Group
from bondhu.log.prepared import Prepared, prepared
from bondhu.ports import Erased, Facts, LogSummary
from bondhu.types import Decision, Feedback, Records


class PostgresLog:
    """Append-only facts. Any thread of any process may use it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def append(self, decisions: Sequence[Decision], feedback: Sequence[Feedback] = ()) -> None:
        """Commit all of it or nothing."""
        self.insert(prepared(decisions, feedback))

    def insert(self, rows: Prepared) -> None:
        """Commit all of it or nothing: what was checked before, perhaps by another process. Raises DuplicateId."""
        group = Group(rows)
        self.database.run(group.write, LONG)

    def read(self, domain: str, start: float, end: float) -> Records:
        """Decisions with start <= time < end and all their feedback so far."""
        check_window(start, end)
        with paused_collection(), self.database.view() as view:
            seq, made = read_decisions(view, (spelled(domain), start, end))
            said, early = read_feedback(view, seq)
        if early:
            keeping.match_early(self.database)
        return Records(**made, **said)

    def find(self, decision_id: str) -> tuple[Decision, list[Feedback]] | None:
        """One decision and what was said of it (revised and revoked rows included), or None."""
        id_ = spelled(decision_id)
        row = self.database.run(lambda connection: connection.fetchrow(QUERIES["decision"], id_))
        if row is None:
            return None
        asked = QUERIES["feedback_of_decision"], row[0], id_
        said = self.database.run(lambda connection: connection.fetch(*asked))
        return decision_of(tuple(row)[1:]), list(map(feedback_of, said))

    def said(self, feedback_id: str) -> Feedback | None:
        """One feedback as it arrived, whether its decision is there or not, or None."""
        asked = QUERIES["feedback_rows"], [spelled(feedback_id)]
        row = self.database.run(lambda connection: connection.fetchrow(*asked))
        return None if row is None else feedback_of(row)

    def domains(self) -> list[str]:
        """Names of the domains that decisions have been logged for."""
        rows = self.database.run(lambda connection: connection.fetch(QUERIES["domains"]))
        return sorted(plain(name) for (name,) in rows)

    def summary(self, domain: str) -> LogSummary:
        """How much is there. Looks up the domain of all feedback: about a second for a million rows."""
        asked = QUERIES["summary"], spelled(domain)
        decisions, feedback, first, last, unmatched, size = self.database.run(
            lambda connection: connection.fetchrow(*asked), LONG
        )
        return LogSummary(decisions, feedback, first, last, unmatched, size)

    # ------------------------------------------------------------------------------------------------------- keeping

    def facts(self, domain: str, start: float, end: float) -> Iterator[Facts]:
        """As ports.Keeping, all of one moment."""
        return keeping.facts(self.database, domain, start, end)

    def let_go(self, domain: str, before: float) -> Erased:
        """As ports.Keeping, a few thousand rows at a time."""
        return keeping.let_go(self.database, domain, before)

    def reach(self, domain: str, before: float, count: int) -> tuple[float, int] | None:
        """As ports.Keeping."""
        check_window(before, before)
        asked = QUERIES["reach"], spelled(domain), before, count
        time, rows = self.database.run(lambda connection: connection.fetchrow(*asked))
        return (time, rows) if rows else None

    def forget(self, decisions: Collection[str], feedback: Collection[str]) -> None:
        """As ports.Keeping."""
        keeping.forget(self.database, decisions, feedback)

    def erase(self, domain: str, user: str) -> Erased:
        """As ports.Keeping. Writes the tables anew: others who read or write wait for some seconds a gigabyte."""
        return keeping.erase(self.database, domain, user)

    def backup(self, path: Path) -> None:
        """As ports.Keeping: what `pg_dump -Fc` writes, or where that is missing, an archive of our own."""
        backup(self.database, path)
