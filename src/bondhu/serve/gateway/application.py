"""The gateway's routes as plain ASGI, in front of the framework; everything else goes on to the application behind."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from time import perf_counter
from typing import Any

from bondhu.access import DECIDE
from bondhu.errors import BondhuError, UnknownName
from bondhu.serve.gateway.answering import Answering
from bondhu.serve.gateway.errors import event, told
from bondhu.serve.gateway.exchange import Exchange
from bondhu.serve.gateway.messages import Reading, read
from bondhu.serve.gateway.parts import Gateway
from bondhu.serve.gateway.responses import RESPONSES, Adapter
from bondhu.serve.gateway.staying import Gone
from bondhu.serve.hot import noted
from bondhu.serve.parts import Parts
from bondhu.serve.replies import GUARDED, JSON, Application, Headers, Message, Receive, Send, encode, passage, whole

log = logging.getLogger(__name__)
CHAT, MODELS = "/v1/chat/completions", "/v1/models"
LEFT = 499  # the status of a request whose client has gone, for the metrics
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")


class Chats:
    """Answers /v1/chat/completions, /v1/responses and /v1/models."""

    def __init__(self, behind: Application, gateway: Gateway, parts: Parts) -> None:
        self._behind, self._parts, self._admit = behind, parts, parts.access.admit
        self.answering = Answering(gateway, parts.decider, parts.writing.submit)
        self._spending: asyncio.Task[None] | None = None
        self._routes = {CHAT: self._chat, RESPONSES: self._response, MODELS: self._known}
        self._models = {each: model(each) for each in ("bondhu", parts.decider.deployment.domain.name)}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._behind(scope, self._living(receive), send)
        elif scope["type"] == "http" and (scope["path"] in self._routes or scope["path"].startswith(MODELS)):
            began = perf_counter()
            route = scope["path"] if scope["path"] in self._routes else MODELS
            status = await self._routes[route](scope, receive, send)
            self._parts.meter.answered(route, status, perf_counter() - began)
        else:
            await self._behind(scope, receive, send)

    def _living(self, receive: Receive) -> Receive:
        """The server's word that it starts or stops, heard on its way."""

        async def heard() -> Message:
            message = await receive()
            spending = self.answering.spending
            if message["type"] == "lifespan.startup":
                await self.answering.open()
                if spending is not None:
                    begun = asyncio.Event()
                    work = spending.work(self._parts.decider.now, begun)
                    self._spending = asyncio.get_running_loop().create_task(work)
                    await begun.wait()
            elif message["type"] == "lifespan.shutdown":
                if self._spending is not None:
                    self._spending.cancel()
                    with suppress(asyncio.CancelledError):
                        await self._spending
                await self.answering.close()
            return message

        return heard

    # ----------------------------------------------------------------------------------------------------------- chat

    async def _response(self, scope: Message, receive: Receive, send: Send) -> int:
        """A chat in the words of OpenAI's Responses API."""
        adapter = Adapter(send)
        return await self._chat(scope, receive, adapter.send, adapter.read)

    async def _chat(self, scope: Message, receive: Receive, send: Send, understood: Reading = read) -> int:
        """Returns the status that was answered."""
        exchange: Exchange | None = None
        reply = Reply(send)
        try:
            only(scope, "POST")
            headers = scope["headers"]
            self._admit(headers, DECIDE)
            asked = understood(await whole(receive), headers)
            exchange = await self.answering.begun(asked)
            if asked.streamed:
                reply.told = (*EVENTS, *exchange.headers())
                await reply.end(await self.answering.streamed(exchange, receive, reply.piece))
            else:
                await reply.all(200, await self.answering.whole(exchange, receive), exchange.headers())
        except Gone:
            return LEFT
        except Exception as error:
            if reply.began:
                log.warning("An answer broke off: %s", getattr(error, "what", type(error).__name__))
                await reply.end(event(error))
                return 200
            noted(self._parts.acts, scope, error)
            status, wrong, more = told(error)
            await reply.all(status, encode(wrong), (*more, *(exchange.headers() if exchange else ())))
            return status
        return 200

    # --------------------------------------------------------------------------------------------------------- models

    async def _known(self, scope: Message, receive: Receive, send: Send) -> int:  # noqa: ARG002  as of a route
        """What may be asked for as a model: the gateway itself, whose strategies choose the model."""
        reply = Reply(send)
        try:
            only(scope, "GET")
            self._admit(scope["headers"], DECIDE)
            body: Any = self._listed(scope["path"][len(MODELS) :])
        except Exception as error:
            noted(self._parts.acts, scope, error)
            status, wrong, more = told(error)
            await reply.all(status, encode(wrong), more)
            return status
        await reply.all(200, encode(body))
        return 200

    def _listed(self, rest: str) -> dict[str, Any]:
        if rest in ("", "/"):
            return {"object": "list", "data": list(self._models.values())}
        found = self._models.get(rest.removeprefix("/"))
        if found is None or not rest.startswith("/"):
            what, fix = f"There is no model {rest[1:81]!r}.", "Ask for 'bondhu': the strategy chooses the model."
            raise UnknownName(what, field="model", value=rest[1:81], fix=fix)
        return found


class NotTaken(BondhuError):
    """The route does not take this method."""

    status = 405


def only(scope: Message, method: str) -> None:
    if scope["method"] != method:
        raise NotTaken(f"{scope['path']} does not take {scope['method']}.", fix=f"Use {method}.")


def model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "bondhu"}


class Reply:
    """One answer over ASGI: whole, or piece by piece."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.told: Headers = ()
        self.began = False

    async def all(self, status: int, body: bytes, headers: Headers = ()) -> None:
        head = [JSON, (b"content-length", b"%d" % len(body)), *self._own(), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def piece(self, body: bytes) -> None:
        if not self.began:
            self.began = True
            head = [*self._own(), *self.told]
            await self._send({"type": "http.response.start", "status": 200, "headers": head})
        if body:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body})

    @staticmethod
    def _own() -> Headers:
        return [(b"x-request-id", passage.get()[0]), *GUARDED]
