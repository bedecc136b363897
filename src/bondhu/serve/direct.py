"""Hot requests without a task of their own: from the bytes of a body that is there to the bytes of the answer.

Half of what a request to a hot route costs is ASGI: a task, coroutines, three messages. A server that knows this module
(`serve.protocol`) hands plain requests over here; whatever is special about a request, from a body that trickles in to
a browser's preflight, goes the long way, and so does everything on another server. Both ways end in `Hot`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from os import urandom
from time import perf_counter
from typing import Any

from bondhu.serve.hot import Hot, Told
from bondhu.serve.replies import Headers, Limits, encode, passage, pieces, refused, written

SPECIAL = frozenset({b"origin", b"x-request-id", b"traceparent", b"expect", b"upgrade", b"connection"})
MOST_HEADERS = 64
Reply = Callable[[int, bytes], None]  # status, then headers and body as they are written


class Direct:
    """The hot routes of one deployment, for a server that has the whole request."""

    def __init__(self, hot: Hot, limits: Limits) -> None:
        self._hot, self._limits = hot, limits
        self.largest_body = limits.largest_body  # bytes
        self._prefix, self._count = urandom(8).hex().encode() + b".", count()

    def takes(self, scope: Mapping[str, Any]) -> bool:
        """Whether there is nothing special about this request."""
        headers = scope["headers"]
        if scope["method"] != "POST" or scope["path"] not in self._hot.routes or len(headers) > MOST_HEADERS:
            return False
        return SPECIAL.isdisjoint([name for name, _ in headers])

    def answer(self, scope: Mapping[str, Any], body: bytes, reply: Reply) -> None:
        """Answer, now or when it is committed; `body` is within the limits."""
        began = perf_counter()
        identity = self._prefix + b"%d" % next(self._count)
        passage.set((identity, self._limits))
        answered = partial(self._answered, scope["path"], identity, began, reply)
        try:
            told = self._hot.begin(scope["path"], scope["headers"], body)
        except Exception as error:
            self._hot.noted(scope, error)
            answered(_failed(error))
            return
        asyncio.ensure_future(told).add_done_callback(answered)

    def _answered(self, path: str, identity: bytes, began: float, reply: Reply, told: asyncio.Future[Told]) -> None:
        try:
            status, answer = told.result()
            after = written(identity, encode(answer)) if status == 200 else _spelled(identity, status, encode(answer))
        except (Exception, asyncio.CancelledError) as error:
            passage.set((identity, self._limits))
            status, wrong, headers = refused(error if isinstance(error, Exception) else RuntimeError("cancelled"))
            after = _spelled(identity, status, encode(wrong), headers)
        reply(status, after)
        self._hot.count(path, status, perf_counter() - began)


def _failed(error: Exception) -> asyncio.Future[Told]:
    failed: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
    failed.set_exception(error)
    return failed


def _spelled(identity: bytes, status: int, body: bytes, headers: Headers = ()) -> bytes:
    """Headers and body of any answer as bytes."""
    start, _ = pieces(identity, body, status, headers)
    return b"".join([b"%b: %b\r\n" % header for header in start["headers"]]) + b"\r\n" + body
