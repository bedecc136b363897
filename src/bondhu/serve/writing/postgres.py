"""Commits for all requests of one event loop over a PostgreSQL connection of its own."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice, repeat
from typing import NamedTuple

from bondhu.errors import BondhuError, Busy, InvalidInput
from bondhu.log.postgres.database import TRIES, Connection, parted, within
from bondhu.log.postgres.log import PostgresLog
from bondhu.log.postgres.words import TO_BE_TRIED_AGAIN, UNFORESEEN, in_our_words
from bondhu.log.postgres.writing import Group
from bondhu.log.prepared import Prepared, prepared
from bondhu.serve.writing import GROUP, MOST_WAITING
from bondhu.serve.writing.groups import written
from bondhu.types import Decision, Feedback

PATIENCE = 5.0  # seconds that a commit may take; after that its requests are told 503 and the connection is given up
AT_ONCE = 1.0  # seconds to connect anew while requests wait
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between attempts to connect; the last one again and again

AWAY = "The database cannot be written to now."  # its own words name its place, and stand in the log
log = logging.getLogger(__name__)


class Job(NamedTuple):
    """Rows of one request, all of them or none, and who waits for them."""

    decisions: list[Decision]
    feedback: Sequence[Feedback]
    done: asyncio.Future[list[Decision]]

    @property
    def size(self) -> int:
        return len(self.decisions) + len(self.feedback)


class PostgresWriter:
    """Answers when the rows are committed. While the database is away everything is busy; it comes back by itself."""

    def __init__(self, store: PostgresLog, limit: int = MOST_WAITING, patience: float = PATIENCE) -> None:
        """`patience`: seconds that a commit may take."""
        self._store, self._limit, self._patience = store, limit, patience
        self._connection: Connection | None = None
        self._queue: deque[Job] = deque()
        self._open = False
        self._away: str | None = None  # why nobody can write
        self._news: asyncio.Event
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0  # rows not yet committed

    async def start(self) -> None:
        """Connect; without the database, go on trying."""
        self._open = True
        self._news = asyncio.Event()
        with suppress(*UNFORESEEN):
            await self._connect(self._patience)
        self._task = asyncio.create_task(self._run(), name="bondhu-writer")

    async def close(self) -> None:
        """Take nothing more, write what is waiting, stop."""
        if self._task is not None and self._open:
            self._open = False
            self._news.set()
            await self._task
            if self._connection is not None:
                await parted(self._connection)

    def submit(self, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> asyncio.Future[list[Decision]]:
        """A future of the decisions as logged; raises Busy."""
        if not self._open:
            raise Busy("The server is stopping.", fix="Send this to another one, or try again in a second.")
        if self._away is not None:
            raise Busy(self._away, fix="Try again in a second.")
        if self.waiting >= self._limit:
            raise Busy(f"{self.waiting} rows are waiting to be written.", fix="Try again in a second.")
        job = Job(decisions, feedback, asyncio.get_running_loop().create_future())
        self.waiting += job.size
        self._queue.append(job)
        self._news.set()
        return job.done

    async def _run(self) -> None:
        while self._open or self._queue:
            if self._connection is None or self._connection.is_closed():
                await self._reach()
            elif self._queue:
                jobs = self._group()
                self._answer(jobs, await self._outcomes(jobs))
            else:
                self._news.clear()
                await self._news.wait()

    def _group(self) -> list[Job]:
        """What is waiting now."""
        size = count = 0
        for job in self._queue:
            if count and size + job.size > GROUP:
                break
            size, count = size + job.size, count + 1
        jobs = list(islice(self._queue, count))
        for _ in jobs:
            self._queue.popleft()
        return jobs

    async def _outcomes(self, jobs: Sequence[Job]) -> Sequence[list[Decision] | Exception]:
        """Commit the jobs together; where a row is at fault, in halves, so that none fails for another's sake."""
        try:
            made = [each for job in jobs for each in job.decisions]
            await self._commit(prepared(made, [each for job in jobs for each in job.feedback]))
            return [job.decisions for job in jobs]
        except InvalidInput:
            if len(jobs) == 1:
                return await asyncio.to_thread(written, self._store, jobs)
            half = len(jobs) // 2
            return [*await self._outcomes(jobs[:half]), *await self._outcomes(jobs[half:])]
        except UNFORESEEN as error:
            told = in_our_words(error, self._store.database.address.name)
            return [told for _ in jobs]
        except Exception as error:  # whatever it is, nobody waits for ever
            return [error for _ in jobs]

    async def _commit(self, rows: Prepared) -> None:
        group, connection = Group(rows), self._connection
        for again in reversed(range(TRIES)):
            try:
                # the server gives up first, so that the connection stays good
                await within(1.25 * self._patience, connection, group.write(connection))
                return
            except TO_BE_TRIED_AGAIN:
                if not again:
                    raise

    def _answer(self, jobs: Sequence[Job], outcomes: Sequence[list[Decision] | Exception]) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            self.waiting -= job.size
            if job.done.done():
                continue
            if isinstance(outcome, Exception):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)

    async def _reach(self) -> None:
        """Connect anew. Who waits is told 503 unless that succeeds at once; until it does, everything is busy."""
        seconds = min(AT_ONCE, self._patience)
        for pause in chain(PAUSES, repeat(PAUSES[-1])):
            try:
                await self._connect(seconds)
                break
            except UNFORESEEN as error:
                self._refuse(in_our_words(error, self._store.database.address.name))
            if not self._open:
                return
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()  # only for the end: nothing is taken meanwhile
            seconds = self._patience
        if self._away is not None:
            log.warning("Decisions and feedback can be written again.")
            self._away = None

    def _refuse(self, error: BondhuError) -> None:
        """Tell everybody who waits, and who comes."""
        if self._away is None:
            log.warning("No decision or feedback can be written: %s", error)
        self._away = AWAY
        jobs = list(self._queue)
        self._queue.clear()
        self._answer(jobs, [Busy(AWAY, fix="Try again in a second.") for _ in jobs])

    async def _connect(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            connection = await self._store.database.address.connect(statement_timeout=str(int(1000 * self._patience)))
        connection.add_termination_listener(lambda _: self._news.set())
        self._connection = connection
