"""One call of one model behind an address that speaks OpenAI's protocol, and what is the matter where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from bondhu.serve.gateway.errors import (
    BROKEN,
    BUSY,
    FAILED,
    KEY,
    MALFORMED,
    REFUSED,
    TIMEOUT,
    UNREACHABLE,
    Failure,
    words,
)
from bondhu.serve.gateway.usage import Price

LARGEST = 32 << 20  # bytes of an answer
LARGEST_ERROR = 64 << 10  # bytes that are read of one that is no answer
IDLE = 4.0  # seconds that a connection is kept without a request: less than servers keep theirs
LINGER = 1.0  # seconds in which the end of a body may come that has said all
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
    def endpoint(self) -> URL:
        """Raises ValueError where the address is none."""
        return URL(f"{self.url}/chat/completions")

    @cached_property
    def headers(self) -> dict[str, str]:
        own = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "bondhu", **own}

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key,) if len(self.key) >= SHORTEST_SECRET else ()

    @cached_property
    def limits(self) -> aiohttp.ClientTimeout:
        total, connect = self.total_timeout, self.connect_timeout
        return aiohttp.ClientTimeout(total=total, sock_connect=connect, sock_read=self.timeout, connect=None)


class Calls:
    """Connections to all upstreams of a deployment, kept open between calls."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._ending: set[aiohttp.ClientResponse] = set()  # all of them is said, and their bodies have no end yet

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE, ttl_dns_cache=60)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True, trust_env=False
            )
        return self._session

    def release(self, response: aiohttp.ClientResponse) -> None:
        """Nothing more of it is wanted. Its connection serves again if the body ends soon: after `[DONE]` it does."""
        if response.content.is_eof():
            response.release()
        else:
            self._ending.add(response)
            asyncio.get_running_loop().call_later(LINGER, self._leave, response)

    def _leave(self, response: aiohttp.ClientResponse) -> None:
        self._ending.discard(response)
        response.close()

    async def close(self) -> None:
        for each in [*self._ending]:
            self._leave(each)
        if self._session is not None:
            await self._session.close()

    async def ask(self, upstream: Upstream, body: bytes) -> aiohttp.ClientResponse:
        """Its answer once the headers are there, with status 200; raises Failure. Whoever takes it closes it."""
        try:
            response = await self._opened().post(
                upstream.endpoint,
                data=body,
                headers=upstream.headers,
                timeout=upstream.limits,
                allow_redirects=False,  # a key is for this address and no other
            )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise failure(error, upstream) from None
        if response.status == 200:
            return response
        try:
            raise await refusal(response, upstream)
        finally:
            response.close()


async def whole(response: aiohttp.ClientResponse, upstream: Upstream) -> bytes:
    """The rest of a body; raises Failure."""
    pieces, size = [], 0
    while piece := await more(response, upstream):
        size += len(piece)
        if size > LARGEST:
            raise Failure(f"The upstream {upstream.name!r} answered with more than {LARGEST} bytes.", MALFORMED)
        pieces.append(piece)
    return b"".join(pieces)


async def more(response: aiohttp.ClientResponse, upstream: Upstream) -> bytes:
    """The next piece of a body as it arrives, b"" at its end; raises Failure."""
    try:
        return await response.content.readany()
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise failure(error, upstream, began=True) from None


def failure(error: Exception, upstream: Upstream, *, began: bool = False) -> Failure:
    """What went wrong with the connection, without where it leads to."""
    name = upstream.name
    if isinstance(error, asyncio.TimeoutError):
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return Failure(f"The upstream {name!r} could not be reached in time.", UNREACHABLE, 504)
        what = f"The upstream {name!r} sent nothing for {upstream.timeout:g} seconds."
        if not isinstance(error, aiohttp.ServerTimeoutError):
            what = f"The upstream {name!r} was not done after {upstream.total_timeout:g} seconds."
        return Failure(what, TIMEOUT, 504)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL) or (
        isinstance(error, OSError) and not began
    ):
        return Failure(f"The upstream {name!r} cannot be reached.", UNREACHABLE)
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return Failure(f"The upstream {name!r} does not answer in HTTP.", MALFORMED)
    return Failure(f"The upstream {name!r} broke off before it had answered.", BROKEN)


async def refusal(response: aiohttp.ClientResponse, upstream: Upstream) -> Failure:
    """What another status than 200 means: 4xx are told to whoever asked, unless they are the operator's business."""
    status, name = response.status, upstream.name
    wait = _seconds(response.headers.get("retry-after"))
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


async def _said(response: aiohttp.ClientResponse) -> Any:
    try:
        return msgspec.json.decode(await response.content.read(LARGEST_ERROR))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, aiohttp.ClientError, OSError):
        return None


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; None where it is a date, or nothing."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < 1e6 else None
