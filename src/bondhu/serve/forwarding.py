"""Hands requests for pages over to the process that draws them, by a Unix socket, and its answers back piece by piece.

Who asks is told by headers of our own; of a stranger's headers only those that pages need are handed on, so that nobody
can pass for somebody else. Whatever becomes of that process, those who decide go on: then a short page says so.
"""

from __future__ import annotations

import logging
from time import perf_counter
from urllib.parse import quote, quote_from_bytes

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from bondhu.errors import BondhuError
from bondhu.serve.gateway.staying import Gone, Staying
from bondhu.serve.parts import Meter, Pages
from bondhu.serve.replies import (
    GUARDED,
    Application,
    Headers,
    Limits,
    Message,
    Receive,
    Send,
    passage,
    refused,
    respond,
    whole,
)

log = logging.getLogger(__name__)
HOME, PAGES = "/", "/dashboard"
EVENTS = f"{PAGES}/events"
METHODS = frozenset({"GET", "HEAD", "POST"})
MOST = 100  # requests under way, and as many streams of events; more are told to come again
CONNECTING, READING, ACTING, LISTENING = 5.0, 60.0, 600.0, 60.0  # seconds: without a byte of a page, an act, a stream
IDLE = 4.0  # seconds that a connection is kept without a request: less than the other side keeps it
HANDED_ON = frozenset(
    b"accept accept-encoding content-type cookie host last-event-id origin sec-fetch-site user-agent x-part".split()
)  # of what a client sends
IN_QUERY = "%/?:@!$&'()*+,;=-._~[]"  # what stands in a query as it is
HELD_BACK = frozenset(
    b"connection date keep-alive proxy-authenticate proxy-authorization server te trailer transfer-encoding upgrade "
    b"x-request-id".split()
)  # of what is answered: about the connection, or said by this side
CLIENT, IDENTITY, SCHEME = "x-bondhu-client", "x-bondhu-request", "x-bondhu-scheme"
AWAY = 503  # the status of a page that says why there is none: no trouble of those who decide
SOON, CROWD = 2_000, 30_000  # milliseconds until a browser listens again, to a process that starts or that many hear
ABSENT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">{refresh}<title>{title} · Bondhu</title></head>
<body><main><h1>{title}</h1><p role="status">{what}</p></main></body></html>
"""
REFRESH = '<meta http-equiv="refresh" content="2">'
STARTING = "The pages are starting", "They come in a moment, by themselves. Decisions are answered meanwhile."
CROWDED = "Too many are looking", "This page tries again by itself. Decisions are answered meanwhile."
UNSURE = "No answer came", "It is not known whether this was done: look at the releases before you try again."
UNDONE = "The pages are starting", "Nothing was done: go back, and try again in a moment."


def is_page(scope: Message) -> bool:
    """Whether a request is for a page, or what belongs to it. At `/`, whoever asks for JSON is told what this is."""
    path: str = scope["path"]
    if path == HOME:
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        return scope["method"] in ("GET", "HEAD") and (b"json" not in accepted or b"html" in accepted)
    return path.startswith(PAGES) and path[len(PAGES) : len(PAGES) + 1] in ("", "/") and scope["method"] in METHODS


class Before:
    """Hands requests for pages to whoever has them, all others to the application behind."""

    def __init__(self, behind: Application, pages: Pages, meter: Meter) -> None:
        self._behind, self._pages, self._meter = behind, pages, meter

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_page(scope):
            await self._behind(scope, receive, send)
            return
        began = perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] != AWAY:  # a stream may last for days
                self._meter.answered("other", message["status"], perf_counter() - began)
            await send(message)

        await self._pages(scope, receive, answer)


class Forwarding:
    """The pages, drawn by the process that listens at a Unix socket."""

    def __init__(self, socket: str, most: int = MOST) -> None:
        """`most`: requests under way, and as many streams of events."""
        self._socket, self._most = socket, most
        self._session: aiohttp.ClientSession | None = None
        self.under_way = {"pages": 0, "streams": 0}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        kind = "streams" if scope["path"] == EVENTS else "pages"
        try:  # before it counts: who sends half a form keeps nobody out
            body = await whole(receive) if scope["method"] == "POST" else b""
        except BondhuError as error:
            await respond(send, *refused(error))
            return
        if self.under_way[kind] >= self._most:
            await (silent(send, CROWD) if kind == "streams" else absent(send, *CROWDED))
            return
        self.under_way[kind] += 1
        try:
            async with Staying(receive):
                await self._pass(scope, body, send)
        except Gone:  # what was asked for them was closed with it
            return
        finally:
            self.under_way[kind] -= 1

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(self._socket, limit=0, keepalive_timeout=IDLE),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
                auto_decompress=False,
            )
        return self._session

    async def _pass(self, scope: Message, body: bytes, send: Send) -> None:
        posted, listening = scope["method"] == "POST", scope["path"] == EVENTS
        reading = LISTENING if listening else ACTING if posted else READING
        try:
            answer = await self._opened().request(
                scope["method"],
                address(scope),
                data=body if posted else None,
                headers=told(scope),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECTING, sock_read=reading),
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            nobody = isinstance(error, aiohttp.ClientConnectorError)  # listens there, so that nothing was sent
            if not nobody:
                log.warning("A page did not come: %s.", type(error).__name__)
            if listening:
                await silent(send, SOON)
            else:
                await absent(send, *((UNDONE if nobody else UNSURE) if posted else STARTING), again=not posted)
            return
        try:
            await self._answer(answer, send, ends=listening)
        finally:
            answer.close()

    async def _answer(self, answer: aiohttp.ClientResponse, send: Send, *, ends: bool) -> None:
        """Every piece as it comes. `ends`: what breaks off is at its end; otherwise the connection breaks as well."""
        headers = [(name.lower(), value) for name, value in answer.raw_headers]
        kept = [each for each in headers if each[0] not in HELD_BACK]
        own = (b"x-request-id", passage.get()[0])
        await send({"type": "http.response.start", "status": answer.status, "headers": [*kept, own]})
        try:
            while piece := await answer.content.readany():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if not ends:
                log.warning("A page broke off: %s.", type(error).__name__)
                return
        await send({"type": "http.response.body", "body": b""})


def address(scope: Message) -> URL:
    """Where the other side is asked: the whole path, with that of the deployment before it."""
    path = quote(f"{scope.get('root_path', '')}{scope['path']}")
    query = quote_from_bytes(scope.get("query_string", b""), safe=IN_QUERY)
    return URL(f"http://pages{path}{'?' if query else ''}{query}", encoded=True)


def told(scope: Message) -> CIMultiDict[str]:
    """The headers for the other side."""
    headers = CIMultiDict(
        (name.decode("ascii"), value.decode("utf-8", "replace"))
        for name, value in scope["headers"]
        if name in HANDED_ON
    )
    client = scope.get("client")
    headers[CLIENT] = str(client[0]) if client else "unknown"
    headers[IDENTITY] = passage.get()[0].decode("ascii")
    headers[SCHEME] = scope.get("scheme", "http")
    return headers


async def absent(send: Send, title: str, what: str, *, again: bool = True) -> None:
    """A page that says why there is none, with status 503. `again`: it asks again by itself."""
    body = ABSENT.format(title=title, what=what, refresh=REFRESH if again else "").encode()
    headers: Headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"2"),
        (b"x-request-id", passage.get()[0]),
        *GUARDED,
    ]
    await send({"type": "http.response.start", "status": AWAY, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def silent(send: Send, milliseconds: int) -> None:
    """A stream of events that ends at once. Browsers come back after so long; after a 503 they would not."""
    headers: Headers = [(b"content-type", b"text/event-stream"), (b"x-request-id", passage.get()[0]), *GUARDED]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"retry: %d\n\n" % milliseconds})


class Received:
    """The other side: a request is again whose it was."""

    def __init__(self, behind: Application, limits: Limits) -> None:
        self._behind, self._limits = behind, limits

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            found = {name.decode("ascii"): value for name, value in scope["headers"]}
            passage.set((found.get(IDENTITY, b"-"), self._limits))
            client = found.get(CLIENT, b"unknown").decode("ascii", "replace")
            scheme = found.get(SCHEME, b"http").decode("ascii", "replace")
            scope = {**scope, "client": (client, 0), "scheme": scheme}
        await self._behind(scope, receive, send)
