"""One PostgreSQL database for threads: a thread with an event loop of its own keeps a few connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, NoReturn, TypeVar

from bondhu.errors import StoreError, TrainingInProgress
from bondhu.log.kept import Held
from bondhu.log.postgres.address import Address
from bondhu.log.postgres.schema import migrate
from bondhu.log.postgres.words import TO_BE_TRIED_AGAIN, UNFORESEEN, in_our_words

MOST = 8  # connections
QUICK = 10.0  # seconds after which a server that does not answer is given up
ALIVE = 3.0  # seconds in which one that holds a lock must answer
LONG = 600.0  # the same for what walks over many rows
TRIES = 5  # of a transaction that got into another one's way

# Chunks are read along an index, which has them in order: not all that follows sorted anew for each of them.
VIEWING = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; SET LOCAL idle_in_transaction_session_timeout = 0;
"""

Connection = Any  # asyncpg's, which has no types
Given = TypeVar("Given")
Work = Callable[[Connection], Awaitable[Given]]


class Database:
    """Any thread may use it. After a restart of the server it connects anew by itself."""

    def __init__(self, address: Address) -> None:
        """Connects, and brings the tables forward; raises StoreError or StoreTooNew."""
        self.address = address
        self._idle: list[Connection] = []
        self._used: set[Connection] = set()
        self._open = True
        self._slots = asyncio.Semaphore(MOST)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bondhu-postgres", daemon=True)
        self._thread.start()
        try:
            self.run(lambda connection: migrate(connection, address.name), LONG)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Reading or writing afterwards raises StoreError; what is under way is cut off."""
        if self._thread.is_alive():
            self._open = False
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _close(self) -> None:
        for connection in self._used:
            connection.terminate()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, left = await asyncio.wait(others, timeout=1)
            for task in left:  # such as those who wait for a connection
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        while self._idle:
            await parted(self._idle.pop())

    def run(self, work: Work[Given], seconds: float = QUICK) -> Given:
        """Do this with a connection, within so many seconds; a deadlock is tried again."""
        with self.in_our_words():
            return self.begin(self._run(work, seconds)).result()

    def transact(self, work: Work[Given], seconds: float = QUICK) -> Given:
        """The same in one transaction: committed when it returns, undone if it raises."""

        async def whole(connection: Connection) -> Given:
            async with connection.transaction():
                return await work(connection)

        return self.run(whole, seconds)

    @contextmanager
    def view(self) -> Iterator[View]:
        """One unchanging view of what was committed when the block began."""
        with self.in_our_words():
            view = View(self, self.begin(self._opened()).result())
            try:
                yield view
            finally:
                ended = self.begin(self._ended(view.connection))
                if threading.current_thread() is not self._thread:  # a generator may be collected anywhere
                    ended.result()

    @contextmanager
    def alone(self, name: str) -> Iterator[Held]:
        """Hold the lock of this name while the block runs, between all who use the database; raises TrainingInProgress
        at once if somebody else holds it. It goes with the process that holds it, and with its connection to the
        server: what is given says whether it is still held."""
        key = int.from_bytes(sha256(f"bondhu {name}".encode()).digest()[:8], "big", signed=True)
        with self.in_our_words():
            connection = self.begin(self._locked(key)).result()
        if connection is None:
            raise TrainingInProgress(
                "Another process is at it already.", field="lock", value=name, fix="Wait for it to finish."
            )
        try:
            yield lambda: self._holds(connection)
        finally:
            if self._open:
                self.begin(self._unlocked(connection)).result()

    def _holds(self, connection: Connection) -> bool:
        """Whether this connection lives, and with it its lock. One that does not answer is cut: if not yet, the server
        gives its lock to somebody else soon."""
        try:
            self.begin(within(ALIVE, connection, connection.execute("SELECT 1"))).result()
        except (*UNFORESEEN, StoreError, CancelledError):
            return False
        return True

    def begin(self, work: Coroutine[Any, Any, Given]) -> Future[Given]:
        """Have the loop's thread do this."""
        if not self._open:
            work.close()
            raise self._closed()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    @contextmanager
    def in_our_words(self) -> Iterator[None]:
        try:
            yield
        except CancelledError:
            raise self._closed() from None
        except AttributeError as error:  # the driver's, when the connection is cut between two of its steps
            if self._open:
                raise
            raise self._closed() from error
        except UNFORESEEN as error:
            if not self._open:
                raise self._closed() from error
            raise in_our_words(error, self.address.name) from error

    def _closed(self) -> StoreError:
        return StoreError(f"{self.address.name} has been closed.", fix="Open it again.")

    async def _run(self, work: Work[Given], seconds: float) -> Given:
        for again in reversed(range(TRIES)):
            connection = await self._borrow()
            try:
                return await within(seconds, connection, work(connection))
            except TO_BE_TRIED_AGAIN:
                if not again:
                    raise
            finally:
                self._give_back(connection)
        raise AssertionError(TRIES)

    async def _borrow(self) -> Connection:
        async with asyncio.timeout(QUICK):
            await self._slots.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    break
            else:
                connection = await self.address.connect()
            self._used.add(connection)
            return connection
        except BaseException:
            self._slots.release()
            raise

    def _give_back(self, connection: Connection) -> None:
        self._slots.release()
        self._used.discard(connection)
        if connection.is_closed():
            return
        if connection.is_in_transaction():  # left in the middle: the server undoes it
            connection.terminate()
        else:
            self._idle.append(connection)

    async def _opened(self) -> Connection:
        connection = await self._borrow()
        try:
            await within(QUICK, connection, connection.execute(VIEWING))
        except BaseException:
            connection.terminate()
            self._give_back(connection)
            raise
        return connection

    async def _ended(self, connection: Connection) -> None:
        try:
            if not connection.is_closed():
                await within(QUICK, connection, connection.execute("COMMIT"))
        finally:
            self._give_back(connection)

    async def _locked(self, key: int) -> Connection | None:
        """A connection of its own that holds the lock, or None."""
        connection = await self.address.connect()
        try:
            if await within(QUICK, connection, connection.fetchval("SELECT pg_try_advisory_lock($1)", key)):
                self._used.add(connection)
                return connection
        except BaseException:
            connection.terminate()
            raise
        await parted(connection)
        return None

    async def _unlocked(self, connection: Connection) -> None:
        self._used.discard(connection)
        await parted(connection)


