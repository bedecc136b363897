"""A writer that remembers whether the last rows could be stored: what readiness asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bondhu.errors import Busy, StoreError
from bondhu.serve.writing import Writer
from bondhu.types import Decision, Feedback

LASTING = 5.0  # seconds; afterwards requests are to come again, or nobody would find out that all is well


class Remembering:
    """Submits through another writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._trouble: tuple[float, StoreError] | None = None  # when, in seconds of the event loop's clock

    @property
    def trouble(self) -> StoreError | None:
        """What kept rows from being stored a moment ago, where none were stored since."""
        if self._trouble and asyncio.get_running_loop().time() - self._trouble[0] < LASTING:
            return self._trouble[1]
        return None

    def submit(self, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> asyncio.Future[list[Decision]]:
        """As the writer's."""
        done = self._writer.submit(decisions, feedback)
        done.add_done_callback(self._note)
        return done

    def _note(self, done: asyncio.Future[list[Decision]]) -> None:
        """A full queue passes, and a row at fault says nothing of the store."""
        error = None if done.cancelled() else done.exception()
        if error is None:
            self._trouble = None
        elif isinstance(error, StoreError) and not isinstance(error, Busy):
            self._trouble = done.get_loop().time(), error
