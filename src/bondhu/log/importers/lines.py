"""Text files line by line, gzipped or not, that say how far they were read and where they break off."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from bondhu.errors import InvalidInput, nearest

UNLABELLED = "no label: which action was taken is not in the log"
ACTION_FEATURES = "features of actions are left out"


class Brought(NamedTuple):
    """The actions that one request brought along, for a domain that takes them so."""

    about: list[Any]  # objects about the context
    actions: list[dict[str, Any]]  # {"id": …, "features": [objects]}
    open: tuple[int, ...]  # places of those that could be taken, from 0


class Spoken(NamedTuple):
    """Feedback on a decision of another line, or of another file."""

    decision: str
    signals: tuple[tuple[str, float], ...]
    time: float | None  # seconds


class Row(NamedTuple):
    """One decision as a log tells it, before it is compared with a domain."""

    context: dict[str, Any]
    action: str
    probability: float
    signals: tuple[tuple[str, float], ...] = ()
    allowed: tuple[str, ...] | None = None  # None: all actions of the domain
    id: str = ""  # "": made from the file and the row's number
    session: str = ""  # "": the decision stands alone
    user: str | None = None
    time: float | None = None  # seconds
    version: str = "imported"
    variant: str = "live"
    assigned: float = 1.0
    memo: tuple[float, ...] = ()
    slot: str = ""  # of a decision beyond the first of an event: its own name
    silent: bool = False  # nobody said anything: `signals` are what the log took for granted
    brought: Brought | None = None


class Line(NamedTuple):
    """One row of a log: a decision, a problem, or the reason why it holds no decision."""

    number: int
    done: int  # bytes of the file read so far
    row: Row | None = None
    problem: InvalidInput | None = None
    skipped: str = ""
    note: str = ""
    said: Spoken | None = None


class TextFile:
    """Iterates over decoded lines; `number` and `done` say where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.done = 0

    def __iter__(self) -> Iterator[str]:
        with open(self.path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            lines = gzip.GzipFile(fileobj=raw) if packed else raw
            try:
                for line in lines:
                    self.number += 1
                    self.done = raw.tell()
                    yield line.decode("utf-8-sig" if self.number == 1 else "utf-8", errors="replace")
            except (EOFError, OSError, zlib.error) as error:
                raise InvalidInput(
                    f"{self.path.name} breaks off after line {self.number}: {error}.",
                    field="file",
                    value=str(self.path),
                    fix="Copy the file again.",
                ) from error


def readable(text: str) -> str:
    """The line, if it is text."""
    if "\ufffd" in text or "\0" in text:
        what = "The line holds NUL bytes" if "\0" in text else "The line is not UTF-8"
        raise InvalidInput(f"{what}: the file is damaged or has another encoding.", field="line", value=text[:80])
    return text


def existing(path: Path | str) -> Path:
    """The path, if something is there."""
    path = Path(path)
    if not path.exists():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InvalidInput(
            f"There is no file {str(path)!r}.", field="path", value=str(path), fix=nearest(path.name, siblings)
        )
    return path


def mark(path: Path) -> str:
    """Ten digits for this file: the same when it is imported again or has grown, another for another file."""
    digest = blake2b(path.name.encode(), digest_size=5)
    with open(path, "rb") as file:
        digest.update(file.read(4096))
    return digest.hexdigest()
