"""How a connection is treated around its requests: headers that are too long or too slow end it, and nobody is answered
faster than they read.

ASGI begins where the headers are whole, and uvicorn waits for them for ever and takes any amount of them. It also takes
any number of requests that are sent without waiting, and answers them whether or not somebody reads the answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from bondhu.serve.direct import Direct
from bondhu.serve.messages import Problem
from bondhu.serve.replies import GUARDED, Application, Message, Receive, Send, encode

LARGEST_HEAD = 32 * 1024  # bytes of a request line with its headers
HEAD_SECONDS = 10.0  # for them to arrive whole
MOST_WAITING = 64  # requests that wait for the answer to the one before; above that nothing more is read
SLICE = 4096  # bytes that are looked at before the waiting requests are counted again
UNREAD_SECONDS = 30.0  # that somebody may leave so many answers unread that no more fit
LINGER_SECONDS = 1.0  # for the rest of a body that nobody wants, before the answer closes the connection


_own: tuple[list[tuple[bytes, bytes]], int, bytes] = [], 0, b""  # the last headers that were joined


def joined(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The server's own headers as bytes: another list each second, since it holds the time, or one more in it."""
    global _own  # noqa: PLW0603  of all connections
    if headers is not _own[0] or len(headers) != _own[1]:
        _own = headers, len(headers), b"".join([b"%b: %b\r\n" % header for header in headers])
    return _own[2]


def draining(cycle: RequestResponseCycle) -> bool:
    """Whether the server takes leave of every connection (`server.draining`)."""
    return bool(cycle.default_headers) and cycle.default_headers[-1][0] == b"connection"


class Flow(FlowControl):
    """uvicorn's, which requests under way resume as well: while it is shut, they do not."""

    shut = False

    def resume_reading(self) -> None:
        if not self.shut and not self._transport.is_closing():
            super().resume_reading()


async def lingering(
    cycle: RequestResponseCycle, app: Application, scope: Message, receive: Receive, send: Send
) -> None:
    """Run the application. An answer that comes before the body is whole closes the connection: otherwise whoever sent
    the request could keep it open with single bytes for ever. The rest has a moment to arrive, as a client that still
    sends could lose the answer when the connection closes."""

    async def answer(message: Message) -> None:
        if cycle.more_body and not cycle.response_started:
            if not cycle.waiting_for_100_continue and (b"connection", b"close") not in message.get("headers", ()):
                await _rest(cycle)
            cycle.keep_alive = cycle.keep_alive and not cycle.more_body
        await send(message)

    await app(scope, receive, answer if cycle.more_body else send)


async def _rest(cycle: RequestResponseCycle) -> None:
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while cycle.more_body and not cycle.disconnected:
                await cycle.receive()
    except TimeoutError:
        pass


