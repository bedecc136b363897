"""Answers of models as they come: whole ones, and streams from their first event on. All of it may be tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import msgspec

from bondhu.serve.gateway.connection import Response
from bondhu.serve.gateway.errors import FAILED, MALFORMED, Failure
from bondhu.serve.gateway.streaming import Relay
from bondhu.serve.gateway.trying import Taken
from bondhu.serve.gateway.upstream import Upstream, whole
from bondhu.serve.gateway.usage import Usage, estimated, reported
from bondhu.serve.replies import resumed

Out = Callable[[bytes], Coroutine[Any, Any, None]]


class Whole(NamedTuple):
    """An answer that is there."""

    body: dict[str, Any]
    message: dict[str, Any]  # of its first choice
    finish: str | None
    usage: Usage

    @property
    def text(self) -> str:
        content = self.message.get("content")
        return content if isinstance(content, str) else ""


class Begun(NamedTuple):
    """A stream that has begun."""

    relay: Relay
    first: bytes  # what goes out at once


def reading(asked: int) -> Any:
    """A reader of whole answers to a question of so many bytes."""

    async def read(response: Response, upstream: Upstream) -> Whole:
        """Raises Failure."""
        data = await whole(response, upstream)
        return understood(data, asked, upstream)

    return read


def beginning(identity: str, *, usage: bool) -> Any:
    """A reader of streams, up to the first of it that goes out."""

    async def read(response: Response, _: Upstream) -> Begun:
        """Raises Failure."""
        relay = Relay(identity, usage=usage)
        while piece := await response.more():
            out = relay.feed(piece)
            if out or relay.done:
                return Begun(relay, out)
        return Begun(relay, relay.end())

    return read


async def passed_on(begun: Taken[Begun], out: Out) -> bytes:
    """Send the rest of a stream through `out` as it comes; returns what came together with the word that it is done.
    Raises Failure, unless all was said before it failed."""
    relay, onward, last = begun.read.relay, Onward(out, begun.response), b""

    def take(piece: bytes) -> bool:
        nonlocal last
        ready = relay.feed(piece)
        if relay.done:
            last = ready
        elif ready:
            onward.send(ready)
        return not relay.done

    try:
        await begun.response.follow(take)
        await onward.settled()
    except Failure:
        if relay.answer.finish is None:
            raise
        await onward.settled()
    finally:
        onward.stop()
    return last if relay.done else relay.end()


class Onward:
    """Sends pieces in the moment in which they come. Where somebody reads them slower than a model talks, the sending
    is finished by a task, and nothing more is read of the model meanwhile."""

    def __init__(self, out: Out, response: Response) -> None:
        self._out, self._response = out, response
        self._rest: asyncio.Task[None] | None = None
        self._error: Exception | None = None  # of the sending

    def send(self, data: bytes) -> None:
        """Not before what was sent last has gone. Raises whatever `out` raises at once."""
        sending = self._out(data)
        try:
            pending = sending.send(None)
        except StopIteration:
            return
        except Exception as error:
            self._error = error
            raise
        self._response.pause()
        self._rest = asyncio.get_running_loop().create_task(self._sent(sending, pending))

    async def settled(self) -> None:
        """Until the last piece has gone, which may be on its way. Raises what went wrong with any of them."""
        if self._rest is not None:
            await self._rest
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Nobody waits for it any more."""
        if self._rest is not None:
            self._rest.cancel()

    async def _sent(self, sending: Coroutine[Any, Any, None], pending: Any) -> None:
        try:
            await resumed(sending, pending)
        except Exception as error:  # whoever follows the response is not waiting here
            self._error = error
            self._response.failed(error)
        else:
            self._response.resume()


def understood(data: bytes, asked: int, upstream: Upstream) -> Whole:
    """The answer in a body; raises Failure."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Failure(f"The upstream {upstream.name!r} answered with something that is not JSON.", MALFORMED) from None
    if isinstance(body, dict) and body.get("error"):
        raise Failure(f"The upstream {upstream.name!r} answered with an error.", FAILED)
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        raise Failure(f"The upstream {upstream.name!r} answered with something that is no chat completion.", MALFORMED)
    finish = first.get("finish_reason")
    usage = reported(body.get("usage"))
    if usage is None:
        usage = estimated(asked, len(msgspec.json.encode(message)))
    return Whole(body, message, finish if isinstance(finish, str) else None, usage)


def events(answer: Whole, identity: str, *, usage: bool) -> bytes:
    """A whole answer as the stream that somebody asked for, but for its end."""
    head = {
        "id": identity,
        "object": "chat.completion.chunk",
        "created": answer.body.get("created", 0),
        "model": answer.body.get("model", ""),
    }
    said = {key: value for key, value in answer.message.items() if value is not None}
    if isinstance(calls := said.get("tool_calls"), list):
        said["tool_calls"] = [{"index": n, **each} for n, each in enumerate(calls) if isinstance(each, dict)]
    rows: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": {"role": "assistant", **said}, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish or "stop"}]},
    ]
    if usage:
        rows.append({**head, "choices": [], "usage": answer.body.get("usage")})
    return b"".join(b"data: " + msgspec.json.encode(row) + b"\n\n" for row in rows)
