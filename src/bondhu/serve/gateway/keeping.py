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
Make = Callable[[], Transcript]
Kept = tuple[Make, Sequence[Feedback]]  # a transcript, and what is committed with it


class Totals(NamedTuple):
    """Turns of a conversation, and what they were worth altogether."""

    turns: int = 0
    worth: float = 0.0


class Keeper:
    """Commits transcripts; those that come during one commit go together into the next."""

    def __init__(self, transcripts: Transcripts) -> None:
        self._transcripts = transcripts
        self._pool = ThreadPoolExecutor(1, "bondhu-transcripts")
        self._waiting: list[tuple[Kept, asyncio.Future[None]]] = []
        self._running: asyncio.Future[list[Exception | None]] | None = None

    def keep(self, make: Make, feedback: Sequence[Feedback]) -> asyncio.Future[None]:
        """A future of the commit of both; made in the thread, where what takes long holds up all others. Raises
        Busy."""
        if len(self._waiting) >= MOST:
            raise Busy(f"{len(self._waiting)} transcripts are waiting to be written.", fix="Try again in a second.")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((make, feedback), done))
        if self._running is None:
            self._begin()
        return done

    async def close(self) -> None:
        """Write what is waiting, stop."""
        while self._running is not None:
            await asyncio.wait([self._running])
            await asyncio.sleep(0)
        self._pool.shutdown(wait=False)

    def _begin(self) -> None:
        group, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._pool, self._kept, [kept for kept, _ in group])
        self._running.add_done_callback(lambda done: self._ended(group, done.result()))

    def _kept(self, group: Sequence[Kept]) -> list[Exception | None]:
        """What went wrong with each."""
        try:
            self._transcripts.keep([make() for make, _ in group], [said for _, feedback in group for said in feedback])
        except Exception as error:
            if len(group) == 1 or isinstance(error, StoreError):
                return [error] * len(group)
            return [self._kept([each])[0] for each in group]
        return [None] * len(group)

    def _ended(self, group: Sequence[tuple[Kept, asyncio.Future[None]]], errors: Sequence[Exception | None]) -> None:
        self._running = None
        if self._waiting:
            self._begin()
        for (_, done), error in zip(group, errors, strict=True):
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
