"""One SQLite file shared by threads and processes: opening, migrations, transactions, and errors in our own words."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from threading import Lock
from types import TracebackType

import apsw

from bondhu.errors import SettingsInvalid, StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreTooNew

HERE = files("bondhu.log")
NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)
QUERIES = {name: text.strip() for name, text in NAMED.findall(HERE.joinpath("queries.sql").read_text("utf-8"))}

APPLICATION = 0x626F6E64  # "bond", in the file's header: a file of some other program is not ours to change
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OLDEST = (3, 51, 3)  # SQLite before it can damage a write-ahead log that two connections reset at once
SHORT = 1000  # pages of the write-ahead log, beyond which the writer finishes what a Checkpointer has left
GIVING_BACK = "PRAGMA auto_vacuum = INCREMENTAL"  # free pages can be given back a few at a time
READ_ONLY = "PRAGMA query_only = ON"
STEP = 512  # pages given back at a time, so that others who write wait for milliseconds


def migrations() -> list[str]:
    """The scripts in order; a store at version n has had the first n."""
    folder = HERE.joinpath("migrations")
    return [each.read_text("utf-8") for each in sorted(folder.iterdir(), key=lambda each: each.name)]


def _check_library() -> None:
    """Raises SettingsInvalid where the SQLite that apsw brings along is too old to be trusted with a log."""
    found = apsw.sqlite_lib_version()
    if tuple(map(int, found.split("."))) < OLDEST:
        least = ".".join(map(str, OLDEST))
        what = f"apsw brings SQLite {found} along, which can damage a store that is written and read at once."
        raise SettingsInvalid(what, value=found, fix=f"Install apsw {least} or later, with its own SQLite.")


class Database:
    """Any thread may read and write: writers take turns, readers see the last commit and wait for nobody."""

    def __init__(self, path: str | Path, timeout: float = 5.0) -> None:
        """`timeout`: seconds to wait for another process that is writing."""
        self.path = Path(path)
        self._timeout = timeout
        self._turn = Lock()
        self._idle: list[apsw.Connection] = []
        self._open = True
        self._writable = True
        self.commits = 0  # transactions written so far through this object
        self._pages = 0  # of the write-ahead log, where a Checkpointer is at work
        self._next_tail = SHORT
        _check_library()
        with self._in_our_words():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.path.touch(mode=0o600, exist_ok=False)  # people are in it; what SQLite puts beside it is alike
            self._writer = self.connect()
            try:
                self._migrate(self._writer)
            except BaseException:
                self._writer.close()
                raise

    def only_read(self) -> None:
        """From now on whoever writes through this object gets StoreError."""
        self._writable = False
        with self.maintaining() as connection:
            for each in [connection, *self._idle]:
                each.execute(READ_ONLY)

    def close(self) -> None:
        """Reading or writing afterwards raises StoreError."""
        with self._turn:
            self._open = False
            while self._idle:
                self._idle.pop().close()
            self._writer.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """One transaction: on disk when the block has ended, undone if it raises."""
        with self._turn, self._in_our_words():
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has undone it already
                    connection.execute("ROLLBACK")
                raise
            self.commits += 1
            if self._pages > self._next_tail:
                self._finish_tail()

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """One unchanging view of what was committed when the block began."""
        with self._in_our_words():
            if not self._open:
                raise apsw.ConnectionClosedError
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self.connect()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")
                self._idle.append(connection)

    @contextmanager
    def maintaining(self) -> Iterator[apsw.Connection]:
        """The writer's connection outside of a transaction, while nobody else writes through this object."""
        with self._turn, self._in_our_words():
            yield self._writer

    def give_back(self) -> None:
        """Return free pages to the disk, a few at a time, so that others can write in between. A store made before that
        was possible is rewritten once, when a quarter of it is free; until then new rows fill its free pages."""
        while True:
            with self.maintaining() as connection:
                free, pages = connection.pragma("freelist_count"), connection.pragma("page_count")
                in_steps = connection.pragma("auto_vacuum") != 0
                if not in_steps and 4 * free > pages:
                    connection.execute(f"{GIVING_BACK}; VACUUM")
                if not in_steps or free == 0:
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)  # the file shrinks here
                    return
                connection.execute(f"PRAGMA incremental_vacuum({STEP})").fetchall()

    def rewrite(self) -> None:
        """Write the whole file anew and empty the write-ahead log, so that no byte of a deleted row is left: not in
        free pages, nor in the gaps that remain in a page when its rows are moved. Others who write wait meanwhile.
        Raises StoreLocked where somebody reads an older state, or writes, for longer than the timeout."""
        with self.maintaining() as connection:
            try:
                connection.execute(f"{GIVING_BACK}; VACUUM")
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except (apsw.BusyError, apsw.LockedError) as error:
                what = f"Somebody has been using {self.path} for more than {self._timeout:g} s: what was deleted is "
                what += "gone from the log, but not yet from every byte of the file."
                raise StoreLocked(what, fix="Do it again when they have ended.") from error

    def tail_only(self, on: bool) -> None:
        """Whether a Checkpointer is at work, so that a commit need not checkpoint but for a short tail."""
        with self.maintaining() as connection:
            self._pages, self._next_tail = 0, SHORT
            if on:
                connection.set_wal_hook(self._grown)
            else:
                connection.wal_autocheckpoint(SHORT)

    def _grown(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._pages:
            self._next_tail = SHORT
        self._pages = pages
        return apsw.SQLITE_OK

    def _finish_tail(self) -> None:
        """Move the rest into the file, so that the next commit begins the write-ahead log anew. Where somebody reads an
        older state it cannot be: it is tried again later. The commit is safe either way, so nothing is raised."""
        try:
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return  # the Checkpointer is at it: the next commit looks again
        except apsw.Error:
            pass
        self._next_tail = self._pages + SHORT // 4

    def connect(self) -> apsw.Connection:
        """A connection of one's own, for one who closes it."""
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(int(self._timeout * 1000))
        if not self.path.exists() or not self.path.stat().st_size:
            connection.execute(GIVING_BACK)  # only a file that is empty, or rewritten, takes it up
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")  # KiB
        if not self._writable:
            connection.execute(READ_ONLY)
        return connection

    def _migrate(self, connection: apsw.Connection) -> None:
        scripts = migrations()
        connection.execute("BEGIN IMMEDIATE")
        version = connection.pragma("user_version")
        application = connection.pragma("application_id")
        if application != APPLICATION and (version or connection.pragma("schema_version")):
            raise StoreError(f"{self.path} is another program's SQLite file.", fix="Name a new file for the log.")
        if version > len(scripts):
            raise StoreTooNew(
                f"{self.path} has version {version}; this release of Bondhu knows versions up to {len(scripts)}.",
                value=version,
                fix="Upgrade Bondhu, or restore an older backup.",
            )
        for script in scripts[version:]:
            connection.execute(script)
        if version < len(scripts):
            connection.execute(f"PRAGMA user_version = {len(scripts)}; PRAGMA application_id = {APPLICATION}")
        connection.execute("COMMIT")

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (apsw.BusyError, apsw.LockedError) as error:
            raise StoreLocked(
                f"Another process has been writing to {self.path} for more than {self._timeout:g} s.",
                fix="Try again, or stop the other process.",
            ) from error
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise StoreCorrupt(
                f"{self.path} is damaged ({error}).", fix="Restore it from a backup; do not delete it."
            ) from error
        except apsw.ConnectionClosedError as error:
            raise StoreError(f"{self.path} has been closed.", fix="Open it again.") from error
        except (apsw.Error, OSError) as error:
            if isinstance(error, apsw.FullError) or self._errno(error) in NO_ROOM:
                raise StoreFull(
                    f"No room on the disk of {self.path}: this was not stored, everything before it is safe.",
                    fix="Free some space and send it again.",
                ) from error
            raise StoreError(f"{self.path} cannot be used ({error}).", fix="Mend that and try again.") from error

    def _errno(self, error: apsw.Error | OSError) -> int | None:
        if isinstance(error, apsw.IOError):
            return self._writer.system_errno
        return error.errno if isinstance(error, OSError) else None
