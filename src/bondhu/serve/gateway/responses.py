"""/v1/responses, OpenAI's Responses API: an adapter in front of the chat route, which decides, asks, logs and fails.

What comes in is made into a chat; what the chat's route sends is made into a response, or into its events. Errors
before an answer begins have one shape in both protocols, and pass through as they are.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bondhu.serve.gateway.messages import Asked, plain_of, written
from bondhu.serve.gateway.messages import understood as understood_chat
from bondhu.serve.gateway.response_input import understood
from bondhu.serve.gateway.response_output import Told, whole
from bondhu.serve.gateway.response_stream import Stream
from bondhu.serve.replies import Headers, Message, Send

RESPONSES = "/v1/responses"


class Adapter:
    """Of one request: reads it, and says what is sent in answer in other words."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._asked: dict[str, Any] = {}
        self._start: Message = {}
        self._stream: Stream | None = None

    def read(self, body: bytes, headers: Headers) -> Asked:
        """The chat that asks for what a body asks for; raises InvalidInput."""
        plain = plain_of(body)
        self._asked, chat = plain, understood(plain)[1]
        return understood_chat(chat, len(written(chat)), headers)

    async def send(self, message: Message) -> None:
        """What the chat's route sends."""
        if message["type"] == "http.response.start":
            self._start = message
            if message["status"] != 200 or not self._asked.get("stream"):
                return  # its body says how long it is
            self._stream = Stream(self._told())
            await self._send(message)
        elif self._stream is not None:
            body = self._stream.feed(message["body"])
            if body or not message.get("more_body"):
                await self._send({**message, "body": body})
        else:
            await self._all(message["body"])

    async def _all(self, body: bytes) -> None:
        """One whole answer, or an error."""
        if self._start["status"] == 200:
            body = msgspec.json.encode(whole(self._told(), msgspec.json.decode(body)))
        headers = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _told(self) -> Told:
        decision = next(value for name, value in self._start["headers"] if name == b"x-bondhu-decision")
        return Told(decision.decode(), self._asked)
