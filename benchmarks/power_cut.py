"""What is left of the log when the power is cut: `python -m benchmarks.power_cut`.

A disk is simulated: it remembers which writes were flushed. When the power is cut, those that were not may be gone, or
only the first of them have arrived, or any half of them, or some sectors of any half. The log is opened on what is
left, and every row that was acknowledged must be there. With `synchronous = NORMAL`, which flushes only now and then,
the same cuts must lose rows, or the simulation would show nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import numpy as np

from benchmarks.report import Row, main
from bondhu.log.sqlite import SqliteLog
from bondhu.types import Decision, Feedback

SECTOR = 512  # bytes that a disk writes whole or not at all
LEFT = ("nothing", "the first", "any half", "torn sectors")  # of the writes that were not flushed
PAGES = 40  # of the write-ahead log, after which it is moved into the file: often, to be cut in the middle of it
NAME = "cut"  # of the file system


class Write(NamedTuple):
    """One write that was not flushed yet; without data, the file is cut to the length `at`."""

    file: str
    at: int
    data: bytes | None


@dataclass
class Disk:
    """What files hold, and what is on disk of that. Names are on disk as soon as they are given."""

    power_cut_at: int = 1 << 60  # writes and flushes until then
    now: dict[str, bytearray] = field(default_factory=dict)  # as programs see it
    flushed: dict[str, bytearray] = field(default_factory=dict)
    waiting: list[Write] = field(default_factory=list)
    acts: int = 0
    acknowledged: set[str] = field(default_factory=set)
    after_cut: Disk | None = None  # as it was then

    def write(self, one: Write) -> None:
        self._act()
        _apply(self.now, one)
        self.waiting.append(one)

    def flush(self, file: str) -> None:
        self._act()
        for one in self.waiting:
            if one.file == file:
                _apply(self.flushed, one)
        self.waiting = [one for one in self.waiting if one.file != file]

    def delete(self, file: str) -> None:
        self.now.pop(file, None)
        self.flushed.pop(file, None)
        self.waiting = [one for one in self.waiting if one.file != file]

    def _act(self) -> None:
        """The power is cut between two acts; the program does not notice and is stopped later."""
        self.acts += 1
        if self.acts == self.power_cut_at:
            flushed = {name: bytearray(data) for name, data in self.flushed.items()}
            seen = set(self.acknowledged)
            self.after_cut = Disk(flushed=flushed, waiting=list(self.waiting), acknowledged=seen)

    def left(self, how: str, rng: np.random.Generator) -> dict[str, bytearray]:
        """What the files hold when the power is back."""
        files = {name: bytearray(data) for name, data in self.flushed.items()}
        for one in _arrived(self.waiting, how, rng):
            _apply(files, one)
        return files


def _arrived(waiting: list[Write], how: str, rng: np.random.Generator) -> Iterator[Write]:
    if how == "the first":
        yield from waiting[: int(rng.integers(len(waiting) + 1))]
    elif how in ("any half", "torn sectors"):
        for one, kept in zip(waiting, rng.random(len(waiting)) < 0.5, strict=True):
            if kept and (how == "any half" or one.data is None):
                yield one
            elif kept:
                yield from _torn(one, rng)


def _torn(one: Write, rng: np.random.Generator) -> Iterator[Write]:
    """Some sectors of a write."""
    assert one.data is not None
    first = one.at - one.at % SECTOR
    for start in range(first, one.at + len(one.data), SECTOR):
        low, high = max(start, one.at), min(start + SECTOR, one.at + len(one.data))
        if rng.random() < 0.5:
            yield Write(one.file, low, one.data[low - one.at : high - one.at])


def _apply(files: dict[str, bytearray], one: Write) -> None:
    held = files.setdefault(one.file, bytearray())
    if one.data is None:
        del held[one.at :]
        return
    if len(held) < one.at:
        held.extend(bytes(one.at - len(held)))
    held[one.at : one.at + len(one.data)] = one.data


class Files(apsw.VFS):
    """SQLite's way to the disk. It has no memory that processes share, so one connection has the log for itself."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        super().__init__(NAME, "", makedefault=True)

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: ARG002  the signature is SQLite's
        return pathname in self.disk.now

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: ARG002  likewise
        self.disk.delete(filename)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        flags[1] = flags[0]
        return File(self.disk, str(name.filename() if hasattr(name, "filename") else name))