class View:
    """A transaction that only reads; one statement at a time."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self.connection = connection
        self._database = database

    def begin(self, query: str, *values: Any) -> Future[tuple[Any, ...]]:
        """Start to fetch one row, while the caller does something else."""
        return self._database.begin(within(LONG, self.connection, self.connection.fetchrow(query, *values)))

    def row(self, query: str, *values: Any) -> tuple[Any, ...]:
        return self.begin(query, *values).result()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        fetched = within(LONG, self.connection, self.connection.fetch(query, *values))
        return list(map(tuple, self._database.begin(fetched).result()))


async def within(seconds: float, connection: Connection, work: Awaitable[Given]) -> Given:
    """The outcome of this work with the connection, which is cut when the server takes longer; raises TimeoutError.

    Cut and not cancelled: to cancel, the driver asks the server, and a server that hangs does not answer that either.
    """
    late = False

    def cut() -> None:
        nonlocal late
        late = True
        connection.terminate()

    timer = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        return await work
    except Exception as error:
        if late:
            _too_late(error)
        raise
    finally:
        timer.cancel()


def _too_late(error: Exception) -> NoReturn:
    raise TimeoutError from error


async def parted(connection: Connection) -> None:
    """Closed in good order, or cut where the server does not answer."""
    try:
        await connection.close(timeout=1)
    except Exception:  # it is gone either way
        connection.terminate()
