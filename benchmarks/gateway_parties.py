"""Both ends of the gateway's benchmark, each a light process: a model that talks at a fixed pace, clients that count.

python -m benchmarks.gateway_parties model PORT
python -m benchmarks.gateway_parties clients '{"port": 8000, "streams": true, ...}'
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any, cast

import msgspec
import uvloop

PIECES = 32  # of an answer
PACE = 0.02  # seconds between them: 50 tokens a second
THINKING = 0.1  # seconds to the first of them
WHOLE_AFTER = THINKING + PIECES * PACE  # seconds to an answer that is no stream
HEAD = {"id": "chatcmpl-upstream", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
USAGE = {"prompt_tokens": 20, "completion_tokens": PIECES, "total_tokens": 20 + PIECES}


def _event(delta: Any, finish: str | None = None) -> bytes:
    row = {**HEAD, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
    data = b"data: " + msgspec.json.encode(row) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


BEGIN = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SAID = [_event({"role": "assistant", "content": "word "}), *([_event({"content": "word "})] * (PIECES - 1))]
END = _event({}, "stop")
COUNTED = _chunk(b"data: " + msgspec.json.encode({**HEAD, "choices": [], "usage": USAGE}) + b"\n\n")
DONE = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
_MESSAGE = {"role": "assistant", "content": "word " * PIECES}
_BODY = msgspec.json.encode(
    {**HEAD, "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}], "usage": USAGE}
)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Model(asyncio.Protocol):
    """One connection of the model."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._data = cast(asyncio.Transport, transport), b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self._data = body[length:]
        asked = json.loads(body[:length] or b"{}")
        loop = asyncio.get_running_loop()
        pace = asked.get("pace", 1.0)  # as a client of the benchmark asks: 0 means at once
        if asked.get("stream"):
            counted = COUNTED if (asked.get("stream_options") or {}).get("include_usage") else b""
            pieces = iter([*SAID, END + counted + DONE])
            loop.call_later(THINKING * pace, self._say, BEGIN, pieces, PACE * pace)
        else:
            loop.call_later(WHOLE_AFTER * pace, self._write, WHOLE)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def _say(self, before: bytes, pieces: Iterator[bytes], pace: float) -> None:
        if not pace:
            self._write(before + b"".join(pieces))
            return
        piece = next(pieces, None)
        if piece is not None and not self._transport.is_closing():
            self._transport.write(before + piece)
            asyncio.get_running_loop().call_later(pace, self._say, b"", pieces, pace)


class Load(msgspec.Struct, frozen=True):
    """What the clients do."""

    port: int
    streams: bool
    clients: int = 100
    seconds: float = 3.0
    pace: float = 1.0
    named: bool = False  # whether each says who asks, so that the gateway looks up what was before
    burst: bool = False  # whether all ask in the same moment, and only then; else they begin spread over one answer


class Result(msgspec.Struct):
    """What they saw."""

    first: list[float] = []  # seconds; not where the model says all at once
    total: list[float] = []  # likewise
    answers: int = 0
    failed: int = 0


class Client(asyncio.Protocol):
    """Asks again as soon as it has its answer, until the time is over."""

    def __init__(self, load: Load, number: int, result: Result, end: float) -> None:
        self._load, self._number, self._result, self._end = load, number, result, end
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        spread = 0.0 if self._load.burst else WHOLE_AFTER * self._load.pace
        self._later = spread * self._number / self._load.clients  # seconds

    def begin(self) -> None:
        """When the connections of all are there."""
        asyncio.get_running_loop().call_later(self._later, self._ask)

    def _ask(self) -> None:
        if perf_counter() > self._end or (self._load.burst and self._count) or self._transport.is_closing():
            self._transport.close()
            return
        self._count += 1
        text = f"What is the difference between a list and a tuple in Python? {self._number} {self._count}"
        body: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": text}]}
        body |= {"stream": self._load.streams, "pace": self._load.pace}
        if self._load.named:
            body["user"] = f"user-{self._number}"
        data = msgspec.json.encode(body)
        self._seen = b""
        self._first: float | None = None
        self._began = perf_counter()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        self._transport.write(head + b"content-length: %d\r\n\r\n" % len(data) + data)

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        if self._load.streams:
            if self._first is None and b"data:" in data:
                self._first = now
            self._seen = (self._seen + data)[-64:]
            ends = self._seen.endswith(b"0\r\n\r\n")
        else:
            self._first = self._first or now
            self._seen += data
            head, found, body = self._seen.partition(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            ends = bool(found) and len(body) >= int(length or 0)
        if ends:
            good = b"[DONE]" in self._seen if self._load.streams else b'"choices"' in self._seen
            self._result.answers += good
            if good and self._first is not None and self._load.pace:
                self._result.first.append(self._first - self._began)
                self._result.total.append(now - self._began)
            self._result.failed += not good
            self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


async def asked(load: Load) -> Result:
    """All clients until the end of their time."""
    result, loop = Result([], []), asyncio.get_running_loop()
    end = perf_counter() + load.seconds
    clients = [Client(load, number, result, end) for number in range(load.clients)]
    for each in clients:
        await loop.create_connection(lambda each=each: each, "127.0.0.1", load.port)  # type: ignore[misc]  # a factory
    for each in clients:
        each.begin()
    with suppress(TimeoutError):
        async with asyncio.timeout(load.seconds + 30.0):
            await asyncio.gather(*(each.over for each in clients))
    return result


def main() -> None:
    what, given = sys.argv[1], sys.argv[2]
    if what == "model":
        uvloop.run(serve(int(given)))
    else:
        result = uvloop.run(asked(msgspec.json.decode(given, type=Load)))
        sys.stdout.buffer.write(msgspec.json.encode(result))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
