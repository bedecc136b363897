"""Ways to have decisions and feedback committed before they are answered, without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from bondhu.types import Decision, Feedback

GROUP = 2_000  # rows committed together at most
MOST_WAITING = 10_000  # rows; beyond them the answer is "busy"


class Writer(Protocol):
    """Commits together whatever came in during the commit before; no timer. Rows of one request: all or none."""

    @property
    def waiting(self) -> int:
        """Rows not yet committed."""

    async def start(self) -> None:
        """On the event loop that will submit."""

    async def close(self) -> None:
        """Take nothing more, write what is waiting, stop."""

    def submit(self, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> asyncio.Future[list[Decision]]:
        """A future of the decisions as logged; raises Busy, at once, where too much is waiting or nobody writes."""
