"""One process beside a server that is a process itself: a thread starts it again when it falls, and ends it."""

from __future__ import annotations

import threading
from time import monotonic, sleep
from types import TracebackType

from bondhu.server.generation import MARGIN, Place

LOOK = 0.2  # seconds between looks at how it is


class Tended:
    """A process that is there from `start` to `stop`, or to the end of the block."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="bondhu-tending", daemon=True)

    def __enter__(self) -> Tended:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Returns when it is gone."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tell it to end, without waiting for that; what does not is killed in a while."""
        self._stopping.set()

    def _tend(self) -> None:
        while not self._stopping.wait(LOOK):
            self._place.tend(monotonic(), stopping=False)
        end = monotonic() + MARGIN
        if self._place.child is not None:
            self._place.child.stop()
        while self._place.child is not None:
            if monotonic() > end:
                self._place.child.kill()
            self._place.tend(monotonic(), stopping=True)
            sleep(LOOK / 10)
