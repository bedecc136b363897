"""The stream of a chat as the events of OpenAI's Responses API.

A chat says pieces of one message; the events say which item a piece belongs to, when each item and part begins and
ends, and repeat at the end of each what it has become. They are numbered. The items end with the chat's last word,
which it says once all is stored: nobody acts on an answer that could be lost. As all of it is repeated, all of it is
kept until then, so there is an end to what an answer may be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bondhu.serve.gateway.errors import MALFORMED, Failure
from bondhu.serve.gateway.response_input import Plain
from bondhu.serve.gateway.response_output import Told, called, part, spoken
from bondhu.serve.gateway.streaming import LONGEST_ANSWER, MOST_CALLS, UNREADABLE, Events, paired, unreadable


@dataclass
class Spoken:
    """A message under way."""

    number: int
    identity: str
    parts: list[Plain] = field(default_factory=list)  # that have ended
    kind: str = ""  # of the part under way: "output_text" or "refusal"
    texts: list[str] = field(default_factory=list)  # of that part


@dataclass
class Called:
    """A call under way."""

    number: int = -1  # of its item, from the moment at which its name is known
    identity: str = ""
    call_id: str | None = None
    name: str = ""
    texts: list[str] = field(default_factory=list)  # of its arguments
    held: str = ""  # those of them that came before its name

    @property
    def said(self) -> Plain:
        return {"id": self.call_id, "name": self.name, "arguments": "".join(self.texts)}


class Stream:
    """One answer on its way."""

    def __init__(self, told: Told) -> None:
        self._told, self._events = told, Events()
        self._out: list[bytes] = []
        self._sequence = 0
        self._begun = self._over = False
        self._finish: Any = None
        self._usage: Any = None
        self._items: dict[int, Plain] = {}  # that have ended, by number
        self._numbers = 0  # of items so far
        self._message: Spoken | None = None
        self._calls: dict[int, Called] = {}  # by the index that the chat gives them
        self._half = ""  # of a character whose other half comes with the next piece
        self._size = 0  # characters of all of them

    def feed(self, data: bytes) -> bytes:
        """The events for a piece of the chat's stream; raises Failure where it cannot be understood, or is endless."""
        for event in self._events.feed(data):
            self._take(event)
        ready = b"".join(self._out)
        self._out.clear()
        return ready

    def _take(self, event: bytes) -> None:
        payload = event.removeprefix(b"data: ")
        if self._over:
            return
        if payload == b"[DONE]":
            self._end()
        elif payload is event:  # a comment keeps connections open
            self._out.append(event + b"\n\n")
        else:
            chunk = _decoded(payload)
            if isinstance(chunk.get("error"), dict):
                self._fail(chunk["error"])
            else:
                self._piece(chunk)

    def _say(self, kind: str, **more: Any) -> None:
        said = {"type": kind, "sequence_number": self._sequence, **more}
        self._sequence += 1
        self._out.append(b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(said) + b"\n\n")

    # --------------------------------------------------------------------------------------------------------- pieces

    def _piece(self, chunk: Mapping[str, Any]) -> None:
        if not self._begun:
            self._begun = True
            self._told = self._told.begun(chunk)
            for kind in ("response.created", "response.in_progress"):
                self._say(kind, response=self._told.response("in_progress", ()))
        if chunk.get("usage") is not None:
            self._usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            if choice.get("finish_reason") is not None:
                self._finish = choice["finish_reason"]
            if (delta := choice.get("delta")) and not choice.get("index"):
                self._delta(delta)

    def _delta(self, delta: Mapping[str, Any]) -> None:
        for name, kind in (("content", "output_text"), ("refusal", "refusal")):
            text = delta.get(name)
            if isinstance(text, str) and text and (text := self._paired(text)):
                self._text(kind, text)
        calls = delta.get("tool_calls")
        for each in calls if isinstance(calls, list) else ():
            if isinstance(each, dict) and isinstance(each.get("function"), dict):
                self._call(each, each["function"])

    def _paired(self, text: str) -> str:
        """A text of whole characters; half of one waits for the rest."""
        text, self._half = self._half + text, ""
        if text.isascii():
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return paired(text)

    def _kept(self, text: str) -> str:
        """A text that is repeated at the end."""
        self._size += len(text)
        if self._size > LONGEST_ANSWER:
            raise endless(f"{LONGEST_ANSWER} characters")
        return text

    def _item(self) -> int:
        self._numbers += 1
        return self._numbers - 1

    # --------------------------------------------------------------------------------------------------------- message

    def _text(self, kind: str, text: str) -> None:
        message = self._message
        if message is None:
            number = self._item()
            message = self._message = Spoken(number, self._told.item("msg", number))
            item = spoken(message.identity, (), "in_progress")
            self._say("response.output_item.added", output_index=number, item=item)
        if message.kind != kind:
            if len(message.parts) >= MOST_CALLS:
                raise endless(f"{MOST_CALLS} parts")
            self._end_part(message)
            message.kind = kind
            self._say("response.content_part.added", **_place(message), part=part(kind, ""))
        message.texts.append(self._kept(text))
        more: Plain = {"logprobs": []} if kind == "output_text" else {}
        self._say(f"response.{kind}.delta", **_place(message), delta=text, **more)

    def _end_part(self, message: Spoken) -> None:
        if not message.kind:
            return
        text, kind = "".join(message.texts), message.kind
        more: Plain = {"text": text, "logprobs": []} if kind == "output_text" else {"refusal": text}
        self._say(f"response.{kind}.done", **_place(message), **more)
        self._say("response.content_part.done", **_place(message), part=part(kind, text))
        message.parts.append(part(kind, text))
        message.kind, message.texts = "", []

    def _end_message(self, status: str) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._end_part(message)
            self._end_item(message.number, spoken(message.identity, message.parts, status))

    def _end_item(self, number: int, item: Plain) -> None:
        self._items[number] = item
        self._say("response.output_item.done", output_index=number, item=item)

    # ----------------------------------------------------------------------------------------------------------- calls

    def _call(self, piece: Mapping[str, Any], function: Mapping[str, Any]) -> None:
        index = piece.get("index", 0)
        call = self._calls.setdefault(index if isinstance(index, int) else 0, Called())
        if len(self._calls) > MOST_CALLS:
            raise endless(f"{MOST_CALLS} calls")
        if isinstance(identity := piece.get("id"), str) and identity != call.call_id:  # some say it again and again
            call.call_id = self._kept(paired(identity))
        if isinstance(name := function.get("name"), str):
            call.name += self._kept(self._paired(name))
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            call.held += self._kept(self._paired(arguments))
        if call.name:
            self._go_on(call)

    def _go_on(self, call: Called) -> None:
        """Say what has come of a call whose name is known."""
        if call.number < 0:
            self._end_message("completed")
            call.number = self._item()
            item = called(self._told, call.number, call.said, "in_progress")
            call.identity = item["id"]
            self._say("response.output_item.added", output_index=call.number, item=item)
        if call.held:
            where = {"item_id": call.identity, "output_index": call.number}
            self._say("response.function_call_arguments.delta", **where, delta=call.held)
            call.texts.append(call.held)
            call.held = ""

    def _end_call(self, call: Called, status: str) -> None:
        self._go_on(call)
        item = called(self._told, call.number, call.said, status)
        more = {"item_id": item["id"], "output_index": call.number, "name": item["name"]}
        self._say("response.function_call_arguments.done", **more, arguments=item["arguments"])
        self._end_item(call.number, item)

    # ------------------------------------------------------------------------------------------------------------- end

    def _end(self) -> None:
        """All was said, and is stored."""
        if not self._begun:
            self._piece({})
        self._over = True
        whole = self._told.ended(self._finish, (), self._usage)
        status = whole["status"]
        if self._half:
            self._text("output_text", "\ufffd")
        self._end_message(status)
        for call in self._calls.values():
            self._end_call(call, status)
        output = [item for _, item in sorted(self._items.items())]
        self._say(f"response.{status}", response={**whole, "output": output})

    def _fail(self, error: Mapping[str, Any]) -> None:
        """It broke off. The protocol has its own list of codes."""
        self._over = True
        code = "rate_limit_exceeded" if error.get("type") == "rate_limit_error" else "server_error"
        told = {"code": code, "message": str(error.get("message") or "")}
        output = [item for _, item in sorted(self._items.items())]
        self._say("response.failed", response=self._told.response("failed", output, error=told))


def _place(message: Spoken) -> Plain:
    return {"item_id": message.identity, "output_index": message.number, "content_index": len(message.parts)}


def _decoded(payload: bytes) -> Plain:
    try:
        chunk: Plain = msgspec.json.decode(payload)
    except UNREADABLE:  # halves of characters
        try:
            chunk = json.loads(payload)
        except UNREADABLE:  # what nobody read so far
            raise unreadable() from None
    return chunk


def endless(limit: str) -> Failure:
    return Failure(f"The upstream answered with more than {limit}.", MALFORMED)
