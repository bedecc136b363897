"""A model that says what it is told to say: a real HTTP server in a thread, with every fault that upstreams have."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
Writer = asyncio.StreamWriter
Script = Callable[[dict[str, Any], Writer], Awaitable[None]]  # body of the request, and where the answer goes


@dataclass
class Asked:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Model:
    """The server; each request takes the next script, and the last one for ever."""

    name: str
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    scripts: deque[Script] = field(default_factory=deque)
    always: Script | None = None
    left: int = 0  # connections that were closed by whoever asked, before the answer was whole
    open: dict[Writer, asyncio.StreamReader] = field(default_factory=dict)
    hold: threading.Event = field(default_factory=threading.Event)  # `held` answers wait for it
    secure: ssl.SSLContext | None = None
    reached: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))  # released by `held` answers

    @property
    def url(self) -> str:
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}/v1"

    def plays(self, *scripts: Script) -> None:
        """From now on."""
        self.asked.clear()
        self.scripts = deque(scripts)
        self.always = scripts[-1]
        self.hold.clear()
        self.reached = threading.Semaphore(0)

    async def served(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.open[writer] = reader
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.asked.append(Asked(head[0].split()[1], headers, json.loads(body or b"{}")))
                script = self.scripts.popleft() if self.scripts else self.always
                assert script is not None
                try:
                    await script(self.asked[-1].body, writer)
                    await writer.drain()
                except ConnectionError:
                    self.left += 1
                    return
                if writer.is_closing():
                    return

    def held(self, first: Script, then: Script) -> Script:
        """`first` at once, and `then` when the test lets it."""

        async def play(body: dict[str, Any], writer: Writer) -> None:
            await first(body, writer)
            await writer.drain()
            self.reached.release()
            while not self.hold.is_set():
                await asyncio.sleep(0.005)
                if writer.is_closing() or self.open[writer].at_eof():
                    self.left += 1
                    return
            await then(body, writer)

        return play


# ------------------------------------------------------------------------------------------------------- what it says


def plain(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Script:
    """One answer."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def play(_: dict[str, Any], writer: Writer) -> None:
        lines = {"content-type": "application/json", "content-length": str(len(text)), **(headers or {})}
        writer.write(f"HTTP/1.1 {status} Whatever\r\n".encode())
        writer.write("".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\n" + text)

    return play


def completion(text: str | None = "Hello.", usage: Any = USAGE, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, **message}
    finish = "tool_calls" if "tool_calls" in message else "stop"
    body = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny-1",
        "choices": [{"index": 0, "message": said, "finish_reason": finish, "logprobs": None}],
        "system_fingerprint": "fp_1",
    }
    return {**body, "usage": usage} if usage else body


def whole(text: str | None = "Hello.", usage: Any = USAGE, **message: Any) -> Script:
    return plain(200, completion(text, usage, **message))


def chunk(delta: Mapping[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    """One event."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "chatcmpl-upstream", "object": "chat.completion.chunk", "created": 1, "model": "tiny-1"}
    return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"


def told(texts: Sequence[str], usage: Any = USAGE) -> list[bytes]:
    """The events of a whole stream."""
    events = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": text}) for text in texts)]
    return [*events, chunk({}, "stop"), *([chunk(None, usage=usage)] if usage else []), b"data: [DONE]\n\n"]


def begin(writer: Writer, kind: str = "text/event-stream") -> None:
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())


def piece(writer: Writer, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


def stream(pieces: Sequence[bytes], *, ends: bool = True, closes: bool = False, starts: bool = True) -> Script:
    """These bytes as a stream. `ends`: properly; `closes`: the connection, whether it has ended or not."""

    async def play(_: dict[str, Any], writer: Writer) -> None:
        if starts:
            begin(writer)
        for each in pieces:
            piece(writer, each)
            await writer.drain()
            await asyncio.sleep(0)
        if ends:
            writer.write(b"0\r\n\r\n")
        if closes:
            await writer.drain()
            writer.close()

    return play


def streamed(*texts: str, usage: Any = USAGE) -> Script:
    """A good stream."""
    return stream(told(texts, usage))


def either(text: str = "Hello.") -> Script:
    """An answer as it is asked for."""

    async def play(body: dict[str, Any], writer: Writer) -> None:
        await (streamed(text) if body.get("stream") else whole(text))(body, writer)

    return play


async def hangs_up(_: dict[str, Any], writer: Writer) -> None:
    writer.close()


async def nothing(_: dict[str, Any], writer: Writer) -> None:
    """It takes the request and never says anything."""


@contextmanager
def model(name: str = "tiny", secure: ssl.SSLContext | None = None) -> Iterator[Model]:
    """A model while it runs; `secure`: with TLS."""
    made = Model(name, secure=secure)
    made.plays(either())
    ready, stop = threading.Event(), threading.Event()

    async def live() -> None:
        server = await asyncio.start_server(made.served, "127.0.0.1", 0, ssl=secure)
        made.port = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in made.open:
            each.transport.abort()
        await asyncio.sleep(0.01)  # that closes their sockets

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    ready.wait()
    try:
        yield made
    finally:
        made.hold.set()
        stop.set()
        thread.join()
