"""What stands around the whole interface: limits, request ids, calls from browsers; and around its slower routes:
headers, bodies within the limits, the audit log, and no answer that tells more than it should."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from itertools import count
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

from bondhu.access.acts import Acts, Where
from bondhu.serve.messages import Cut, Problem
from bondhu.serve.parts import Meter
from bondhu.serve.replies import (
    CLOSE,
    GUARDED,
    Application,
    Attempt,
    Limits,
    Message,
    Receive,
    Send,
    in_time,
    passage,
    refused,
    respond,
    too_large,
)

READ_HEADERS = frozenset({b"x-request-id", b"content-length", b"origin"})
SANE = re.compile(rb"[A-Za-z0-9._\-]{1,64}").fullmatch  # a request id that may stand in a log
MOST_HEADERS = 100
TOLD_TO_BROWSERS = (
    b"x-request-id, retry-after, x-bondhu-decision, x-bondhu-version, x-bondhu-action, x-bondhu-probability"
)
SENT_BY_BROWSERS = b", ".join(
    (
        b"authorization, content-type, traceparent, x-api-key, x-admin-key, x-request-id, x-bondhu-user",
        b"x-bondhu-session",
        # by OpenAI's clients, and those made like them: of no use here, but without leave the browser sends nothing
        b"openai-organization, openai-project, x-stainless-arch, x-stainless-async, x-stainless-custom-poll-interval",
        b"x-stainless-helper-method, x-stainless-lang, x-stainless-os, x-stainless-package-version",
        b"x-stainless-poll-helper, x-stainless-raw-response, x-stainless-read-timeout, x-stainless-retry-count",
        b"x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout",
    )
)
METHODS = b"GET, POST, DELETE"
MOST_ARGUMENTS = 20  # of each kind that the audit log is told


class Guard:
    """Hands on requests that are within the limits."""

    def __init__(self, behind: Application, limits: Limits, meter: Meter, own: frozenset[str] = frozenset()) -> None:
        """`own`: routes that say in words of their own what is too large, when they read it."""
        self._behind, self._limits, self._meter, self._own = behind, limits, meter, own
        self._origins = frozenset(each.encode() for each in limits.origins)
        self._largest = limits.largest_body
        self._prefix, self._count = os.urandom(8).hex().encode() + b"-", count()

    async def __call__(  # noqa: C901  every request comes this way: one pass, no calls
        self, scope: Message, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._behind(scope, receive, send)
            return
        identity = origin = None
        fitting = True
        headers = scope["headers"]
        for name, value in headers:
            if name in READ_HEADERS:
                if name == b"content-length":
                    fitting = value.isdigit() and len(value) < 19 and int(value) <= self._largest
                elif name == b"origin":
                    origin = value
                elif SANE(value):
                    identity = value
        passage.set((identity or self._prefix + b"%d" % next(self._count), self._limits))
        if origin is not None and origin in self._origins:
            send = open_to(send, origin)
            if scope["method"] == "OPTIONS":
                await preflight(send)
                self._meter.answered(scope["path"], 204, 0.0)
                return
        if len(headers) > MOST_HEADERS:
            what = f"The request has more than {MOST_HEADERS} headers."
            many = Problem("Headers too large", 431, "headers_too_large", what, fix="Send fewer.")
            await respond(send, 431, many, CLOSE)
            self._meter.answered(scope["path"], 431, 0.0)
        elif not fitting and scope["path"] not in self._own:
            await respond(send, *refused(too_large(self._limits)))
            self._meter.answered(scope["path"], 413, 0.0)
        else:
            await self._behind(scope, receive, send)


def open_to(send: Send, origin: bytes) -> Send:
    """`send` for a browser whose page is of this origin."""
    more = (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", TOLD_TO_BROWSERS),
        (b"vary", b"origin"),
    )

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return answer


async def preflight(send: Send) -> None:
    """What a browser asks before it calls: it may send JSON and keys."""
    headers = [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", SENT_BY_BROWSERS),
        (b"access-control-max-age", b"600"),
        (b"content-length", b"0"),
        (b"x-request-id", passage.get()[0]),
        *GUARDED,
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


class Slower:
    """Around the framework: what the hot routes do for themselves."""

    def __init__(self, behind: Application, acts: Acts, meter: Meter) -> None:
        self._behind, self._acts, self._meter = behind, acts, meter

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
            return
        began = perf_counter()
        scope["state"] = {**scope.get("state", {})}
        body = Body(receive, passage.get()[1])
        status, started = 500, False

        async def answer(message: Message) -> None:
            nonlocal status, started
            start = message["type"] == "http.response.start"
            if start:
                status = message["status"]
                await self._note(scope, body, status)
                headers = [*message["headers"], (b"x-request-id", passage.get()[0]), *GUARDED]
                message = {**message, "headers": headers}
            await send(message)
            started = started or start

        try:
            await self._behind(scope, body.receive, answer)
        except Exception as error:
            if not started:  # otherwise it was answered, and logged, where it happened
                status, wrong, more = refused(error)
                await respond(send, status, wrong, more)
        self._meter.answered("other", status, perf_counter() - began)

    async def _note(self, scope: Message, body: Body, status: int) -> None:
        """Note an administrative act before it is answered, or an attempt at one that was refused."""
        attempt: Attempt | None = scope["state"].get("attempt")
        shut_out = status in (401, 403, 429)
        if attempt is not None and (attempt.act or shut_out):
            told = b"" if shut_out else b"".join(body.kept)
            await asyncio.to_thread(self._noted, scope, attempt, told, status)

    def _noted(self, scope: Message, attempt: Attempt, told: bytes, status: int) -> None:
        template = getattr(scope.get("route"), "path", scope["path"])
        client = scope.get("client")
        where = Where(str(client[0]) if client else "unknown", passage.get()[0].decode("ascii"))
        what = f"{scope['method']} {template}".replace(":path}", "}")
        self._acts.note(attempt.caller, what, arguments(scope, told), status, where)


class Body:
    """A request's body on its way to the framework, within the limits; it is kept for the audit log."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._size, self._whole = 0, False
        self._end: float | None = None  # of the time for the whole of it, by the event loop's clock
        self.kept: list[bytes] = []

    async def receive(self) -> Message:
        """The next message; raises TooLarge, TooSlow, Cut."""
        if self._whole:  # now it waits for the client to go away, for as long as it likes
            return await self._receive()
        if self._end is None:
            self._end = asyncio.get_running_loop().time() + self._limits.body_seconds
        message = await in_time(self._receive(), self._limits, self._end)
        if message["type"] != "http.request":
            raise Cut("The connection was closed before the body was whole.", fix="Send it again.")
        piece: bytes = message.get("body", b"")
        self._size += len(piece)
        self._whole = not message.get("more_body", False)
        if self._size > self._limits.largest_body:
            raise too_large(self._limits)
        self.kept.append(piece)
        return message


def arguments(scope: Message, body: bytes) -> Mapping[str, Any]:
    """What an act was asked with, the path first: its parts by their own names, and fields of the body likewise unless
    they would pass for something else (`body.…`); the query as `query.…`. None of them takes the place of another."""
    path: dict[str, Any] = scope.get("path_params", {})
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    try:
        told = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        told = {}
    fields = list(told.items())[:MOST_ARGUMENTS] if isinstance(told, dict) else []
    own = {f"body.{name}" if name in path or "." in name else name: value for name, value in fields}
    return {**path, **own, **{f"query.{name}": value for name, value in query[:MOST_ARGUMENTS]}}