class Patient(HttpToolsProtocol):
    """uvicorn's protocol with an end to its patience; `http=Patient` in its configuration."""

    largest_head = LARGEST_HEAD
    head_seconds = HEAD_SECONDS
    unread_seconds = UNREAD_SECONDS

    def __init__(self, *given: Any, direct: Direct | None = None, **named: Any) -> None:
        """`direct`: who answers plain requests to the hot routes, where somebody does."""
        super().__init__(*given, **named)
        self._direct = direct
        self._later: RequestResponseCycle | None = None  # a plain request whose body has not been read yet
        self._begun = False  # whether a request has begun whose headers are not whole
        self._fresh = False  # whether it began in the piece that is looked at
        self._head = 0  # bytes of it, those of its first piece aside
        self._timer: asyncio.TimerHandle | None = None
        self._asked: RequestResponseCycle | None = None  # the request under way, or the last one
        self._held = False  # whether the next request waits, though the one before is answered
        self._unfed: deque[bytes] = deque()  # pieces that came and were not looked at, as too many requests wait
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._gone()
        super().connection_lost(exc)
        if self._unread is not None:
            self._unread.cancel()

    def data_received(self, data: bytes) -> None:
        if len(data) <= SLICE and not self._unfed:
            self._take(data)
        else:
            self._unfed.extend(data[place : place + SLICE] for place in range(0, len(data), SLICE))
            self._feed()
        if self._later is not None:  # the rest of its body comes in its own time, which is watched on the long way
            self._in_its_own_time()

    def _feed(self) -> None:
        """Look at what has come, while not too many requests wait."""
        while self._unfed and len(self.pipeline) < MOST_WAITING and not self.transport.is_closing():
            self._take(self._unfed.popleft())
        self._shut(bool(self._unfed))

    def _shut(self, shut: bool) -> None:
        assert isinstance(self.flow, Flow)
        self.flow.shut = shut
        if shut and not self.transport.is_closing():
            self.flow.pause_reading()

    def _take(self, piece: bytes) -> None:
        self._fresh = False
        super().data_received(piece)
        if self._begun:  # otherwise the headers are whole already, as they are nearly always
            self._head = 0 if self._fresh else self._head + len(piece)
            if self._timer is None:
                self._wait()
            if self._head > self.largest_head and not self.transport.is_closing():
                self._refuse(431, "Headers too large", f"The headers have more than {self.largest_head} bytes.")

    def _in_its_own_time(self) -> None:
        cycle, self._later = self._later, None
        assert cycle is not None
        self._run(cycle, self.app)

    def _run(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(lingering, cycle, app))

    def on_message_begin(self) -> None:
        self._begun = self._fresh = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._begun = False
        if self._timer is not None:
            self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._later is not None and self._later is self.cycle:
            self._later = None
            self._answer(self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin with a request whose headers are there."""
        if self.transport.is_closing():  # it came after the last one that is answered
            cycle.disconnected = True
            return
        if self._held:
            self.pipeline.appendleft((cycle, app))
            return
        self._asked = cycle
        direct = self._direct if app is self.app and cycle.keep_alive and not draining(cycle) else None
        if direct is None or not direct.takes(cycle.scope):
            self._run(cycle, app)
        elif cycle.more_body:
            self._later = cycle
        else:
            self._answer(cycle)

    def _answer(self, cycle: RequestResponseCycle) -> None:
        assert self._direct is not None
        if len(cycle.body) > self._direct.largest_body:
            self._run(cycle, self.app)
        else:
            self._direct.answer(cycle.scope, bytes(cycle.body), partial(self._write, cycle))

    def _write(self, cycle: RequestResponseCycle, status: int, after: bytes) -> None:
        """Answer a request that `Direct` has taken; whoever asked may have gone."""
        cycle.response_started = cycle.response_complete = True
        if cycle.disconnected or self.transport.is_closing():
            return
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], joined(cycle.default_headers), close, after)))
        if close:
            self.transport.close()
        cycle.on_response()

    # ------------------------------------------------------------------------------------- one request after the other

    def on_response_complete(self) -> None:
        """Begin with the next request, later where one waits: not inside of this one, and not while nobody reads."""
        if not self.pipeline and not self.flow.write_paused:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self._held = True
            self._shut(self.flow.write_paused or bool(self._unfed))
            self.loop.call_soon(self._next)

    def _next(self) -> None:
        if not self._held or self.flow.write_paused or self.transport.is_closing():
            return
        self._held = False
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.server_state.total_requests -= 1  # it is counted again
            super().on_response_complete()
        self._feed()
        self.flow.resume_reading()
        if self._later is not None:
            self._in_its_own_time()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if self._held:
            self._next()

    def _gone(self) -> None:
        """Nothing is answered any more, neither what is under way nor what waits."""
        self.pipeline.clear()
        self._unfed.clear()
        self._held, self._later = False, None
        for cycle in (self._asked, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    # ------------------------------------------------------------------------------------------------------- refusals

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  it says less than the problem
        self._refuse(400, "Malformed", "This is not HTTP that can be read.")

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # the rest may be there: it was not read
            self._wait()
        else:
            self._refuse(408, "Too slow", f"The headers did not arrive within {self.head_seconds:g} seconds.")

    def _refuse(self, status: int, title: str, what: str) -> None:
        """Answer outside of any request, and close; where it could be taken for the answer to another, only close."""
        asked, waiting = self._asked, self.cycle
        under_way = asked is not None and not asked.response_complete
        silent = self._held or (asked is not None and under_way and (asked.response_started or asked is not waiting))
        self._gone()
        if silent:
            self.transport.close()
            return
        code = title.lower().replace(" ", "_")
        body = encode(Problem(title, status, code, what, fix="Send one HTTP/1.1 request."))
        headers = (
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *GUARDED,
        )
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)
        self.transport.close()
