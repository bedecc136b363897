"""The routes that every request of an app takes: plain ASGI and msgspec in front of the framework, for speed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeVar

import msgspec

from bondhu.errors import BondhuError, InvalidInput, StoreError
from bondhu.serve.decide import Decider
from bondhu.serve.messages import (
    LARGEST_BATCH,
    Answer,
    Answers,
    Heard,
    HeardMany,
    Malformed,
    Problem,
    Refusal,
    Request,
    Requests,
    Said,
    SaidMany,
    TooLarge,
    mistake,
    plain,
    problem,
)
from bondhu.serve.writer import Writer
from bondhu.types import Decision, Feedback

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Shape = TypeVar("Shape", bound=msgspec.Struct)

LARGEST_BODY = 1 << 20  # bytes
encode = msgspec.json.Encoder(enc_hook=plain).encode
log = logging.getLogger(__name__)


class Hot:
    """Answers decide and feedback; hands everything else to the application behind it."""

    def __init__(self, behind: Application, decider: Decider, writer: Writer) -> None:
        self._behind, self._decider, self._writer = behind, decider, writer
        self._routes = {
            "/v1/decide": reading(Request, self._decide),
            "/v1/decide/batch": reading(Requests, self._decide_many),
            "/v1/feedback": reading(Said, self._feedback),
            "/v1/feedback/batch": reading(SaidMany, self._feedback_many),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._behind(scope, receive, send)
        elif scope["method"] != "POST":
            wrong = Problem("method_not_allowed", f"{scope['path']} does not take {scope['method']}.", fix="Use POST.")
            await respond(send, 405, Refusal(wrong), ((b"allow", b"POST"),))
        else:
            try:
                status, answer = await route(await whole(receive))
                await respond(send, status, answer)
            except Exception as error:
                await respond(send, *refused(error))

    async def _decide(self, request: Request) -> tuple[int, msgspec.Struct]:
        decisions = await self._writer.submit(self._decider.choose([request]))
        return 200, answer(decisions[0])

    async def _decide_many(self, many: Requests) -> tuple[int, msgspec.Struct]:
        limited("requests", many.requests)
        if not many.requests:
            return 200, Answers([])
        decisions = await self._writer.submit(self._decider.choose(many.requests))
        return 200, Answers([answer(each) for each in decisions])

    async def _feedback(self, said: Said) -> tuple[int, msgspec.Struct]:
        feedback = self._decider.checked(said)
        known = self._decider.remembers(feedback.decision_id)
        status = "stored" if known else await asyncio.to_thread(self._decider.standing, feedback.decision_id)
        await self._writer.submit([], [feedback])
        return 202 if status == "waiting" else 200, Heard(feedback.id, feedback.decision_id, status)

    async def _feedback_many(self, many: SaidMany) -> tuple[int, msgspec.Struct]:
        limited("feedback", many.feedback)
        judged = await asyncio.to_thread(lambda: [self._judged(each) for each in many.feedback])
        good = [feedback for feedback, _ in judged if feedback is not None]
        failed: dict[int, Exception] = {}
        try:
            await self._writer.submit([], good)
        except InvalidInput:  # one of them is at fault: each for itself
            singly = [self._writer.submit([], [each]) for each in good]
            outcomes = await asyncio.gather(*singly, return_exceptions=True)
            failed = {id(row): each for row, each in zip(good, outcomes, strict=True) if isinstance(each, Exception)}
        return 200, HeardMany([refusal(told, failed[id(row)]) if id(row) in failed else told for row, told in judged])

    def _judged(self, said: Said) -> tuple[Feedback | None, Heard]:
        """The feedback to log and what to tell of it, or None and why it is refused."""
        try:
            feedback = self._decider.checked(said)
            return feedback, Heard(feedback.id, feedback.decision_id, self._decider.standing(feedback.decision_id))
        except BondhuError as error:
            return None, refusal(said, error)


def reading(
    shape: type[Shape], handler: Callable[[Shape], Awaitable[tuple[int, msgspec.Struct]]]
) -> Callable[[bytes], Awaitable[tuple[int, msgspec.Struct]]]:
    """A handler of bytes from a handler of their content."""
    decode = msgspec.json.Decoder(shape).decode

    def handle(body: bytes) -> Awaitable[tuple[int, msgspec.Struct]]:
        try:
            return handler(decode(body))
        except msgspec.ValidationError as error:
            raise mistake(error, shape) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body is not JSON that can be read: {error}.", fix="Send one JSON object.") from None

    return handle


async def whole(receive: Receive) -> bytes:
    """The whole body, up to the limit."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= LARGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"The body has more than {LARGEST_BODY} bytes.", fix="Send less at a time.")
    return body


async def respond(send: Send, status: int, answer: msgspec.Struct, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """One JSON answer."""
    body = encode(answer)
    length = (b"content-length", b"%d" % len(body))
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [(b"content-type", b"application/json"), length, *headers]})
    await send({"type": "http.response.body", "body": body})


def refused(error: Exception) -> tuple[int, Refusal, tuple[tuple[bytes, bytes], ...]]:
    """Status, body and headers for what went wrong; what nobody foresaw is logged, not told."""
    if isinstance(error, BondhuError):
        again = ((b"retry-after", b"1"),) if isinstance(error, StoreError) and error.status == 503 else ()
        return error.status, Refusal(problem(error)), again
    log.error("A request failed in a way nobody foresaw.", exc_info=error)
    return 500, Refusal(Problem("internal_error", "The server failed.", fix="Its log says why.")), ()


def refusal(row: Said | Heard, error: Exception) -> Heard:
    """What is told of one feedback of a batch that was not stored."""
    return Heard(row.id, row.decision_id, "refused", msgspec.to_builtins(refused(error)[1].error))


def limited(name: str, items: Sequence[Any]) -> None:
    """Refuse a batch that would make single decisions wait."""
    if len(items) > LARGEST_BATCH:
        what = f"There are {len(items)} items in {name!r}."
        raise InvalidInput(what, field=name, value=len(items), fix=f"Send at most {LARGEST_BATCH} at a time.")


def answer(decision: Decision) -> Answer:
    return Answer(decision.id, decision.action, decision.probability, decision.version)
