"""Moves what was committed from the write-ahead log into the file while others write.

SQLite by itself does so inside a commit, once the write-ahead log has a thousand pages: that commit then takes as long
as all those pages do. A server has it done by a thread with a connection of its own; the writer only finishes a short
tail, so that the write-ahead log begins again at its start.
"""

from __future__ import annotations

import logging
from threading import Event, Thread
from types import TracebackType

import apsw

from bondhu.log.database import Database

EVERY = 0.1  # seconds

logger = logging.getLogger(__name__)


class Checkpointer:
    """Runs while the `with` block does, or from `start` to `close`. For servers; commands that end soon need none."""

    def __init__(self, database: Database, every: float = EVERY) -> None:
        """`every`: seconds between two looks."""
        self._database = database
        self._every = every
        self._stop = Event()
        self._thread = Thread(target=self._run, name="checkpointer", daemon=True)

    def start(self) -> None:
        self._database.tail_only(True)
        self._thread.start()

    def close(self) -> None:
        """SQLite checkpoints inside of commits again."""
        self._stop.set()
        self._thread.join()
        self._database.tail_only(False)

    def __enter__(self) -> Checkpointer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        connection = self._database.connect()
        try:
            connection.set_busy_timeout(0)
            done = -1
            while not self._stop.wait(self._every):
                commits = self._database.commits
                if commits != done and self._checkpoint(connection):
                    done = commits
        finally:
            connection.close()

    def _checkpoint(self, connection: apsw.Connection) -> bool:
        """Whether it went well; where it did not, the commits are safe in the write-ahead log until the next look."""
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:  # somebody else is at it
            return False
        except apsw.Error as error:
            logger.warning("The write-ahead log of %s cannot be moved into the file: %s", self._database.path, error)
            return False
        return True
