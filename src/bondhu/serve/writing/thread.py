"""One thread that writes for all requests: it commits together whatever came in during the commit before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from bondhu.errors import Busy
from bondhu.ports import Log
from bondhu.serve.writing import GROUP, MOST_WAITING
from bondhu.serve.writing.groups import written
from bondhu.types import Decision, Feedback


class Job(NamedTuple):
    """Rows of one request, all of them or none, and who waits for them."""

    decisions: list[Decision]
    feedback: Sequence[Feedback]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[list[Decision]]

    @property
    def size(self) -> int:
        return len(self.decisions) + len(self.feedback)


class ThreadWriter:
    """Answers when the rows are committed to a log of this process."""

    def __init__(self, log: Log, limit: int = MOST_WAITING) -> None:
        self._log = log
        self._limit = limit
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="bondhu-writer", daemon=True)
        self._open = False
        self.waiting = 0  # rows not yet committed; counted on the event loop

    async def start(self) -> None:
        self._open = True
        self._thread.start()

    async def close(self) -> None:
        """Take nothing more, write what is waiting, stop. The event loop runs on: it hands out what is written."""
        if self._open:
            self._open = False
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    def submit(self, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> asyncio.Future[list[Decision]]:
        """A future of the decisions as logged; raises Busy."""
        if not self._open:
            raise Busy("The server is stopping.", fix="Send this to another one, or try again in a second.")
        if self.waiting >= self._limit:
            raise Busy(f"{self.waiting} rows are waiting to be written.", fix="Try again in a second.")
        loop = asyncio.get_running_loop()
        job = Job(decisions, feedback, loop, loop.create_future())
        self.waiting += job.size
        self._queue.put(job)
        return job.done

    def _run(self) -> None:
        more = True
        while more:
            first = self._queue.get()
            if first is None:
                return
            jobs, more = self._group(first)
            outcomes = written(self._log, jobs)
            for loop in {job.loop for job in jobs}:
                mine = [pair for pair in zip(jobs, outcomes, strict=True) if pair[0].loop is loop]
                loop.call_soon_threadsafe(self._answer, mine)

    def _group(self, first: Job) -> tuple[list[Job], bool]:
        """What is waiting now, and whether there can be more."""
        jobs, size = [first], first.size
        while size < GROUP:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                return jobs, False
            jobs.append(job)
            size += job.size
        return jobs, True

    def _answer(self, outcomes: Sequence[tuple[Job, list[Decision] | Exception]]) -> None:
        """On the event loop: hand each job's outcome to whoever waits for it."""
        for job, outcome in outcomes:
            self.waiting -= job.size
            if job.done.cancelled():
                continue
            if isinstance(outcome, Exception):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)
