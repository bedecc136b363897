"""The one process that writes to an SQLite log: it commits together what all workers sent during the commit before.

It lives as long as the supervisor that started it: their socket says when to stop, and its end says that the supervisor
is gone. What it has not answered was not promised to anybody, so it may be killed at any time.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from bondhu.errors import BondhuError, StoreError
from bondhu.log.checkpoints import Checkpointer
from bondhu.log.prepared import Prepared, together
from bondhu.log.sqlite import SqliteLog
from bondhu.serve.writing import GROUP
from bondhu.serve.writing.frames import ALL_WELL, HELLO, Batch, batch_of, cut, frame, of_outcomes
from bondhu.serve.writing.groups import written

log = logging.getLogger(__name__)
READ = 1 << 18  # bytes read from a worker at a time


class Orders(msgspec.Struct, frozen=True):
    """What the supervisor says on standard input."""

    control: int  # file descriptor of the socket to the supervisor
    listener: int  # of the socket that workers connect to
    store: str  # the SQLite file


class Worker:
    """The connection to one worker."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.there = True
        self._arrived = bytearray()
        self._unsent = bytearray()
        self.say(frame(HELLO))

    def fileno(self) -> int:
        return self.connection.fileno()

    @property
    def behind(self) -> bool:
        """Whether it has not taken all answers yet."""
        return bool(self._unsent)

    def read(self) -> Iterator[Batch]:
        """What has arrived whole; marks the worker as gone at its end, or where it talks nonsense."""
        try:
            data = self.connection.recv(READ)
            self.there = bool(data)
            self._arrived += data
            for content in cut(self._arrived):
                yield batch_of(content)
        except BlockingIOError:
            return
        except OSError:
            self.there = False
        except Exception:
            log.exception("A worker sent what cannot be understood; its connection is closed.")
            self.there = False

    def say(self, answer: bytes | bytearray = b"") -> None:
        """Send as much as fits; the rest follows when the worker has read some."""
        self._unsent += answer
        try:
            del self._unsent[: self.connection.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self.there = False


class Committer:
    """Reads from all workers, commits, answers."""

    def __init__(self, store: SqliteLog, listener: socket.socket, control: socket.socket) -> None:
        self._store, self._listener, self._control = store, listener, control
        self._selector = selectors.DefaultSelector()
        self._more = True
        listener.setblocking(False)
        for each in (listener, control):
            self._selector.register(each, selectors.EVENT_READ)

    def run(self) -> None:
        """Until the supervisor says stop."""
        while self._more:
            arrived: list[tuple[Worker, Batch]] = []
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._control:
                    self._told()
                else:
                    worker = key.fileobj
                    assert isinstance(worker, Worker)
                    self._serve(worker, arrived)
            for group in grouped(arrived):
                self._commit(group)

    def close(self) -> None:
        """Hang up on all workers."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, Worker):
                key.fileobj.connection.close()
        self._selector.close()

    def _told(self) -> None:
        if not self._control.recv(64):
            os._exit(1)  # the supervisor is gone; what was not answered was not promised
        self._more = False

    def _accept(self) -> None:
        with suppress(OSError):
            worker = Worker(self._listener.accept()[0])
            self._selector.register(worker, selectors.EVENT_READ)

    def _serve(self, worker: Worker, arrived: list[tuple[Worker, Batch]]) -> None:
        if worker.behind:
            self._answer(worker, b"")
        arrived.extend((worker, batch) for batch in worker.read())
        self._let_go(worker)

    def _answer(self, worker: Worker, answer: bytes | bytearray) -> None:
        before = worker.behind
        worker.say(answer)
        if worker.there and worker.behind != before:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.behind else 0)
            self._selector.modify(worker, events)

    def _let_go(self, worker: Worker) -> None:
        if not worker.there and worker.fileno() in self._selector.get_map():
            self._selector.unregister(worker)
            worker.connection.close()

    def _commit(self, group: list[tuple[Worker, Batch]]) -> None:
        """One commit for all of it; where a row is in the way, each request for itself."""
        try:
            self._store.insert(together([batch.rows for _, batch in group]))
            answers: list[bytes | bytearray] = [ALL_WELL] * len(group)
        except Exception as error:
            answers = self._singly(group, error)
        for (worker, _), answer in zip(group, answers, strict=True):
            if worker.there:
                self._answer(worker, answer)
                self._let_go(worker)

    def _singly(self, group: list[tuple[Worker, Batch]], error: Exception) -> list[bytes | bytearray]:
        jobs = [batch.jobs() for _, batch in group]
        if isinstance(error, StoreError):
            log.error("The store cannot be written: %s", error)
            return [of_outcomes(each, [error] * len(each)) for each in jobs]
        outcomes = iter(written(self._store, [job for each in jobs for job in each]))
        return [of_outcomes(each, [next(outcomes) for _ in each]) for each in jobs]


def grouped(arrived: list[tuple[Worker, Batch]]) -> Iterator[list[tuple[Worker, Batch]]]:
    """In their order, as many at a time as are committed together."""
    group: list[tuple[Worker, Batch]] = []
    rows = 0
    for worker, batch in arrived:
        group.append((worker, batch))
        rows += size(batch.rows)
        if rows >= GROUP:
            yield group
            group, rows = [], 0
    if group:
        yield group


def size(rows: Prepared) -> int:
    return len(rows.decisions) + len(rows.feedback)


def main(orders: Orders) -> int:
    """The process: exit status 0 when it was told to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the supervisor says when: workers end first
        signal.signal(number, signal.SIG_IGN)
    control, listener = socket.socket(fileno=orders.control), socket.socket(fileno=orders.listener)
    try:
        store = SqliteLog(Path(orders.store))
    except BondhuError as error:
        print(f"The process that writes cannot start: {error}", file=sys.stderr)
        return 1
    with store, Checkpointer(store.database):
        control.sendall(b"ready")
        Committer(store, listener, control).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)))
