"""Starts the processes of a server, starts them again when they fall, and ends with them.

It has one thread and no event loop, holds no store open and reads no request, so that there is next to nothing in it
that can fail. SIGTERM and SIGINT drain; SIGHUP replaces every process by one that has read the settings anew, without a
break: the new ones listen at the same socket before the old ones stop.
"""

from __future__ import annotations

import logging
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from bondhu.errors import BondhuError
from bondhu.server.generation import Generation
from bondhu.server.plan import Plan

log = logging.getLogger(__name__)
LOOK = 0.2  # seconds between looks when nothing happens


class Supervisor:
    """Of one server."""

    def __init__(
        self, plan: Plan, listener: socket.socket, anew: Callable[[], Plan | None], opened: Callable[[], None]
    ) -> None:
        """`anew`: reads and checks the settings again, None where they are refused; `opened`: called when the first
        generation answers."""
        self._listener, self._anew, self._opened = listener, anew, opened
        self._current = Generation(plan, listener)
        self._next: Generation | None = None
        self._old: list[Generation] = []
        self._stopping = self._reload = self._announced = False

    def run(self) -> None:
        """Until told to stop and all is drained; raises BondhuError where a process cannot start at all, or had to be
        killed."""
        with self._signals() as woken:
            try:
                while self._tend(monotonic()):
                    lines = [child.fileno() for each in self._generations() for child in each.children()]
                    select.select([woken.fileno(), *lines], [], [], LOOK)
                    with suppress(BlockingIOError):
                        woken.recv(4096)
            finally:
                self._kill()

    def _generations(self) -> list[Generation]:
        return [*self._old, self._current, *([self._next] if self._next else [])]

    def _tend(self, now: float) -> bool:
        """Whatever is to be done now; whether there is more to come."""
        for each in self._generations():
            each.tend(now)
        for each in [each for each in self._old if each.gone]:
            each.close()
            self._old.remove(each)
        if self._stopping:
            return self._stop(now)
        if failed := self._current.hopeless:
            raise BondhuError(f"The {failed.name} cannot start.", fix="Its own message stands above: mend that.")
        if self._current.ready and not self._announced:
            self._announced = True
            self._opened()
        if self._next is not None:
            self._take_over(now)
        elif self._reload:
            self._begin_anew()
        return True

    def _begin_anew(self) -> None:
        self._reload = False
        plan = self._anew()
        if plan is None:
            log.error("The new settings are refused; the server goes on with the old ones.")
        else:
            self._next = Generation(plan, self._listener)

    def _take_over(self, now: float) -> None:
        """The new generation in the place of the old one, once all of it is ready."""
        assert self._next is not None
        if self._next.hopeless:
            log.error("The server cannot start anew; it goes on as it was.")
            self._next.kill()
            self._old.append(self._next)
            self._next = None
        elif self._next.ready:
            self._current.stop(now)
            self._old.append(self._current)
            self._current, self._next = self._next, None
            log.warning("The server was reloaded.")

    def _stop(self, now: float) -> bool:
        """Drain everything; whether there is something left."""
        self._listener.close()
        for each in self._generations():
            each.stop(now)
        if not all(each.gone for each in self._generations()):
            return True
        if any(each.killed for each in self._generations()):
            raise BondhuError("A process did not end in time and was killed.", fix="Raise [server] drain_seconds.")
        return False

    def _kill(self) -> None:
        """Whatever is left, however it came to that."""
        for each in self._generations():
            each.kill()
        while not all(each.gone for each in self._generations()):
            for each in self._generations():
                each.tend(monotonic())
            select.select([], [], [], LOOK / 10)
        for each in self._generations():
            each.close()

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """A socket that can be read from when a signal came."""

        def stop(*_: object) -> None:
            self._stopping = True

        def reload(*_: object) -> None:
            self._reload = True

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload, signal.SIGCHLD: lambda *_: None}
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        waking = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(waking)
            for number, handler in before.items():
                signal.signal(number, handler)
            woken.close()
            waker.close()
