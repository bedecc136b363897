"""One SQLite file shared by threads and processes: opening, migrations, transactions, and errors in our own words."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from threading import Lock
from types import TracebackType

import apsw

from bondhu.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreTooNew

HERE = files("bondhu.log")
NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)
QUERIES = {name: text.strip() for name, text in NAMED.findall(HERE.joinpath("queries.sql").read_text("utf-8"))}

APPLICATION = 0x626F6E64  # "bond", in the file's header: a file of some other program is not ours to change
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def migrations() -> list[str]:
    """The scripts in order; a store at version n has had the first n."""
    folder = HERE.joinpath("migrations")
    return [each.read_text("utf-8") for each in sorted(folder.iterdir(), key=lambda each: each.name)]


class Database:
    """Any thread may read and write: writers take turns, readers see the last commit and wait for nobody."""

    def __init__(self, path: str | Path, timeout: float = 5.0) -> None:
        """`timeout`: seconds to wait for another process that is writing."""
        self.path = Path(path)
        self._timeout = timeout
        self._turn = Lock()
        self._idle: list[apsw.Connection] = []
        self._open = True
        with self._in_our_words():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            try:
                self._migrate(self._writer)
            except BaseException:
                self._writer.close()
                raise

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

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """One unchanging view of what was committed when the block began."""
        with self._in_our_words():
            if not self._open:
                raise apsw.ConnectionClosedError
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")
                self._idle.append(connection)

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(int(self._timeout * 1000))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")  # KiB
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
