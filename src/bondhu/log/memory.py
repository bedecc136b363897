"""A log and a task record that live in memory: the twins of the SQLite ones, for tests and simulations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.log.checks import check_feedback, checked_context, decode, duplicate, encode
from bondhu.log.columns import check_window, memo_matrix
from bondhu.log.revisions import Said, superseded
from bondhu.log.transcript_checks import checked_transcript
from bondhu.ports import Entry, Erased, Facts, LogSummary, Task, Transcript
from bondhu.types import Decision, Feedback, Names, Records

PIECE = 10_000  # decisions, or feedback that waits, in a piece of facts


class Stored(NamedTuple):
    """A decision with its context as JSON."""

    decision: Decision
    context: bytes


class MemoryLog:
    """Append-only facts, gone when the process ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._decisions: dict[str, Stored] = {}  # by id, in order of arrival
        self._feedback: dict[str, Feedback] = {}
        self._said: dict[str, list[Said]] = {}  # by decision
        self._signal: list[str] = []  # by `seq`
        self._transcripts: dict[str, tuple[float, str]] = {}  # time and body, by decision

    def append(self, decisions: Sequence[Decision], feedback: Sequence[Feedback] = ()) -> None:
        """Keep all of it or nothing."""
        with self._lock:
            self._append(decisions, feedback)

    def _append(self, decisions: Sequence[Decision], feedback: Sequence[Feedback]) -> None:
        made: dict[str, Stored] = {}
        said: dict[str, Feedback] = {}
        for decision in decisions:
            new = _normal(decision)
            if made.setdefault(new.decision.id, self._decisions.get(new.decision.id, new))[0] != new.decision:
                raise duplicate(decision)
        for each in feedback:
            check_feedback(each)
            if said.setdefault(each.id, self._feedback.get(each.id, each)) != each:
                raise duplicate(each)
        self._decisions.update(made)
        for each in said.values():
            self._hear(each)

    def _hear(self, row: Feedback) -> None:
        if row.id in self._feedback:
            return
        self._feedback[row.id] = row
        value = None if row.value is None else float(row.value)
        said = Said(row.decision_id, float(row.time), len(self._signal), row.id, value, row.replaces)
        self._said.setdefault(row.decision_id, []).append(said)
        self._signal.append(row.signal)

    def read(self, domain: str, start: float, end: float) -> Records:
        """Decisions with start <= time < end and all their feedback so far."""
        check_window(start, end)
        with self._lock:
            rows = [
                each
                for each in self._decisions.values()
                if each.decision.domain == domain and start <= each.decision.time < end
            ]
            said = [(row, each) for row, (made, _) in enumerate(rows) for each in self._said.get(made.id, ())]
        gone = superseded(each for _, each in said)
        said = [(row, each) for row, each in said if each.seq not in gone]
        made = [each.decision for each in rows]
        sets = {each.allowed: None for each in made}
        numbers = {each: number for number, each in enumerate(sets)}
        return Records(
            id=[each.id for each in made],
            session=Names.of([each.session for each in made]),
            user=Names.of([each.user for each in made]),
            time=np.array([each.time for each in made], dtype=np.float64),
            context=[each.context for each in rows],
            allowed=np.array([numbers[each.allowed] for each in made], dtype=np.int64),
            allowed_sets=list(sets),
            action=Names.of([each.action for each in made]),
            probability=np.array([each.probability for each in made], dtype=np.float64),
            memo=memo_matrix(
                np.array([len(each.memo) for each in made], dtype=np.int64),
                np.array([number for each in made for number in each.memo], dtype=np.float64),
            ),
            version=Names.of([each.version for each in made]),
            variant=Names.of([each.variant for each in made]),
            assigned=np.array([each.assigned for each in made], dtype=np.float64),
            feedback_decision=np.array([row for row, _ in said], dtype=np.int64),
            feedback_signal=Names.of([self._signal[each.seq] for _, each in said]),
            feedback_value=np.array([each.value for _, each in said], dtype=np.float64),
            feedback_time=np.array([each.time for _, each in said], dtype=np.float64),
        )

    def find(self, decision_id: str) -> tuple[Decision, list[Feedback]] | None:
        """One decision and what was said of it (revised and revoked rows included), or None."""
        with self._lock:
            if decision_id not in self._decisions:
                return None
            decision, data = self._decisions[decision_id]
            said = [self._feedback[each.id] for each in self._said.get(decision_id, ())]
            return decision._replace(context=decode(data)), said

    def said(self, feedback_id: str) -> Feedback | None:
        """One feedback as it arrived, whether its decision is there or not, or None."""
        with self._lock:
            return self._feedback.get(feedback_id)

    def domains(self) -> list[str]:
        """Names of the domains that decisions have been logged for."""
        with self._lock:
            return sorted({each.decision.domain for each in self._decisions.values()})

    def summary(self, domain: str) -> LogSummary:
        """How much is there."""
        with self._lock:
            made = {id_: each.decision.time for id_, each in self._decisions.items() if each.decision.domain == domain}
            return LogSummary(
                decisions=len(made),
                feedback=sum(len(said) for id_, said in self._said.items() if id_ in made),
                first=min(made.values(), default=None),
                last=max(made.values(), default=None),
                unmatched=sum(len(said) for id_, said in self._said.items() if id_ not in self._decisions),
                bytes=sum(len(each.context) for each in self._decisions.values()),
            )

    # --------------------------------------------------------------------------------------------------- transcripts

    def keep(self, transcripts: Sequence[Transcript], feedback: Sequence[Feedback] = ()) -> None:
        """As ports.Transcripts."""
        rows = [checked_transcript(each) for each in transcripts]
        for said in feedback:
            check_feedback(said)
        with self._lock:
            for said in feedback:
                if said.decision_id in self._decisions:
                    self._hear(said)  # what is there already under its id stays as it is
            for id_, time, body in rows:
                if id_ in self._decisions:
                    self._transcripts.setdefault(id_, (time, body))

    def transcripts(self, decision_ids: Collection[str]) -> list[Transcript]:
        """As ports.Transcripts."""
        asked = set(decision_ids)
        with self._lock:
            there = [(id_, time, body) for id_, (time, body) in self._transcripts.items() if id_ in asked]
        return [Transcript(id_, time, decode(body)) for id_, time, body in there]

    def latest(self, domain: str, session: str, user: str | None) -> tuple[Decision, Transcript | None] | None:
        """As ports.Transcripts."""
        with self._lock:
            rows = [self._decisions[id_].decision for id_ in self._transcripts]
        rows = [each for each in reversed(rows) if (each.domain, each.session, each.user) == (domain, session, user)]
        if not rows:
            return None
        newest = max(rows, key=lambda row: row.time)
        return _copied(newest), next(iter(self.transcripts([newest.id])), None)

    # ------------------------------------------------------------------------------------------------------- keeping

    def facts(self, domain: str, start: float, end: float) -> Iterator[Facts]:
        """As ports.Keeping; all of one moment."""
        check_window(start, end)
        with self._lock:
            made = [each.decision for each in self._in(domain) if start <= each.decision.time < end]
            said = {each.id: self._heard_of(each.id) for each in made}
            waiting = [each for each in self._feedback.values() if each.decision_id not in self._decisions]
        for at in range(0, len(made), PIECE):
            piece = made[at : at + PIECE]
            yield Facts([_copied(each) for each in piece], [row for each in piece for row in said[each.id]])
        for at in range(0, len(waiting) if end == np.inf else 0, PIECE):
            yield Facts([], waiting[at : at + PIECE])

    def let_go(self, domain: str, before: float) -> Erased:
        """As ports.Keeping."""
        check_window(before, before)
        with self._lock:
            going_on = {each.decision.session for each in self._in(domain) if each.decision.time >= before}
            old = [each.decision.id for each in self._in(domain) if each.decision.session not in going_on]
            return self._delete(old)

    def reach(self, domain: str, before: float, count: int) -> tuple[float, int] | None:
        """As ports.Keeping."""
        check_window(before, before)
        with self._lock:
            times = sorted(each.decision.time for each in self._in(domain) if each.decision.time < before)
        newest = times[-count:]
        return (newest[0], len(newest)) if newest else None

    def forget(self, decisions: Collection[str], feedback: Collection[str]) -> None:
        """As ports.Keeping."""
        with self._lock:
            for id_ in feedback:
                self._unsay(id_)
            for id_ in decisions:
                self._decisions.pop(id_, None)
                self._transcripts.pop(id_, None)

    def erase(self, domain: str, user: str) -> Erased:
        """As ports.Keeping."""
        if not user:
            raise InvalidInput("Nobody is named.", field="user", value=user, fix="Name the person to be erased.")
        with self._lock:
            rows = [each.decision for each in self._in(domain)]
            theirs = {each.session for each in rows if each.user == user}
            theirs -= {each.session for each in rows if each.user not in ("", None, user)}
            gone = [row.id for row in rows if row.user == user or (not row.user and row.session in theirs)]
            return self._delete(gone)

    def backup(self, path: Path) -> None:
        """An SQLite file that `bondhu restore` takes, with all that is in memory here; raises InvalidInput where it is
        there already."""
        from bondhu.log.sqlite import SqliteLog  # only here does it need a file
        from bondhu.log.transcripts import SqliteTranscripts

        if path.exists():
            fix = "Name a new file: a backup replaces nothing."
            raise InvalidInput(f"{path} is there already.", field="path", value=str(path), fix=fix)
        with self._lock:
            made, said = [each.decision for each in self._decisions.values()], list(self._feedback.values())
            kept = list(self._transcripts)
        with TemporaryDirectory() as folder, SqliteLog(Path(folder) / "log.sqlite") as log:
            log.append(made, said)
            with SqliteTranscripts(Path(folder) / "log.sqlite") as transcripts:
                transcripts.keep(self.transcripts(kept))
            log.backup(path)

    def _in(self, domain: str) -> Iterator[Stored]:
        return (each for each in self._decisions.values() if each.decision.domain == domain)

    def _heard_of(self, decision: str) -> list[Feedback]:
        return [self._feedback[each.id] for each in self._said.get(decision, ())]

    def _delete(self, decisions: Sequence[str]) -> Erased:
        """Delete decisions and all that was said of them."""
        said = [each.id for id_ in decisions for each in self._said.get(id_, ())]
        for id_ in decisions:
            del self._decisions[id_]
            self._transcripts.pop(id_, None)
        for id_ in said:
            self._unsay(id_)
        return Erased(tuple(decisions), tuple(said))

    def _unsay(self, id_: str) -> None:
        row = self._feedback.pop(id_, None)
        if row is not None:
            self._said[row.decision_id] = [each for each in self._said[row.decision_id] if each.id != id_]


