"""An HTTP server that stops politely: it ends what is under way, and tells clients to come back on a new connection."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any, NamedTuple

import uvicorn

from bondhu.errors import BondhuError
from bondhu.serve.direct import Direct
from bondhu.serve.http import Interface
from bondhu.serve.protocol import Patient
from bondhu.server.sockets import BACKLOG, most_connections
from bondhu.settings import Settings

log = logging.getLogger(__name__)
POLITE = 1.0  # seconds in which clients on open connections are told, with an answer, that these close
KEPT = 30  # seconds that a connection may stay without a request
PAUSE = 0.1  # seconds without accepting where the system does not let one
COLLECTING = (50_000, 20, 50)  # objects made, and collections of the young and of the middle-aged, to the next one
LOOK = 0.02  # seconds between looks at what is still under way


class Turns(NamedTuple):
    """What is called when a server's life takes a turn."""

    started: Callable[[], None] = lambda: None  # it answers
    stopping: Callable[[], None] = lambda: None  # it takes no connection more


class DrainingServer(uvicorn.Server):
    """Runs until `should_exit`, or until it gets SIGTERM or SIGINT; then takes no connection more, answers what is
    under way, and ends normally. A second SIGINT ends it at once."""

    def __init__(self, config: uvicorn.Config, direct: Direct | None, seconds: float, turns: Turns) -> None:
        """`direct`: the shorter way to the hot routes; `seconds`: for what is under way."""
        super().__init__(config)
        self._direct = direct
        self._seconds, self._turns = seconds, turns
        self._arriving: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the library does it, but for accepting one connection a turn of the event loop: of those that come at
        once, each process at a shared socket then takes its part."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise BondhuError("The application did not start.", fix="Its own message stands above.")
        self.servers = []
        for each in sockets or []:
            each.setblocking(False)
            self._listen(each)
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again and again would cost a sixth of each request
        gc.set_threshold(*COLLECTING)
        self.started = True
        self._turns.started()

    def _listen(self, listener: socket.socket) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):  # another process was faster, or the client left
            return
        except OSError as error:  # no open file is left, for instance: wait for some to be closed
            log.error("No connection can be accepted: %s.", error.strerror)
            loop.remove_reader(listener)
            loop.call_later(PAUSE, self._listen, listener)
            return
        connection.setblocking(False)
        arriving = loop.create_task(self._arrive(connection))
        self._arriving.add(arriving)
        arriving.add_done_callback(self._arriving.discard)

    async def _arrive(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        except OSError:  # it left before it was greeted, or does not speak TLS
            connection.close()

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        known = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        made: asyncio.Protocol = make(**known, direct=self._direct)
        return made

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new; close each connection after its next answer, idle ones a moment later; then have written
        what is waiting."""
        end = monotonic() + self._seconds
        self._turns.stopping()
        for each in sockets or []:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        state = self.server_state
        for connection in list(state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                connection.shutdown()  # closes it after the answer
        state.default_headers.append((b"connection", b"close"))  # of requests that begin from now on
        await self._until(lambda: not state.connections and not self._arriving, min(end, monotonic() + POLITE))
        for connection in list(state.connections):
            connection.shutdown()
        await self._until(lambda: not state.connections and not state.tasks, end)
        if state.tasks and not self.force_exit:
            log.error("Not finished in %g s and given up: requests, %d of them.", self._seconds, len(state.tasks))
        for task in list(state.tasks):
            task.cancel()
        if not self.force_exit:
            await self.lifespan.shutdown()

    async def _until(self, done: Callable[[], bool], end: float) -> None:
        while not done() and monotonic() < end and not self.force_exit:
            await asyncio.sleep(LOOK)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """To be told to stop is no failure: the signals are not raised again afterwards."""

        def told(number: int, _: FrameType | None) -> None:
            self.force_exit = self.should_exit and number == signal.SIGINT
            self.should_exit = True

        before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def http_server(
    served: Interface,
    settings: Settings,
    started: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
) -> DrainingServer:
    """The server of these settings: uvloop, httptools, TLS where a certificate is named. `started`: called once it
    answers; `stopping`: when it takes no connection more."""
    server = settings.server
    certificate, key = server.certificate, server.certificate_key
    config = uvicorn.Config(
        served.app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        http=Patient,
        ws="none",
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=most_connections(),
        timeout_keep_alive=KEPT,
        ssl_certfile=settings.path(certificate) if certificate else None,
        ssl_keyfile=settings.path(key) if key else None,
    )
    return DrainingServer(config, served.direct, server.drain_seconds, Turns(started, stopping))
