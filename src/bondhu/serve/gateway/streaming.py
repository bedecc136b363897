"""A stream of server-sent events on its way through: cut at any byte, understood, renamed, known to be whole or not.

What is forwarded is what came, but for the `id`, which names the decision. Where it is the first field of an event, as
nearly all servers write it, its bytes are exchanged; only else is an event decoded and written anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bondhu.serve.gateway.errors import BROKEN, FAILED, MALFORMED, Failure
from bondhu.serve.gateway.usage import Usage, reported

LARGEST_EVENT = 1 << 22  # bytes
LONGEST_ANSWER = 1 << 20  # characters of an answer that are kept
LONGEST_NAME = 200  # characters of a model, a reason or a call's id that are kept
MOST_CALLS = 128  # of tools in one answer
DONE = b"data: [DONE]\n\n"


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: Any = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: Any = None


class _Chunk(msgspec.Struct):
    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_chunk = msgspec.json.Decoder(_Chunk).decode
UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)  # a ValidationError is a DecodeError


def unreadable() -> Failure:
    return Failure("The upstream sent an event that cannot be understood.", MALFORMED)


def _halved(payload: bytes) -> _Chunk:
    """An event that ends in half of a character, of which the other half comes in the next: some servers cut there.
    Raises Failure where it is no such event."""
    try:
        if b"\\ud" in payload.lower():
            return msgspec.convert(json.loads(payload), _Chunk)
    except UNREADABLE:
        pass
    raise unreadable()


def paired(text: str) -> str:
    """Halves of characters put together; what stays alone can be stored nowhere, and is marked."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Events:
    """Whole events from pieces that end anywhere; lines may end in LF, CR LF or CR."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._cr = False  # whether the last piece ended in half a line end, perhaps

    def feed(self, data: bytes) -> list[bytes]:
        """The events that this piece completes, without the empty line after each."""
        if not self._rest and data.endswith(b"\n\n") and not self._cr and b"\r" not in data:  # as nearly all come
            return [stripped for each in data.split(b"\n\n") if (stripped := each.strip(b"\n"))]
        if self._cr:
            data, self._cr = b"\r" + data, False
        if b"\r" in data:
            if data.endswith(b"\r"):
                data, self._cr = data[:-1], True
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        edge = self._rest[-1:] + data[:1] == b"\n\n"
        self._rest += data
        if b"\n\n" not in data and not edge:
            if len(self._rest) > LARGEST_EVENT:
                raise Failure("The upstream sent an event without an end.", MALFORMED)
            return []
        *whole, rest = bytes(self._rest).split(b"\n\n")
        self._rest = bytearray(rest)
        return [stripped for each in whole if (stripped := each.strip(b"\n"))]

    def rest(self) -> list[bytes]:
        """What stands after the last empty line when the stream has ended."""
        left = bytes(self._rest).strip(b"\n")
        self._rest.clear()
        return [left] if left else []


class Answer:
    """What a stream has said so far."""

    def __init__(self) -> None:
        self.pieces = 0  # events that said something
        self.usage: Usage | None = None
        self.finish: str | None = None
        self.model: str | None = None
        self._texts: list[str] = []
        self._size = 0
        self._refusals: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}

    @property
    def text(self) -> str:
        return paired("".join(self._texts))

    def message(self) -> dict[str, Any]:
        """The answer as one message."""
        said: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self._refusals:
            said["refusal"] = paired("".join(self._refusals))
        if self._calls:
            calls = [call for _, call in sorted(self._calls.items())]
            named = [{name: paired(text) for name, text in call["function"].items()} for call in calls]
            said["tool_calls"] = [{**call, "function": each} for call, each in zip(calls, named, strict=True)]
        return said

    @property
    def size(self) -> int:
        """Bytes of it, roughly."""
        return self._size

    def take(self, chunk: _Chunk) -> None:
        """Add what one event says."""
        if chunk.usage is not None:
            self.usage = reported(chunk.usage) or self.usage
        if self.model is None and isinstance(chunk.model, str):
            self.model = paired(chunk.model[:LONGEST_NAME])
        for choice in chunk.choices or ():
            if isinstance(choice.finish_reason, str):
                self.finish = paired(choice.finish_reason[:LONGEST_NAME])
            if choice.delta is not None:
                self._said(choice.delta)

    def _said(self, delta: _Delta) -> None:
        content = delta.content
        if isinstance(content, str) and content:
            self.pieces += 1
            if self._size < LONGEST_ANSWER:
                self._texts.append(content)
            self._size += len(content)
        if delta.refusal is not None and isinstance(delta.refusal, str):
            if self._size < LONGEST_ANSWER:
                self._refusals.append(delta.refusal)
            self._size += len(delta.refusal)
        if delta.tool_calls is not None:
            self._called(delta.tool_calls)

    def _called(self, calls: Any) -> None:
        for each in calls if isinstance(calls, list) else ():
            if not isinstance(each, Mapping):
                continue
            number = each.get("index", 0)
            if type(number) is not int or (number not in self._calls and len(self._calls) >= MOST_CALLS):
                continue
            self.pieces += 1
            call = self._calls.setdefault(number, {"id": None, "type": "function", "function": {}})
            if isinstance(each.get("id"), str):
                call["id"] = paired(each["id"][:LONGEST_NAME])
            function, of = each.get("function"), call["function"]
            for name in ("name", "arguments") if isinstance(function, Mapping) else ():
                piece = function.get(name) if isinstance(function, Mapping) else None
                if isinstance(piece, str) and self._size < LONGEST_ANSWER:
                    of[name] = of.get(name, "") + piece
                    self._size += len(piece)


class Relay:
    """One upstream's stream, made into the stream of a decision."""

    def __init__(self, identity: str, *, usage: bool) -> None:
        """`identity`: what every event is to bear; `usage`: whether the usage is shown to whoever asked."""
        self.answer = Answer()
        self.done = False  # whether it said that it is
        self._events, self._usage = Events(), usage
        self._identity = identity
        self._now = b'data: {"id":' + msgspec.json.encode(identity)
        self._before: bytes | None = None  # what the last event began with, up to its id

    def feed(self, data: bytes) -> bytes:
        """What of this piece goes out now; raises Failure where it cannot be understood, or says what went wrong. What
        comes after the stream says that it is done is left out, and so is what goes wrong after all was said."""
        return self._all(self._events.feed(data))

    def _all(self, events: Iterable[bytes]) -> bytes:
        ready = []
        try:
            for each in events:
                if not self.done:
                    ready.append(self._told(each))
        except Failure:
            if self.answer.finish is None:
                raise
            self.done = True
        return b"".join(ready)

    def end(self) -> bytes:
        """The stream has ended: what of it goes out still. Raises Failure where it is not whole."""
        left = self._all(self._events.rest())
        if not self.done and self.answer.finish is None:
            raise Failure("The upstream broke off in the middle of its answer.", BROKEN)
        return left

    def _told(self, event: bytes) -> bytes:
        """One event as it goes out."""
        if event.startswith(b"data: {") and b"\n" not in event:
            payload = event[6:]
        else:
            lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
            if not lines:
                return event + b"\n\n" if event.startswith(b":") else b""  # a comment keeps connections open
            payload = b"\n".join(lines)
            if payload.strip() == b"[DONE]":
                self.done = True
                return b""
            event = b"data: " + payload.replace(b"\n", b" ")  # JSON has no line end inside of a text
        try:
            chunk = _chunk(payload)
        except UNREADABLE:
            chunk = _halved(payload)
        if chunk.error is not None:
            raise Failure("The upstream failed in the middle of its answer.", FAILED)
        self.answer.take(chunk)
        if not chunk.choices and chunk.usage is not None and not self._usage:
            return b""
        try:
            return self._renamed(event, chunk.id)
        except UNREADABLE:  # what nobody read so far
            raise unreadable() from None

    def _renamed(self, event: bytes, identity: Any) -> bytes:
        before = self._before
        if before is None or not event.startswith(before):
            before = self._before = _beginning(event, identity)
        if before is not None:
            return self._now + event[len(before) :] + b"\n\n"
        try:
            plain = msgspec.json.decode(event[6:])
        except UNREADABLE:  # halves of characters
            return b"data: " + json.dumps({**json.loads(event[6:]), "id": self._identity}).encode() + b"\n\n"
        return b"data: " + msgspec.json.encode({**plain, "id": self._identity}) + b"\n\n"


def _beginning(event: bytes, identity: Any) -> bytes | None:
    """How the event begins, up to the end of its id, where that is its first field."""
    if not isinstance(identity, str):
        return None
    quoted = msgspec.json.encode(identity)
    begins = (b'data: {"id":' + quoted, b'data: {"id": ' + quoted)
    return next((each for each in begins if event.startswith(each)), None)
