"""Copies of an embedded store: made while others write, checked, and put back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import apsw

from bondhu.errors import InvalidInput, StoreCorrupt, StoreError, StoreLocked, StoreTooNew
from bondhu.log.database import APPLICATION, QUERIES, Database, migrations

PAGES = 1000  # copied at a time
LOCKS = 0x40000002, 510  # where, and how many bytes: what SQLite locks of a file as long as anybody has it open

Told = Callable[[int, int], None]  # pages copied, pages in all


def nobody(_done: int, _pages: int) -> None:
    """Is told of the progress where nobody else wants to know."""


def backup(database: Database, path: Path, told: Told = nobody) -> None:
    """Write the store as it is at one moment to a new file, while others write; it is there whole and checked, or not
    at all. Raises InvalidInput where the file is there already, StoreCorrupt where the copy does not hold together."""
    _free(path)
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600, exist_ok=False)  # people are in it
        with closing(apsw.Connection(str(beside))) as copy:
            with database.reading() as connection:
                connection.execute(QUERIES["last"]).fetchall()  # nothing that is committed from here on is copied
                _copy(copy, connection, told)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file that needs nothing beside it
        check(beside)
        _flush(beside)
        try:
            path.hardlink_to(beside)  # unlike a renaming, it never replaces what somebody put there meanwhile
        except FileExistsError:
            _free(path)
        _flush(path.parent)
    except (apsw.Error, OSError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        what = f"{path} cannot be written: {why}."
        raise StoreError(what, field="path", value=str(path), fix="Mend that, or name another file.") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def restore(path: Path, store: Path, *, replace: bool = False, told: Told = nobody) -> None:
    """Put a backup in the place of the store, all or nothing. Raises what is wrong with the backup before the store is
    touched, StoreLocked where a server or anybody else has the store open, and InvalidInput where it holds rows and
    may not be replaced."""
    check(path)
    store.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not store.exists():
            store.touch(mode=0o600)  # people are in it
        with _alone(store) as target, closing(_opened(path)) as source:
            if not replace and _holds_rows(target):
                what = f"{store} holds a log already."
                raise InvalidInput(what, field="path", value=str(store), fix="Say --replace to give it up.")
            _copy(target, source, told)
    except (apsw.CorruptError, apsw.NotADBError):
        if not replace:
            what, fix = f"{store} is damaged.", "Say --replace to put it aside and restore the backup."
            raise StoreCorrupt(what, field="path", value=str(store), fix=fix) from None
        _put_aside(store)
        restore(path, store, told=told)
    except apsw.Error as error:
        raise StoreError(f"{store} cannot be written ({error}).", fix="Mend that and try again.") from error


def check(path: Path) -> int:
    """Version of the backup at `path`; raises InvalidInput, StoreCorrupt, StoreTooNew or StoreError where it is none
    that could be restored."""
    if not path.is_file():
        raise InvalidInput(f"There is no backup {path}.", field="path", value=str(path), fix="Name a file.")
    try:
        with closing(_opened(path)) as connection:
            application, version = connection.pragma("application_id"), connection.pragma("user_version")
            sound = connection.pragma("integrity_check")
    except apsw.Error as error:
        raise StoreCorrupt(f"{path} is damaged ({error}).", fix="Use another backup.") from error
    if sound != "ok":
        raise StoreCorrupt(f"{path} is damaged ({sound}).", fix="Use another backup.")
    if application != APPLICATION:
        raise StoreError(f"{path} is no backup of a log.", fix="Name a file that `bondhu backup` wrote.")
    if version > len(migrations()):
        what = f"{path} has version {version}; this release of Bondhu knows versions up to {len(migrations())}."
        raise StoreTooNew(what, value=version, fix="Upgrade Bondhu, or use an older backup.")
    return int(version)


def _opened(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def _copy(target: apsw.Connection, source: apsw.Connection, told: Told) -> None:
    """In one transaction of the target: undone where it is cut off."""
    with target.backup("main", source, "main") as copying:
        while not copying.done:
            copying.step(PAGES)
            told(copying.page_count - copying.remaining, copying.page_count)


@contextmanager
def _alone(store: Path) -> Iterator[apsw.Connection]:
    """The store, while nobody else has it open, be it only to read: nobody may come in before the block has ended."""
    with closing(apsw.Connection(str(store))) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            mode = connection.pragma("journal_mode", "delete")  # needs the file for itself, as long as it has one
            connection.execute("BEGIN EXCLUSIVE; COMMIT")
        except (apsw.BusyError, apsw.LockedError):
            mode = "wal"
        if mode != "delete":
            what = f"{store} is in use by a server or by another command."
            raise StoreLocked(what, field="path", value=str(store), fix="Stop it and try again.")
        yield connection


def _holds_rows(connection: apsw.Connection) -> bool:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if not tables:
        return False
    if connection.pragma("application_id") != APPLICATION or connection.pragma("user_version") != len(migrations()):
        return True  # another program's, or of another release: not to be lost without a word
    return bool(connection.execute(QUERIES["held"]).get)


def _put_aside(store: Path) -> None:
    """Rename a damaged store and what belongs to it: it is not ours to delete."""
    with store.open("rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCKS[1], LOCKS[0])
        except OSError:
            what = f"{store} is in use by a server or by another command."
            raise StoreLocked(what, field="path", value=str(store), fix="Stop it and try again.") from None
        aside = next(name for name in _names_aside(store) if not name.exists())
        for suffix in ("", "-wal", "-shm", "-journal"):
            beside = store.with_name(store.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))


def _names_aside(store: Path) -> Iterator[Path]:
    number = 1
    while True:
        yield store.with_name(f"{store.name}.damaged-{number}")
        number += 1


def _free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        what = f"{path} is there already."
        raise InvalidInput(what, field="path", value=str(path), fix="Name a new file: a backup replaces nothing.")


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
