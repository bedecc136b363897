"""The registry as plain files, for any number of processes: one folder a version, one line an event.

    DIRECTORY/lock
    DIRECTORY/<domain>/events.jsonl
    DIRECTORY/<domain>/<version>/header.json, <array>.npy ...

A version is written aside and renamed into place, an event is one appended line; both are on disk before the call
returns. What a crash leaves unfinished was never visible and is cleared by the next writer.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from bondhu.errors import StateCorrupt
from bondhu.ports import Event, Version
from bondhu.registry.codec import dumps, read, refused, write
from bondhu.registry.lifecycle import BASELINE, checked, unknown_version
from bondhu.registry.memory import duplicate, reserved
from bondhu.registry.names import PLAIN, plain

_HISTORY = "events.jsonl"
_UNFINISHED = ".adding"  # no version can be called this
NEEDED = Event._fields[:5]  # the others are younger than some histories
_LOOK = 1.0  # seconds between looks for another file in the place of a history


class DiskRegistry:
    """Versions and events below `directory`, which is made when the first version is added."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self._paths: dict[str, str] = {}
        self._histories: dict[str, _History] = {}

    def add(self, version: Version, reason: str = "") -> None:
        """Store the version and record "added": all of it or nothing."""
        home = self.directory / plain("domain", version.domain)
        final = home / plain("version", version.id)
        if version.id == BASELINE:
            raise reserved()
        with self._locked():
            if self._find(version.id) is not None:
                raise duplicate(version.id)
            unfinished = home / _UNFINISHED
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                unfinished.mkdir(parents=True)
                write(version, unfinished)
                _settle(unfinished)
                unfinished.rename(final)
                _settle(home)
                event = Event(version.created, "added", version.id, reason, {})
                self._append(version.domain, checked(event, self.events(version.domain), {version.id}))
            except Exception as error:
                shutil.rmtree(unfinished, ignore_errors=True)
                shutil.rmtree(final, ignore_errors=True)
                if isinstance(error, OSError):
                    refused(error, final)
                raise

    def load(self, version_id: str) -> Version:
        """The version, every file checked; its arrays are mapped copy-on-write."""
        folder = self._find(plain("version", version_id))
        if folder is None:
            raise unknown_version(version_id, {each.name for each in self._folders("*")})
        version = read(folder)
        if (version.domain, version.id) != (folder.parent.name, folder.name):
            raise StateCorrupt(
                f"{folder} holds version {version.id!r} of {version.domain!r}.",
                field="version",
                value=version_id,
                fix="Give the folder back its own name.",
            )
        return version

    def record(self, domain: str, event: Event, *, seen: int | None = None) -> None:
        """Append one event to the history of the domain; it is on disk when this returns."""
        with self._locked():
            known = {each.name for each in self._folders(plain("domain", domain))}
            self._append(domain, checked(event, self.events(domain), known, seen))

    def events(self, domain: str) -> Sequence[Event]:
        """Oldest first; the same object until something is recorded."""
        history = self._histories.get(domain)
        if history is None or history.changed():
            path = self._paths.get(domain) or self._paths.setdefault(
                domain, str(self.directory / plain("domain", domain) / _HISTORY)
            )
            try:
                history = _History(path)
            except FileNotFoundError:
                self._histories.pop(domain, None)
                return ()
            self._histories[domain] = history
        return history.events

    def _append(self, domain: str, event: Event) -> None:
        """Under the lock: drop a line that a crash cut short, add this one, undo it if the disk is full."""
        self._histories.pop(domain, None)
        path = self.directory / domain / _HISTORY
        line = dumps(event._asdict()).encode() + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            refused(error, path)
        try:
            end = _whole(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
            os.ftruncate(descriptor, end)
            try:
                written = 0
                while written < len(line):
                    written += os.pwrite(descriptor, line[written:], end + written)
                os.fsync(descriptor)
                if end == 0:  # the file is new, and its folder may be
                    _settle(path.parent)
                    _settle(self.directory)
            except OSError as error:
                os.ftruncate(descriptor, end)
                refused(error, path)
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, among threads and processes; a killed writer lets go."""
        path = self.directory / "lock"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            refused(error, path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _folders(self, domain: str) -> Iterator[Path]:
        for folder in self.directory.glob(f"{domain}/*"):
            if PLAIN.fullmatch(folder.name) and folder.is_dir():
                yield folder

    def _find(self, version_id: str) -> Path | None:
        return next((each for each in self.directory.glob(f"*/{version_id}") if each.is_dir()), None)


class _History:
    """The events in a file, kept open: it only grows, and asking for its length costs a tenth of looking at its path.

    Whether another file has taken its place, such as a backup put back, is looked up once in a while.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        found = os.fstat(self._descriptor)
        self._length, self._mark = found.st_size, _mark(found)
        self._look = monotonic() + _LOOK
        self.events = _parse(path, os.pread(self._descriptor, found.st_size, 0))

    def changed(self) -> bool:
        if os.lseek(self._descriptor, 0, os.SEEK_END) != self._length:
            return True
        if monotonic() < self._look:
            return False
        self._look = monotonic() + _LOOK
        try:
            return _mark(os.stat(self._path)) != self._mark
        except FileNotFoundError:
            return True


def _mark(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _parse(path: str, content: bytes) -> tuple[Event, ...]:
    lines = content[: _whole(content)].splitlines()
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            events.append(Event(**{name: record[name] for name in Event._fields if name in record or name in NEEDED}))
        except (ValueError, TypeError, KeyError) as error:
            raise StateCorrupt(
                f"{path} line {number} is not an event: {line[:80]!r}.",
                field="events",
                value=line[:80].decode(errors="replace"),
                fix="Restore the file from a backup, or take that line out.",
            ) from error
    return tuple(events)


def _whole(content: bytes) -> int:
    """Length up to the last complete line: a crash may have cut the one after it."""
    return content.rfind(b"\n") + 1


def _settle(folder: Path) -> None:
    """Wait until the folder's own entries are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
