"""Moves old rows of a log into Parquet files, so that a row is in the log, in an archive, or for a moment in both.

A run writes a pair of files aside, reads it back and compares it with what was written, marks it, renames it, deletes
its rows from the log and removes the mark. A run that was cut off leaves files aside, which the next one deletes since
the log still has their rows, or a mark, from which the next one goes on.

An archive holds decisions and feedback: what trainings and estimates are made of. What was said around them goes with
their rows and is in no archive: text is the most personal of all, and `bondhu export` keeps it on request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bondhu.errors import InvalidInput, StoreCorrupt, StoreError
from bondhu.log.parquet import DECISIONS, FEEDBACK, Pair, digested, flush, read_pair, write_facts
from bondhu.ports import Domain, Erased, Facts, Keeping
from bondhu.types import Decision, Feedback

PART = ".part"  # ends the name of what is not whole yet
REWRITTEN = ".rewritten"  # ends the name of a file without a person, before it takes the place of the one with them
MARK = ".leaving"  # ends the name of a mark: rows of this pair may still be in the log

Told = Callable[[int], None]  # decisions done since it was told last


def ignored(_decisions: int) -> None:
    """Is told of the progress where nobody else wants to know."""


class Archived(NamedTuple):
    """What a run moved, and where to."""

    decisions: int
    feedback: int
    pair: Pair | None  # None: nothing was old enough


def archive(log: Keeping, domain: Domain, before: float, folder: Path, *, now: float, told: Told = ignored) -> Archived:
    """Move decisions with time < `before`, and all that was said of them, to a new pair of files in the folder; what
    went on then stays whole in the log. One run at a time. Raises StoreError where the files cannot be written, and
    StoreCorrupt where they do not read back as they were written: the log has all of its rows then."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _finish(log, domain.name, folder)
        name = _new_name(folder, domain.name, now)
        aside = Pair(*(each.with_name(each.name + PART) for each in Pair.called(folder, name)))
        written = write_facts(_old(log, domain, before, told), aside, domain.name)
        if not written.decisions:
            _discard(folder, domain.name)
            return Archived(0, 0, None)
        if digested(read_pair(aside)) != written:
            what = f"{aside.decisions} does not read back as it was written."
            raise StoreCorrupt(what, fix="Look after the disk; the log still has all of its rows.")
        _mark(folder, name)
        _let_leave(log, folder, name)
    except OSError as error:
        what = f"{folder} cannot be written: {os.strerror(error.errno) if error.errno else error}."
        fix = "Mend that and archive again: nothing is lost."
        raise StoreError(what, field="path", value=str(folder), fix=fix) from error
    return Archived(written.decisions, written.feedback, Pair.called(folder, name))


def erase_archived(folder: Path, domain: str, user: str, log: Keeping | None = None) -> Erased:
    """Take a person out of the archives of a domain; pairs that do not know them stay as they are. What waits in the
    log for their archived decisions is theirs as well, and goes with them. Nobody may archive meanwhile."""
    if not user:
        raise InvalidInput("Nobody is named.", field="user", value=user, fix="Name the person to be erased.")
    made: list[str] = []
    said: list[str] = []
    for name in _names(folder, domain, MARK):
        _rename(folder, name)
    _discard(folder, domain)
    for pair in map(partial(Pair.called, folder), _names(folder, domain, f".{DECISIONS}")):
        theirs = _ids_of(pair, user)
        if not theirs:
            continue
        if log is not None:  # before the files: where this is cut off, the next run finds whose it is
            log.forget(theirs, ())
            said += chain.from_iterable(_let_waiting_go(log, domain, partial(_said_of, set(theirs))))
        aside = Pair(*(each.with_name(each.name + REWRITTEN) for each in pair))
        write_facts(_without(pair, theirs, said), aside, domain)
        # Feedback first: where this is cut off in between, the next run finds the decisions again.
        aside.feedback.replace(pair.feedback)
        aside.decisions.replace(pair.decisions)
        flush(folder)
        made += theirs
    return Erased(tuple(made), tuple(said))


def forget_unclaimed(log: Keeping, domain: str, before: float, folder: Path) -> int:
    """Delete feedback with time < `before` that waits for a decision which is neither in the log nor in an archive of
    this folder; returns how much. Memory holds a piece at a time. Nobody may archive meanwhile."""

    def unclaimed(waiting: list[Feedback]) -> list[str]:
        old = [row for row in waiting if row.time < before]
        there = _archived(folder, {row.decision_id for row in old})
        return [row.id for row in old if row.decision_id not in there]

    return sum(map(len, _let_waiting_go(log, domain, unclaimed)))


def _let_waiting_go(log: Keeping, domain: str, which: Callable[[list[Feedback]], list[str]]) -> Iterator[list[str]]:
    """Delete what `which` names of the feedback that waits for decisions; the ids, piece by piece."""
    for piece in log.facts(domain, np.inf, np.inf):  # no decision is in there
        if ids := which(piece.feedback):
            log.forget((), ids)
            yield ids