def _copied(row: Decision) -> Decision:
    """With a context of its own: whoever is given it may change it."""
    return row._replace(context=decode(encode(row.context)))


def _normal(row: Decision) -> Stored:
    context = checked_context(row).encode()
    memo = tuple(map(float, row.memo))
    decision = row._replace(
        context=decode(context),
        time=float(row.time),
        probability=float(row.probability),
        memo=memo,
        assigned=float(row.assigned),
    )
    return Stored(decision, context)


class MemoryTasks:
    """The record of what the jobs did, gone when the process ends."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def record(self, task: Task) -> None:
        self._tasks.append(task)

    def recent(self, task_name: str, limit: int) -> list[Task]:
        """Newest first."""
        named = [each for each in reversed(self._tasks) if each.task_name == task_name]
        return sorted(named, key=lambda each: each.executed_at, reverse=True)[:limit]

    def names(self) -> list[str]:
        """Names of the tasks that were recorded, sorted."""
        return sorted({each.task_name for each in self._tasks})


class MemoryLedger:
    """What is noted beside the facts, gone when the process ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: list[Entry] = []

    def note(self, kind: str, domain: str, body: Mapping[str, Any], *, time: float) -> Entry:
        """Append."""
        with self._lock:
            entry = Entry(len(self._entries) + 1, time, kind, domain, decode(encode(body)))
            self._entries.append(entry)
        return entry

    def entries(self, kind: str, domain: str | None = None, *, after: int = 0) -> list[Entry]:
        """Oldest first, with seq > `after`; None: of every domain."""
        with self._lock:
            named = [each for each in self._entries if each.kind == kind and each.seq > after]
        return [each for each in named if domain in (None, each.domain)]

    def kinds(self) -> list[str]:
        """Kinds of which something was noted, sorted."""
        with self._lock:
            return sorted({each.kind for each in self._entries})
