"""A connection to an upstream in HTTP/1.1: one question at a time, and its answer handed on as it arrives.

What a stream says goes on to whoever asked in the very callback that read it, without waking a task: with a hundred
streams, turns of the event loop are what each waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import NamedTuple, cast

import httptools

from bondhu.serve.gateway.errors import BROKEN, MALFORMED, TIMEOUT, Failure

LARGEST_HEAD = 64 << 10  # bytes that may come without one of a body among them
FULL = 1 << 18  # bytes of a body that wait to be taken; beyond them nothing more is read
IDLE = 4.0  # seconds that a connection is kept without a request: less than servers keep theirs
LINGER = 1.0  # seconds in which the end of a body may come that has said all
Take = Callable[[bytes], bool]  # takes a piece of a body; whether more is wanted


class Patience(NamedTuple):
    """With whom, and how long."""

    name: str  # of the upstream
    idle: float  # seconds without a byte
    total: float  # seconds for a whole answer
    until: float  # the end of those, by the event loop's clock


class Response:
    """An answer as far as it has come."""

    def __init__(self, connection: Connection, patience: Patience) -> None:
        self.patience = patience
        self.status = 0  # 0: its headers are not there yet
        self.headers: dict[bytes, bytes] = {}  # names in small letters
        self.ended = False  # whether all of it has come
        self._connection = connection
        self._failure: Exception | None = None
        self._pieces: list[bytes] = []
        self._size = 0  # bytes of them
        self._waiter: asyncio.Future[None] | None = None
        self._take: Take | None = None
        self._context: Context | None = None

    async def begun(self) -> None:
        """Wait for the headers; raises Failure."""
        while not self.status:
            await self._something()

    async def more(self) -> bytes:
        """What of the body has come since, at least one byte, or b"" at its end; raises Failure."""
        while not self._pieces and not self.ended:
            await self._something()
        return self._taken()

    async def follow(self, take: Take) -> None:
        """Hand every piece to `take` in the moment in which it comes, until the end, or nothing more is wanted. Raises
        Failure, and whatever `take` raises."""
        self._take, self._context = take, copy_context()
        try:
            self.arrived()
            while self._take is not None and not self.ended:
                await self._something()
        finally:
            self._take = None

    def pause(self) -> None:
        """Read nothing more for now: whoever takes it is slower. Meanwhile the upstream cannot be too slow."""
        if not self.ended:
            self._connection.pause()

    def resume(self) -> None:
        if not self.ended:
            self._connection.resume()

    def release(self) -> None:
        """Nothing more of it is wanted. Its connection serves again if the body ends soon: after `[DONE]` it does."""
        if not self.ended and self._failure is None:
            self._take, self._context = unwanted, copy_context()
            self._connection.linger()

    def close(self) -> None:
        """Nothing more of it is wanted, now."""
        if not self.ended:
            self._connection.close()

    # ------------------------------------------------------------------------------------- told by its own connection

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    def arrived(self) -> None:
        """Hand on what has come."""
        if self._take is not None and self._pieces:
            assert self._context is not None
            try:
                wanted = self._context.run(self._take, self._taken())
            except Exception as error:
                self._take = None
                self._wake(error)
                return
            if wanted and not self.ended:
                return
            self._take = self._take if wanted else None
        elif self._size > FULL:
            self.pause()
        self._wake()

    def failed(self, failure: Exception) -> None:
        """Nothing more of it can be had, or handed on: the first reason counts."""
        self._failure = self._failure or failure
        self._wake()

    def _wake(self, error: Exception | None = None) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
        elif error is not None:
            raise error  # it came before anybody waited: `follow` itself is being called

    def _taken(self) -> bytes:
        pieces = self._pieces
        self._pieces = []
        if self._size > FULL:
            self.resume()
        self._size = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _something(self) -> None:
        """Wait until something happens; raises what it failed with."""
        if self._failure is not None:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


def unwanted(_: bytes) -> bool:
    """Takes what nobody wants, up to the end."""
    return True


def broken(name: str) -> Failure:
    return Failure(f"The upstream {name!r} broke off before it had answered.", BROKEN)


class Connection(asyncio.Protocol):
    """One connection, for as many questions as the upstream lets it serve."""

    def __init__(self, free: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        """`free`: called when it may serve again; `lost`: when it may not any more."""
        self._free, self._lost = free, lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._response: Response | None = None  # to the question under way
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0  # when something came last
        self._dry = 0  # bytes since the last one of a body
        self._interim = False  # whether this is an answer before the answer
        self._framed = False  # whether its end can be told from the end of the connection
        self._paused = False

    def ask(self, question: bytes, patience: Patience) -> Response:
        """Send the bytes of a request; its answer."""
        self._rest()
        response = Response(self, patience)
        if self._transport.is_closing():
            response.failed(broken(patience.name))
            return response
        self._response = response
        self._heard, self._dry = self._loop.time(), 0
        self._timer = self._loop.call_at(min(self._heard + patience.idle, patience.until), self._look)
        self._transport.write(question)
        return response

    @property
    def fit(self) -> bool:
        """Whether another question may be sent."""
        return self._response is None and not self._transport.is_closing()

    def wait(self) -> None:
        """Nobody asks: leave before the upstream does."""
        self._rest()
        self._timer = self._loop.call_later(IDLE, self.close)

    def linger(self) -> None:
        self._rest()
        self._timer = self._loop.call_later(LINGER, self.close)
        self.resume()

    def close(self) -> None:
        self._rest()
        self._transport.abort()

    def pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused, self._heard = False, self._loop.time()
            self._transport.resume_reading()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Whether the upstream has been silent for too long."""
        response, now = self._response, self._loop.time()
        assert response is not None
        name, idle, total, until = response.patience
        silent = (now if self._paused else self._heard) + idle
        if now >= until:
            self._fail(Failure(f"The upstream {name!r} was not done after {total:g} seconds.", TIMEOUT, 504))
        elif now >= silent:
            self._fail(Failure(f"The upstream {name!r} sent nothing for {idle:g} seconds.", TIMEOUT, 504))
        else:
            self._timer = self._loop.call_at(min(silent, until) + 0.001, self._look)

    def _fail(self, failure: Failure) -> None:
        response, self._response = self._response, None
        self.close()
        if response is not None:
            response.failed(failure)

    # -------------------------------------------------------------------------------------------- what the system says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no class of asyncio

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:  # nobody asked
            self.close()
            return
        self._heard = self._loop.time()
        self._dry += len(data)
        good = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            good = False
        response.arrived()  # also what came before that
        if not good or self._dry > LARGEST_HEAD:
            self._fail(Failure(f"The upstream {response.patience.name!r} does not answer in HTTP.", MALFORMED))

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        self._lost(self)
        response, self._response = self._response, None
        if response is None:
            return
        if response.status and not self._framed and exc is None:
            response.ended = True
            response.arrived()
        else:
            response.failed(broken(response.patience.name))

    # -------------------------------------------------------------------------------------------- what the parser says

    def on_message_begin(self) -> None:
        if self._response is None:  # an answer to nothing: the next question would take it for its own
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        response = self._response
        if response is None or response.status:  # afterwards they are trailers
            return
        name = name.lower()
        if name == b"transfer-encoding" and name in response.headers:  # who reads it otherwise sees another end
            raise httptools.HttpParserError("Two headers say how the body is framed.")
        response.headers[name] = value

    def on_headers_complete(self) -> None:
        response = self._response
        if response is None or response.status:
            return
        status, headers = self._parser.get_status_code(), response.headers
        self._interim = status < 200
        if self._interim:
            headers.clear()
            return
        self._framed = b"content-length" in headers or b"chunked" in headers.get(b"transfer-encoding", b"").lower()
        response.status = status

    def on_body(self, body: bytes) -> None:
        if self._response is not None:
            self._dry = 0
            self._response.add(body)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        response, self._response = self._response, None
        if response is None:
            return
        response.ended = True
        self._rest()
        if not self._parser.should_keep_alive():
            self.close()
        elif not self._transport.is_closing():
            self.resume()
            self._free(self)
