"""Notices that whoever asked has gone away, and stops what is done for them."""

from __future__ import annotations

import asyncio
from types import TracebackType

from bondhu.serve.replies import Receive


class Gone(Exception):
    """Whoever asked has closed the connection."""


class Staying:
    """`async with Staying(receive)`: the block is cancelled when the client goes, and ends with Gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._inside = True
        self._told = False  # whether the block was cancelled from here

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watch = asyncio.ensure_future(self._until_gone())
        self._watch.add_done_callback(self._gone)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._inside = False
        self._watch.cancel()
        if self._told:
            others = self._task.uncancel()  # who else wants this task to end
            if kind is not None and issubclass(kind, asyncio.CancelledError) and not others:
                raise Gone from None

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _gone(self, watch: asyncio.Future[None]) -> None:
        if self._inside and not watch.cancelled() and watch.exception() is None:
            self._told = True
            self._task.cancel()
