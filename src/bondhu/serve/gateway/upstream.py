"""One call of one model behind an address that speaks OpenAI's protocol, and what is the matter where it fails."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from bondhu.serve.gateway.connection import Connection, Patience, Response
from bondhu.serve.gateway.errors import BUSY, FAILED, KEY, MALFORMED, REFUSED, UNREACHABLE, Failure, words
from bondhu.serve.gateway.reaching import Origin, connected
from bondhu.serve.gateway.usage import Price

LARGEST = 32 << 20  # bytes of an answer
LARGEST_ERROR = 64 << 10  # bytes that are read of one that is no answer
OWN_FAULT = frozenset({400, 404, 405, 409, 410, 411, 413, 414, 415, 422, 451})  # of a request, not of the upstream
SHORTEST_SECRET = 4  # characters of a key that is looked for in what an upstream says


@dataclass(frozen=True)
class Upstream:
    """Where a model answers."""

    name: str
    url: str  # up to /chat/completions
    key: str = field(default="", repr=False)
    timeout: float = 60.0  # seconds without a byte
    connect_timeout: float = 5.0  # seconds
    retries: int = 2
    fallback: tuple[str, ...] = ()  # upstreams that are asked when this one fails, in order
    prices: Mapping[str, Price] = field(default_factory=dict)  # by model
    model: str = ""  # asked for where this one stands in for another; "": the same name
    usage: bool = True  # ask for the tokens of streams; not every server knows that
    total_timeout: float = 600.0  # seconds for a whole answer

    @cached_property
    def origin(self) -> Origin:
        """Raises ValueError where the address is none."""
        parts = urlsplit(self.url)
        host = (parts.hostname or "").encode("ascii" if (parts.hostname or "").isascii() else "idna").decode()
        if not host:
            raise ValueError("There is no host in the address.")
        secure = parts.scheme == "https"
        return Origin(secure, host, parts.port or (443 if secure else 80))

    @cached_property
    def head(self) -> bytes:
        """What each request begins with, up to the length of its body."""
        _, host, port = self.origin
        parts = urlsplit(self.url)
        shown = f"[{host}]" if ":" in host else host
        lines = {
            "Host": shown if parts.port is None else f"{shown}:{port}",
            **({"Authorization": f"Bearer {self.key}"} if self.key else {}),
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": "bondhu",
            "Content-Type": "application/json",
        }
        path = quote(f"{parts.path}/chat/completions", safe="/%:=&+~!$,;'()*@")
        told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {path} HTTP/1.1\r\n{told}Content-Length: ".encode("latin-1")

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key,) if len(self.key) >= SHORTEST_SECRET else ()


class Calls:
    """Connections to all upstreams of a deployment, kept open between calls."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()
        self._free: dict[Origin, list[Connection]] = {}  # the last one that was used is the next

    async def close(self) -> None:
        for each in [*self._open]:
            each.close()

    async def ask(self, upstream: Upstream, body: bytes) -> Response:
        """Its answer once the headers are there, with status 200; raises Failure. Whoever takes it closes or releases
        it."""
        until = asyncio.get_running_loop().time() + upstream.total_timeout
        connection = self._at_hand(upstream) or await self._connected(upstream)
        patience = Patience(upstream.name, upstream.timeout, upstream.total_timeout, until)
        response = connection.ask(b"%b%d\r\n\r\n%b" % (upstream.head, len(body), body), patience)
        try:
            await response.begun()
            if response.status != 200:
                raise await refusal(response, upstream)  # a redirect as well: a key is for this address and no other
            if response.headers.get(b"content-encoding", b"identity").lower() != b"identity":
                what = f"The upstream {upstream.name!r} answered in an encoding that was not asked for."
                raise Failure(what, MALFORMED)
        except BaseException:
            response.close()
            raise
        return response

    def _at_hand(self, upstream: Upstream) -> Connection | None:
        free = self._free.get(upstream.origin) if self._free else None
        while free:
            connection = free.pop()
            if connection.fit:
                return connection
        return None

    async def _connected(self, upstream: Upstream) -> Connection:
        """A new connection; raises Failure without where it should lead to."""
        try:
            origin = upstream.origin
            context = self._context if origin.secure else None
            made = partial(Connection, partial(self._freed, origin), partial(self._lost, origin))
            async with asyncio.timeout(min(upstream.connect_timeout, upstream.total_timeout)):
                connection = await connected(made, origin, context)
        except TimeoutError:
            what = f"The upstream {upstream.name!r} could not be reached in time."
            raise Failure(what, UNREACHABLE, 504) from None
        except (OSError, ValueError):  # TLS that fails, a name that is none
            raise Failure(f"The upstream {upstream.name!r} cannot be reached.", UNREACHABLE) from None
        if connection.fit:
            self._open.add(connection)
        return connection

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def _freed(self, origin: Origin, connection: Connection) -> None:
        self._free.setdefault(origin, []).append(connection)
        connection.wait()

    def _lost(self, origin: Origin, connection: Connection) -> None:
        self._open.discard(connection)
        free = self._free.get(origin, [])
        if connection in free:
            free.remove(connection)


async def whole(response: Response, upstream: Upstream) -> bytes:
    """The rest of a body; raises Failure."""
    pieces, size = [], 0
    while piece := await response.more():
        size += len(piece)
        if size > LARGEST:
            raise Failure(f"The upstream {upstream.name!r} answered with more than {LARGEST} bytes.", MALFORMED)
        pieces.append(piece)
    return b"".join(pieces)


async def refusal(response: Response, upstream: Upstream) -> Failure:
    """What another status than 200 means: 4xx are told to whoever asked, unless they are the operator's business."""
    status, name = response.status, upstream.name
    wait = _seconds(response.headers.get(b"retry-after", b""))
    if status in (401, 402, 403, 407):
        return Failure(f"The upstream {name!r} does not take the key of this gateway.", KEY)
    if status == 429:
        return Failure(f"The upstream {name!r} is asked too much.", BUSY, 429, retry_after=wait)
    if status in OWN_FAULT:
        return Failure(
            f"The upstream {name!r} refused this with status {status}.",
            REFUSED,
            status,
            told=words(await _said(response), status, upstream.secrets),
        )
    if status in (408, 504):
        return Failure(f"The upstream {name!r} took too long, by its own account.", FAILED, 504, retry_after=wait)
    return Failure(f"The upstream {name!r} failed with status {status}.", FAILED, 502, retry_after=wait)


async def _said(response: Response) -> Any:
    said = b""
    try:
        while len(said) < LARGEST_ERROR and (piece := await response.more()):
            said += piece
        return msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Failure):
        return None


def _seconds(text: bytes) -> float | None:
    """Retry-After in seconds; None where it is a date, or nothing."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < 1e6 else None
