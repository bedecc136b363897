"""What runs beside the routes while a server is up: each until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

AGAIN = 1.0  # seconds until what did not end is cancelled once more
Work = Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def running(work: Sequence[Work]) -> AsyncIterator[None]:
    """All of it, from the start to the end of the block."""
    tasks = [asyncio.create_task(each()) for each in work]
    try:
        yield
    finally:
        while pending := [each for each in tasks if not each.done()]:
            for each in pending:  # again and again: a library may take the first for a time that has run out
                each.cancel()
            await asyncio.wait(pending, timeout=AGAIN)
