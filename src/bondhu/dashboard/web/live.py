"""Tells browsers that what they show has changed: one look a second for all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import msgspec

from bondhu.dashboard.page import Desk
from bondhu.errors import BondhuError

log = logging.getLogger(__name__)
LOOK = 1.0  # seconds between two looks
KEEP = 15.0  # seconds after which something is said, so that nobody on the way takes the connection for dead
AGAIN = 2000  # milliseconds that a browser waits before it connects again


class Watch:
    """Counts the changes of what pages are drawn from."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: tuple[object, ...] | None = None
        self._complained = ""
        self._next = asyncio.Event()
        self.generation = int(time.time() * 1000)  # above that of every process before, whose browsers come here next
        self.ended = False
        self.listeners = 0

    async def work(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Look now; a store that cannot be read changes nothing."""
        try:
            seen = await asyncio.to_thread(seen_of, self._desk)
        except BondhuError as error:
            if str(error) != self._complained:
                log.error("It cannot be seen whether anything has changed: %s", error)
            self._complained = str(error)
            return
        self._complained = ""
        if seen != self._seen:
            self._seen = seen
            self.generation += 1
            self._wake()

    def end(self) -> None:
        """Nobody is told any more."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def told(self, admitted: Callable[[], bool], since: int | None = None) -> AsyncIterator[bytes]:
        """What one browser is sent. `admitted`: whether it still may look; `since`: the last change that it knows."""
        self.listeners += 1
        try:
            yield b"retry: %d\n\n" % AGAIN
            known = self.generation if since is None else since
            while not self.ended and admitted():
                if known == self.generation:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._next.wait(), KEEP)
                    if known == self.generation and not self.ended:
                        yield b": still here\n\n"
                else:
                    known = self.generation
                    yield changed(known)
        finally:
            self.listeners -= 1


def changed(generation: int) -> bytes:
    """One event."""
    told = msgspec.json.encode({"generation": generation})
    return b"id: %d\nevent: changed\ndata: %b\n\n" % (generation, told)


def seen_of(desk: Desk) -> tuple[object, ...]:
    """What differs whenever a page might; raises BondhuError."""
    app, tasks = desk.app, desk.app.tasks
    latest = tuple(each.executed_at for name in tasks.names() for each in tasks.recent(name, 1))
    return desk.decisions.sheet().generation, len(app.events()), latest, desk.errands.generation
