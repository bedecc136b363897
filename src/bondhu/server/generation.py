"""The processes that serve one reading of the settings: those that write, those that answer, who keeps the schedule,
who shows pages.

Each generation has sockets of its own between its workers and its writers, in a folder that nobody else may enter, so
that an old and a new release need not understand each other while one takes over from the other.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bondhu.server.child import Child
from bondhu.server.plan import Folder, Plan
from bondhu.server.sockets import for_workers, own_folder

log = logging.getLogger(__name__)
FIRST, LONGEST = 0.1, 5.0  # seconds before a process is started again, doubled each time
STEADY = 10.0  # seconds that a process has to run before it counts as well
STARTING = 120.0  # seconds that a process may take to get ready
TRIES = 5  # starts in a row that did not get ready, before nothing more is expected
SPARING = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1048576"}  # glibc then gives back what is free
MARGIN = 5.0  # seconds beyond the draining time before what is left is killed


@dataclass
class Place:
    """Where one process stands, and the next one after it."""

    name: str  # for messages
    start: Callable[[], Child]
    child: Child | None = None
    ready: bool = False
    in_vain: int = 0  # starts in a row that did not get ready
    short: int = 0  # lives in a row that were short
    begun: float = 0.0  # seconds of the monotonic clock
    again: float = 0.0

    def tend(self, now: float, *, stopping: bool) -> None:
        """Start the process where there is none, unless all is ending; notice what became of it."""
        if self.child is None:
            if stopping or now < self.again:
                return
            self.child, self.begun = self.start(), now
        status = self.child.look()
        self.ready = self.child.ready and status is None
        if status is not None:
            self._ended(status, now, stopping=stopping)
        elif self.ready:
            self.in_vain = 0
        elif now - self.begun > STARTING:
            log.error("The %s did not get ready in %g s and is killed.", self.name, STARTING)
            self.child.kill()

    def _ended(self, status: int, now: float, *, stopping: bool) -> None:
        assert self.child is not None
        was_ready = self.child.ready
        self.child.close()
        self.child = None
        if stopping:
            return
        self.in_vain = 0 if was_ready else self.in_vain + 1
        self.short = self.short + 1 if now - self.begun < STEADY else 0
        self.again = now + (min(LONGEST, FIRST * 2.0 ** (self.short - 1)) if self.short else 0.0)
        if was_ready:
            log.warning("The %s ended with status %d; it is started again.", self.name, status)


def shower(folders: Sequence[Folder], shared: Path, workers: int) -> Place:
    """The process that shows pages, for the workers that share a folder. Without it decisions go on."""
    orders = {"folders": folders, "shared": str(shared), "workers": workers}
    return Place("process that shows pages", lambda: Child("bondhu.server.showing", orders, [], SPARING))


class Generation:
    """All processes of one plan."""

    def __init__(self, plan: Plan, listener: socket.socket) -> None:
        self._plan = plan
        self._held = own_folder()
        self._folder = self._held.path
        self._inner: list[socket.socket] = []
        paths = [self._folder / str(number) if store else None for number, store in enumerate(plan.stores)]
        self.writers = [
            self._writer(path, store) for path, store in zip(paths, plan.stores, strict=True) if path and store
        ]
        orders = {
            "listener": listener.fileno(),
            "folders": plan.folders,
            "writers": [str(path) if path else None for path in paths],
            "workers": plan.workers,
            "shared": str(self._folder),
        }
        self.workers = [self._worker({**orders, "own": own}) for own in range(plan.workers)]
        kept = {"folders": plan.folders}
        keeper = Place("keeper of the schedule", lambda: Child("bondhu.server.keeper", kept, []))
        self.keepers = [keeper] if plan.keeper else []
        self.showers = [shower(plan.folders, self._folder, plan.workers)] if plan.pages else []
        self._open = False  # whether a worker of it was ready once
        self._complete = False  # whether all of it was
        self._end: float | None = None  # when what is left is killed
        self.killed = False  # whether a process that writes or answers did not end in time

    def _worker(self, orders: Mapping[str, Any]) -> Place:
        inherited = [orders["listener"]]
        return Place(f"worker {orders['own'] + 1}", lambda: Child("bondhu.server.worker", orders, inherited))

    def _writer(self, path: Path, store: str) -> Place:
        inner = for_workers(path)
        self._inner.append(inner)
        orders = {"listener": inner.fileno(), "store": store}
        return Place("process that writes", lambda: Child("bondhu.serve.writing.committer", orders, [inner.fileno()]))

    @property
    def ready(self) -> bool:
        """Whether all that write and answer are, or were at one time."""
        return self._complete

    @property
    def hopeless(self) -> Place | None:
        """A process that cannot start and without which there is no service."""
        needed = self.writers + self.workers
        if not self._complete:
            return next((each for each in needed if each.in_vain), None)
        if any(each.ready for each in self.workers):
            needed = self.writers
        return next((each for each in needed if each.in_vain >= TRIES), None)

    @property
    def gone(self) -> bool:
        return all(each.child is None for each in self._all())

    def children(self) -> Iterator[Child]:
        return (each.child for each in self._all() if each.child is not None)

    def _all(self) -> list[Place]:
        return [*self.writers, *self.workers, *self.keepers, *self.showers]

    def tend(self, now: float) -> None:
        """Whatever is to be done now; to be called often. The first worker is the scout: where it cannot start, the
        others need not fail as well."""
        stopping = self._end is not None
        for each in self._all() if self._open or stopping else [*self.writers, *self.workers[:1]]:
            each.tend(now, stopping=stopping)
        self._open = self._open or self.workers[0].ready
        self._complete = self._complete or all(each.ready for each in self.writers + self.workers)
        if self._end is None:
            return
        if all(each.child is None for each in self.workers):
            self._tell(self.writers)
        if now > self._end:
            self.killed = self.killed or any(each.child for each in self.writers + self.workers)
            self.kill()

    def stop(self, now: float) -> None:
        """Let workers finish what is under way; who writes ends after them."""
        if self._end is None:
            self._end = now + self._plan.drain_seconds + MARGIN
            self._tell(self.workers + self.keepers + self.showers)

    def _tell(self, places: list[Place]) -> None:
        for each in places:
            if each.child is not None:
                each.child.stop()

    def kill(self) -> None:
        """End all of it at once."""
        self._end = 0.0
        for each in self._all():
            if each.child is not None:
                each.child.kill()

    def close(self) -> None:
        """After all of it is gone."""
        for each in self._inner:
            each.close()
        self._held.close()