class File:
    """One open file."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.disk, self.name = disk, name
        disk.now.setdefault(name, bytearray())

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self.disk.now[self.name][offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.write(Write(self.name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self.disk.write(Write(self.name, newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: ARG002  likewise
        self.disk.flush(self.name)

    def xFileSize(self) -> int:
        return len(self.disk.now[self.name])

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE  # as SQLite believes of every disk

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: ARG002  likewise
        return False

    def xLock(self, level: int) -> None:
        """Nobody else is there."""

    def xUnlock(self, level: int) -> None:
        """Nobody else is there."""

    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None:
        """The disk keeps it."""


@contextmanager
def _simulated(disk: Disk) -> Iterator[None]:
    """Connections that are opened in the block are to this disk."""
    files = Files(disk)

    def alone(connection: apsw.Connection) -> None:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")

    apsw.connection_hooks.append(alone)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(alone)
        files.unregister()


def _write(folder: Path, synchronous: str, disk: Disk, rng: np.random.Generator) -> None:
    """Groups of one to twenty decisions with a feedback each, until the power is cut."""
    with _simulated(disk), SqliteLog(folder / "log.db") as log:
        with log.database.maintaining() as connection:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.wal_autocheckpoint(PAGES)
        number = 0
        while disk.after_cut is None:
            names = [f"{rng.integers(1 << 40):010x}-{number + each}" for each in range(rng.integers(1, 21))]
            log.append([_decision(name) for name in names], [_feedback(name) for name in names])
            disk.acknowledged.update(names)
            number += len(names)


def _decision(name: str) -> Decision:
    context = {"name": name, "text": "x" * 100}
    return Decision(name, "shop", name, name, 1.0, context, ("a", "b"), "a", 0.5, (0.5,), "v1", "live")


def _feedback(name: str) -> Feedback:
    return Feedback(f"f{name}", name, "like", 1.0, 2.0)


class Outcome(NamedTuple):
    """Of all cuts of one kind."""

    acknowledged: int
    lost: int
    losing: int  # openings that missed a row
    damaged: int
    opened: int


def cut(synchronous: str, cuts: int, longest: int) -> Outcome:
    """Cut the power `cuts` times, anywhere within the first `longest` writes and flushes; each time, each way of what
    may be left is looked at."""
    totals = np.zeros(5, np.int64)
    for number in range(cuts):
        rng = np.random.default_rng(number)
        disk = Disk(int(rng.integers(1, longest)))
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), synchronous, disk, rng)
            assert disk.after_cut is not None
            for how in LEFT:
                lost, sound = _opened(Path(folder) / how, disk.after_cut, how, rng)
                totals += (len(disk.after_cut.acknowledged), lost, lost > 0, not sound, 1)
    return Outcome(*totals.tolist())


def _opened(folder: Path, disk: Disk, how: str, rng: np.random.Generator) -> tuple[int, bool]:
    """How many acknowledged rows are missing when the power is back, and whether the file holds together."""
    folder.mkdir()
    for name, data in disk.left(how, rng).items():
        (folder / Path(name).name).write_bytes(data)
    with SqliteLog(folder / "log.db") as log:
        records = log.read("shop", -np.inf, np.inf)
        whole = {records.id[row] for row in records.feedback_decision.tolist()}
        with log.database.reading() as connection:
            sound = connection.pragma("integrity_check") == "ok" and whole == set(records.id)
    return len(disk.acknowledged - whole), bool(sound)


def measure(quick: bool) -> list[Row]:
    """8 cuts of each kind, or 250; four openings after each."""
    cuts, longest = (8, 2000) if quick else (250, 5000)
    full, normal = cut("FULL", cuts, longest), cut("NORMAL", cuts, longest)
    return [
        Row("FULL: acknowledged rows, over all openings", full.acknowledged, "rows"),
        Row("FULL: of these lost", full.lost, "rows", "0", full.lost == 0, "NORMAL", normal.lost),
        Row(f"FULL: openings that lost rows, of {full.opened}", full.losing, "openings", "0", full.losing == 0),
        Row("FULL: stores damaged", full.damaged, "openings", "0", full.damaged == 0, "NORMAL", normal.damaged),
        Row("control, NORMAL: acknowledged rows", normal.acknowledged, "rows"),
        Row(
            f"control: openings that lost rows, of {normal.opened}", normal.losing, "openings", "> 0", normal.losing > 0
        ),
    ]


if __name__ == "__main__":
    main("power_cut", measure)