def _said_of(decisions: Collection[str], waiting: list[Feedback]) -> list[str]:
    return [row.id for row in waiting if row.decision_id in decisions]


def _archived(folder: Path, ids: Collection[str]) -> set[str]:
    """Which of these decisions are in an archive of the folder, of whatever domain; raises StoreCorrupt."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not ids:
        return set()
    # The bounds spare reading parts of a file whose ids are all older or younger.
    asked = [("id", ">=", min(ids)), ("id", "<=", max(ids)), ("id", "in", ids)]
    found: set[str] = set()
    for path in sorted(folder.glob(f"*{DECISIONS}")):
        try:
            found.update(pq.read_table(path, columns=["id"], filters=asked).column("id").to_pylist())
        except (pa.ArrowException, OSError) as error:
            what = f"{path} cannot be read: {error}."
            raise StoreCorrupt(what, fix="Bring a whole copy of it; nothing was deleted.") from error
    return found


def _old(log: Keeping, domain: Domain, before: float, told: Told) -> Iterator[Facts]:
    """What is to be moved; a session goes on where its next decision is less than the idle time away."""
    running = {row.session for piece in log.facts(domain.name, before, before + domain.idle) for row in piece.decisions}
    for piece in log.facts(domain.name, -np.inf, before):
        made = [row for row in piece.decisions if not domain.idle or row.session not in running]
        ids = {row.id for row in made}
        yield Facts(made, [row for row in piece.feedback if row.decision_id in ids])
        told(len(piece.decisions))


def _finish(log: Keeping, domain: str, folder: Path) -> None:
    """What a run that was cut off left to do."""
    for name in _names(folder, domain, MARK):
        _let_leave(log, folder, name)
    _discard(folder, domain)


def _discard(folder: Path, domain: str) -> None:
    """Delete what was not whole; the log, or the file in its place, still has the rows."""
    for suffix in (f".{kind}{end}" for kind in (DECISIONS, FEEDBACK) for end in (PART, REWRITTEN)):
        for name in _names(folder, domain, suffix):
            (folder / f"{name}{suffix}").unlink()


def _names(folder: Path, domain: str, suffix: str) -> list[str]:
    """Names of the pairs of a domain, of those that have a file with this suffix; oldest first."""
    named = re.compile(rf"({re.escape(_stem(domain))}-\d{{8}}T\d{{6}}-\d{{3}}){re.escape(suffix)}")
    found = map(named.fullmatch, sorted(each.name for each in folder.iterdir())) if folder.is_dir() else ()
    return [each[1] for each in found if each]


def _mark(folder: Path, name: str) -> None:
    """From here on the files count, not the log."""
    mark = folder / f"{name}{MARK}"
    mark.touch()
    flush(mark)
    flush(folder)


def _let_leave(log: Keeping, folder: Path, name: str) -> None:
    """Give a marked pair its name, delete its rows from the log, remove the mark; may be done again at any point."""
    for piece in read_pair(_rename(folder, name)):
        log.forget([row.id for row in piece.decisions], [row.id for row in piece.feedback])
    (folder / f"{name}{MARK}").unlink()
    flush(folder)


def _rename(folder: Path, name: str) -> Pair:
    """Give a marked pair its name, as far as it has not got it. Decisions last: whoever reads a folder begins there."""
    pair = Pair.called(folder, name)
    for each in (pair.feedback, pair.decisions):
        aside = each.with_name(each.name + PART)
        if aside.exists():
            aside.rename(each)
    flush(folder)
    return pair


def _stem(domain: str) -> str:
    return re.sub(r"[^\w-]", "_", domain)


def _new_name(folder: Path, domain: str, now: float) -> str:
    """In the order of time; never that of a pair that is there."""
    stamp = f"{_stem(domain)}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}"
    number = 1
    while Pair.called(folder, f"{stamp}-{number:03}").decisions.exists():
        number += 1
    return f"{stamp}-{number:03}"


def _ids_of(pair: Pair, user: str) -> list[str]:
    """Decisions of a person, and those of nobody known in sessions that only they had."""
    theirs: set[str] = set()
    others: set[str] = set()
    for row in _decisions(pair):
        if row.user:
            (theirs if row.user == user else others).add(row.session)
    theirs -= others
    return [row.id for row in _decisions(pair) if row.user == user or (not row.user and row.session in theirs)]


def _decisions(pair: Pair) -> Iterator[Decision]:
    return (row for piece in read_pair(pair) for row in piece.decisions)


def _without(pair: Pair, decisions: list[str], said: list[str]) -> Iterator[Facts]:
    """What stays of a pair; ids of the feedback that goes are added to `said`."""
    gone = set(decisions)
    for piece in read_pair(pair):
        said += [row.id for row in piece.feedback if row.decision_id in gone]
        made = [row for row in piece.decisions if row.id not in gone]
        yield Facts(made, [row for row in piece.feedback if row.decision_id not in gone])
