"""Hands rows to the one process that writes, over a Unix socket: one frame for all rows of a turn of the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, cast

from bondhu.errors import BondhuError, Busy
from bondhu.serve.writing import MOST_WAITING
from bondhu.serve.writing.frames import HELLO, cut, decode, of_jobs, outcome_of
from bondhu.types import Decision, Feedback

log = logging.getLogger(__name__)
MOST_BYTES = 64 << 20  # in frames that are not answered, beyond which the answer is "busy" however few the rows are
LOOK = 0.5  # seconds between looks at how long the writer has been silent
HUNG = 8.0  # seconds of silence after which it counts as gone: more than it waits for somebody else who writes
AGAIN = 0.05  # seconds between attempts to reach the writer
PATIENCE = 10.0  # seconds that a start waits for the writer; after that the server starts without it and says "busy"


class Job(NamedTuple):
    """Rows of one request, all of them or none, and who waits for them."""

    decisions: list[Decision]
    feedback: Sequence[Feedback]
    done: asyncio.Future[list[Decision]]


class Sent(NamedTuple):
    """A frame that the writer has not answered yet."""

    jobs: list[Job]
    rows: int
    size: int  # bytes
    time: float  # seconds, of the event loop's clock


class ProcessWriter:
    """Answers when the process behind the socket has committed; while there is none, everything is busy."""

    def __init__(self, path: str, limit: int = MOST_WAITING) -> None:
        self._path, self._limit = path, limit
        self._open = False
        self._loop: asyncio.AbstractEventLoop
        self._line: Line | None = None  # while the writer is there
        self._turn: list[Job] = []  # of this turn of the event loop
        self._turn_rows = 0
        self._sent: deque[Sent] = deque()
        self._bytes = 0  # sent and not answered
        self._nothing_waits = asyncio.Event()
        self._there = asyncio.Event()
        self._reaching: asyncio.Task[None]
        self.waiting = 0  # rows not yet committed

    async def start(self) -> None:
        """Reach the writer; without it, go on trying."""
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._nothing_waits.set()
        self._reaching = self._loop.create_task(self._reach())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._there.wait(), PATIENCE)

    async def close(self) -> None:
        """Take nothing more, have what is waiting written, stop."""
        if not self._open:
            return
        self._open = False
        await self._nothing_waits.wait()
        self._reaching.cancel()
        if self._line:
            self._line.hang_up()

    def submit(self, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> asyncio.Future[list[Decision]]:
        """A future of the decisions as logged; raises Busy."""
        if self._line is None or not self._open:
            if not self._open:
                raise Busy("The server is stopping.", fix="Send this to another one, or try again in a second.")
            raise away()
        if self.waiting >= self._limit or self._bytes >= MOST_BYTES:
            raise Busy(f"{self.waiting} rows are waiting to be written.", fix="Try again in a second.")
        done = self._loop.create_future()
        if not self._turn:
            self._nothing_waits.clear()
            self._loop.call_soon(self._flush)
        self._turn.append(Job(decisions, feedback, done))
        rows = len(decisions) + len(feedback)
        self._turn_rows += rows
        self.waiting += rows
        return done

    def _flush(self) -> None:
        """Send the rows of this turn."""
        jobs, rows = self._turn, self._turn_rows
        self._turn, self._turn_rows = [], 0
        if not jobs or self._line is None:  # the writer went away in this very turn, and they were told
            return
        try:
            frame = of_jobs(jobs)
        except Exception:  # a row that cannot be stored: it fails alone
            jobs = [job for job in jobs if storable(job)]
            kept = sum(len(job.decisions) + len(job.feedback) for job in jobs)
            self._settled(rows - kept)
            if not jobs:
                return
            rows, frame = kept, of_jobs(jobs)
        self._sent.append(Sent(jobs, rows, len(frame), self._loop.time()))
        self._bytes += len(frame)
        self._line.write(frame)

    def answered(self, content: bytes) -> None:
        """The oldest frame is dealt with: tell whoever waits."""
        jobs, rows, size, _ = self._sent.popleft()
        self._bytes -= size
        told = decode(content)
        if told is None:
            for decisions, _, done in jobs:
                if not done.done():
                    done.set_result(decisions)
        else:
            for job, each in zip(jobs, told, strict=True):
                outcome = outcome_of(each)
                if job.done.done():
                    continue
                if isinstance(outcome, Exception):
                    job.done.set_exception(outcome)
                else:
                    job.done.set_result(job.decisions if outcome is None else outcome)
        self._settled(rows)

    def _settled(self, rows: int) -> None:
        self.waiting -= rows
        if not self.waiting:
            self._nothing_waits.set()

    def reached(self, line: Line) -> None:
        """The writer is there, and said so."""
        self._line = line
        self._there.set()

    def lost(self, line: Line) -> None:
        """The writer is gone. What it has not answered may be stored or not: nobody is told that it is."""
        if self._line is not line:
            return
        self._line = None
        self._there.clear()
        jobs = [job for sent in self._sent for job in sent.jobs] + self._turn
        self._sent.clear()
        self._turn, self._turn_rows, self._bytes = [], 0, 0
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(away())
        self._settled(self.waiting)
        if self._open:
            log.warning("The process that writes is away; %d requests were told to try again.", len(jobs))

    async def _reach(self) -> None:
        """Connect, again whenever the connection has ended; whoever accepts says hello before it counts as there."""
        while True:
            with suppress(OSError):
                _, line = await self._loop.create_unix_connection(lambda: Line(self), self._path)
                await self._watched(line)
            await asyncio.sleep(AGAIN)

    async def _watched(self, line: Line) -> None:
        """Until the connection ends; it is ended where the writer has not answered for too long, so that whoever waits
        is told so."""
        while not line.ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(line.ended.wait(), LOOK)
            if self._sent and self._loop.time() - self._sent[0].time > HUNG:
                log.error("The process that writes has not answered for %g s.", HUNG)
                line.hang_up()


class Line(asyncio.Protocol):
    """The connection to the writer."""

    def __init__(self, writer: ProcessWriter) -> None:
        self._writer = writer
        self._transport: asyncio.Transport | None = None
        self._arrived = bytearray()
        self._greeted = False
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no class of asyncio

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        try:
            for content in cut(self._arrived):
                if self._greeted:
                    self._writer.answered(content)
                elif decode(content) == HELLO:
                    self._greeted = True
                    self._writer.reached(self)
                else:
                    raise BondhuError(f"What listens is no writer of this release: {content[:40]!r}.")
        except Exception:
            log.exception("The process that writes said something that cannot be understood.")
            self.hang_up()

    def connection_lost(self, _: Exception | None) -> None:
        self.ended.set()
        self._writer.lost(self)

    def write(self, frame: bytearray) -> None:
        assert self._transport is not None
        self._transport.write(frame)

    def hang_up(self) -> None:
        if self._transport:
            self._transport.abort()


def storable(job: Job) -> bool:
    """Whether the rows of this job can be stored; if not, whoever waits is told why."""
    try:
        of_jobs([job])
    except Exception as error:
        if not job.done.done():
            job.done.set_exception(error)
        return False
    return True


def away() -> Busy:
    """What is said while nobody writes."""
    return Busy("The process that writes is away.", fix="Send the same again in a second, with its id if it has one.")
