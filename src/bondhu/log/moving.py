"""Moves all that a store holds of a domain to another store, by way of a folder of files.

`decisions.parquet` and `feedback.parquet` hold the facts as they arrived; `transcripts.jsonl`, `system_tasks.jsonl` and
`ledger.jsonl` what stands beside them.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np

from bondhu.errors import InvalidInput, StoreError, nearest
from bondhu.log.checks import encode
from bondhu.log.parquet import Pair, Written, domain_of, flush, pairs_of, read_pair, write_facts
from bondhu.log.stores import Stores
from bondhu.ports import Entry, Facts, Ledger, Task, Tasks, Transcript

TASKS, LEDGER, TRANSCRIPTS = "system_tasks.jsonl", "ledger.jsonl", "transcripts.jsonl"
ALL = 1 << 40  # more tasks than there can be
PIECE = 1_000  # transcripts kept at a time

Told = Callable[[int], None]  # decisions done since it was told last


class Moved(NamedTuple):
    """What a folder held, and how much of it was new to the store."""

    decisions: int
    feedback: int
    new_decisions: int
    new_feedback: int
    new_beside: int  # tasks and entries of the ledger
    transcripts: int = 0  # in the folder; those whose decision is not there are left out


def move_out(stores: Stores, domain: str, folder: Path, told: Told) -> Written:
    """Write a new folder, there whole or not at all: the facts of the domain, with the feedback that waits for a
    decision of any domain, what was said around the decisions, all tasks, and the domain's entries of the ledger."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = f"{folder} is there already."
        raise InvalidInput(what, field="path", value=str(folder), fix="Name a new folder.")
    with made_aside(folder) as aside:
        with (aside / TRANSCRIPTS).open("wb") as texts:
            pieces = _telling(stores.log.facts(domain, -np.inf, np.inf), told)
            written = write_facts(_with_texts(stores, pieces, texts), Pair.called(aside), domain)
        flush(aside / TRANSCRIPTS)
        _write_lines(aside / TASKS, all_tasks(stores.tasks))
        _write_lines(aside / LEDGER, all_entries(stores.ledger, domain))
    return written


def move_in(stores: Stores, domain: str, path: Path, told: Told) -> Moved:
    """Append what a folder, or a pair of an archive, holds of the domain; what is there already is not added again.
    Raises InvalidInput where it holds nothing of the domain, DuplicateId where an id is there with other content."""
    before = stores.log.summary(domain)
    made = said = 0
    for pair in _of_domain(path, domain):
        for piece in read_pair(pair):
            stores.log.append(piece.decisions, piece.feedback)
            made, said = made + len(piece.decisions), said + len(piece.feedback)
            told(len(piece.decisions))
    texts = _bring_transcripts(stores, path / TRANSCRIPTS)
    beside = _bring_beside(stores, domain, path) if path.is_dir() else 0
    after = stores.log.summary(domain)
    new = after.feedback + after.unmatched - before.feedback - before.unmatched
    return Moved(made, said, after.decisions - before.decisions, new, beside, texts)


def all_tasks(tasks: Tasks) -> list[Task]:
    """Oldest first, name by name."""
    return [task for name in tasks.names() for task in reversed(tasks.recent(name, ALL))]


def all_entries(ledger: Ledger, domain: str) -> list[Entry]:
    """Oldest first."""
    return sorted(entry for kind in ledger.kinds() for entry in ledger.entries(kind, domain))


def _of_domain(path: Path, domain: str) -> list[Pair]:
    """An archive may hold several domains; a folder of one that is another is refused."""
    pairs = pairs_of(path)
    names = list(map(domain_of, pairs))
    if domain not in names:
        what = f"{path} holds facts of {names[0]!r}, and this deployment is {domain!r}."
        raise InvalidInput(what, field="path", value=str(path), fix=nearest(domain, sorted(set(names))))
    return [pair for pair, name in zip(pairs, names, strict=True) if name == domain]


def _bring_transcripts(stores: Stores, path: Path) -> int:
    """Keep what was said around decisions that are there; how much the file holds."""
    held = 0
    lines = _lines(path, Transcript)
    while some := list(islice(lines, PIECE)):
        stores.transcripts.keep(some)
        held += len(some)
    return held


def _bring_beside(stores: Stores, domain: str, folder: Path) -> int:
    """Record the tasks and note the entries that are not there yet; how many."""
    new = 0
    there = Counter(map(encode, all_tasks(stores.tasks)))
    for task in _lines(folder / TASKS, Task):
        if not _counted(there, encode(task)):
            stores.tasks.record(task)
            new += 1
    noted = Counter(encode(each[1:]) for each in all_entries(stores.ledger, domain))
    for entry in _lines(folder / LEDGER, Entry):
        if entry.domain == domain and not _counted(noted, encode(entry[1:])):
            stores.ledger.note(entry.kind, domain, entry.body, time=entry.time)
            new += 1
    return new


def _counted(there: Counter[bytes], row: bytes) -> bool:
    """Whether one more of these is there; it is used up then."""
    there[row] -= 1
    return there[row] >= 0


def _with_texts(stores: Stores, pieces: Iterable[Facts], file: BinaryIO) -> Iterator[Facts]:
    """The pieces, while what was said around their decisions is written to the file."""
    for piece in pieces:
        for text in stores.transcripts.transcripts([each.id for each in piece.decisions]):
            file.write(encode(text) + b"\n")
        yield piece


def without_transcripts(path: Path, decisions: Collection[str]) -> None:
    """Write the file anew, in one step, without what was said around these decisions; where there is none, nothing."""
    if not path.exists():
        return
    aside = path.with_name(f"{path.name}.part")
    aside.touch(mode=0o600)
    with aside.open("wb") as file:
        for row in _lines(path, Transcript):
            if row.decision_id not in decisions:
                file.write(encode(row) + b"\n")
    flush(aside)
    aside.replace(path)


def _telling(pieces: Iterable[Facts], told: Told) -> Iterator[Facts]:
    for piece in pieces:
        yield piece
        told(len(piece.decisions))


def _write_lines(path: Path, rows: Iterable[Any]) -> None:
    with path.open("wb") as file:
        for row in rows:
            file.write(encode(row) + b"\n")
    flush(path)


def _lines(path: Path, kind: Any) -> Iterator[Any]:
    if not path.exists():  # an archive has facts alone
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield msgspec.json.decode(line, type=kind)
            except msgspec.DecodeError as error:
                what = f"Line {number} of {path} cannot be read: {error}."
                raise InvalidInput(what, field="path", value=str(path), fix="Bring a whole copy of it.") from error


@contextmanager
def made_aside(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when the block has ended well. Only its owner may look into it: it holds people."""
    aside = folder.with_name(f"{folder.name}.part")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        yield aside
        flush(aside)
        aside.rename(folder)
        flush(folder.parent)
    except OSError as error:
        what = f"{folder} cannot be written: {os.strerror(error.errno) if error.errno else error}."
        raise StoreError(what, field="path", value=str(folder), fix="Mend that, or name another folder.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
