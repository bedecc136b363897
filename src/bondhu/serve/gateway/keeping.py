"""Commits what is kept of conversations: in a thread, many together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bondhu.errors import Busy, StoreError
from bondhu.ports import Transcript, Transcripts
from bondhu.types import Feedback

MOST = 10_000  # transcripts that wait to be written


class Keeping(NamedTuple):
    """A transcript, what is committed with it, and who is told then, on the event loop: None, or what went wrong."""

    make: Callable[[], Transcript]  # called in the thread: what takes long would hold up all others
    feedback: Sequence[Feedback]
    tell: Callable[[Exception | None], None]


class Totals(NamedTuple):
    """Turns of a conversation, and what they were worth altogether."""

    turns: int = 0
    worth: float = 0.0


class Keeper:
    """Commits transcripts; those that come during one commit go together into the next.

    From the thread to whoever waits is one turn of the event loop: each more would cost what all other answers have to
    do in one.
    """

    def __init__(self, transcripts: Transcripts) -> None:
        self._transcripts = transcripts
        self._pool = ThreadPoolExecutor(1, "bondhu-transcripts")
        self._waiting: list[Keeping] = []
        self._running: asyncio.Future[None] | None = None  # done when a commit has ended

    def keep(self, keeping: Keeping) -> None:
        """Have it committed. Raises Busy."""
        if len(self._waiting) >= MOST:
            raise Busy(f"{len(self._waiting)} transcripts are waiting to be written.", fix="Try again in a second.")
        self._waiting.append(keeping)
        if self._running is None:
            self._begin()

    async def close(self) -> None:
        """Write what is waiting, stop."""
        while self._running is not None:
            await asyncio.wait([self._running])
        self._pool.shutdown(wait=False)

    def _begin(self) -> None:
        group, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        self._running = loop.create_future()
        self._pool.submit(self._keep, group, loop)

    def _keep(self, group: Sequence[Keeping], loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._ended, group, self._kept(group))

    def _kept(self, group: Sequence[Keeping]) -> list[Exception | None]:
        """What went wrong with each."""
        try:
            self._transcripts.keep([each.make() for each in group], [said for each in group for said in each.feedback])
        except Exception as error:
            if len(group) == 1 or isinstance(error, StoreError):
                return [error] * len(group)
            return [self._kept([each])[0] for each in group]
        return [None] * len(group)

    def _ended(self, group: Sequence[Keeping], errors: Sequence[Exception | None]) -> None:
        ended, self._running = self._running, None
        if self._waiting:
            self._begin()
        for each, error in zip(group, errors, strict=True):
            each.tell(error)
        if ended is not None:
            ended.set_result(None)
