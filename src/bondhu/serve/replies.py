"""Answers and errors in their one shape, and what routes ask of a request before they do anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from math import ceil
from types import coroutine
from typing import Any, NamedTuple, TypeVar

import msgspec
from fastapi import Response
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from starlette.exceptions import HTTPException

from bondhu.access import ADMINISTER, OPERATE, WITHOUT_KEYS, Access, Caller
from bondhu.errors import BondhuError, InvalidInput, TooManyRequests
from bondhu.serve.messages import Cut, Malformed, Problem, TooLarge, TooSlow, mistake, plain, problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
Shape = TypeVar("Shape", bound=msgspec.Struct)

LARGEST_BODY = 1 << 20  # bytes
JSON, PROBLEM = (b"content-type", b"application/json"), (b"content-type", b"application/problem+json")
AGAIN = ((b"retry-after", b"1"),)
CLOSE = ((b"connection", b"close"),)  # what is left of the request is not read
GUARDED = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)  # on every answer
HEADERS = (
    b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
    + b"".join(b"%b: %b\r\n" % header for header in GUARDED)
    + b"\r\n"
)  # of a good answer
encode = msgspec.json.Encoder(enc_hook=plain).encode
log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """What a request may cost before anybody looks at what it says."""

    largest_body: int = LARGEST_BODY  # bytes
    body_seconds: float = 10.0  # for the body to arrive whole
    origins: frozenset[str] = frozenset()  # that browsers may call from


Passage = tuple[bytes, Limits]  # the id of the request under way, and its limits; a plain tuple is made fastest
passage: ContextVar[Passage] = ContextVar("passage", default=(b"-", Limits()))


def request_id() -> str:
    """Of the request under way; "-" where there is none. For the log."""
    return passage.get()[0].decode("ascii")


# ------------------------------------------------------------------------------------------------------------ who asks


class Attempt(NamedTuple):
    """What somebody who reached an administrator's route wanted, for the audit log."""

    caller: Caller
    act: bool  # whether it is an act, to be noted when it succeeds as well


UNKNOWN = Caller("unknown", None)
ADMIN_KEY = b"x-admin-key"


def knocks(headers: Headers) -> bool:
    """Whether somebody sends a key that could be the administrator's: where it is refused, that is noted."""
    return any(name == ADMIN_KEY for name, _ in headers)


class Needs:
    """A dependency of a route: lets in who may, and notes in the request who that is."""

    def __init__(self, access: Access, permission: str, *, act: bool) -> None:
        self._admit, self.permission, self._act = access.admit, permission, act
        self._watched = permission not in WITHOUT_KEYS

    def __call__(self, request: Request) -> None:
        if self._watched or knocks(request.scope["headers"]):
            request.state.attempt = Attempt(UNKNOWN, self._act)
        caller = self._admit(request.scope["headers"], self.permission)
        request.state.caller = caller
        if self._watched:
            request.state.attempt = Attempt(caller, self._act)


def needs(access: Access, permission: str, *, act: bool | None = None) -> Needs:
    """What a route needs. `act`: whether it is noted in the audit log; default: where something is changed. Refused
    attempts always are."""
    return Needs(access, permission, act=permission in (OPERATE, ADMINISTER) if act is None else act)


# ------------------------------------------------------------------------------------------------------------- bodies


def decoder(shape: type[Shape]) -> Callable[[bytes], Shape]:
    """Reads a body of this shape; raises InvalidInput."""
    decode = msgspec.json.Decoder(shape).decode

    def read(body: bytes) -> Shape:
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            raise mistake(error, shape) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body is not JSON that can be read: {error}.", fix="Send one JSON object.") from None

    return read


async def whole(receive: Receive, limits: Limits | None = None) -> bytes:
    """The whole body, within the limits; default: those of the request under way. Raises TooLarge, TooSlow, Cut."""
    limits = limits or passage.get()[1]
    waiting = receive()
    try:  # nearly every body came with its headers: then no timer is needed
        pending = waiting.send(None)  # type: ignore[attr-defined]  # every server's `receive` is a coroutine
    except StopIteration as done:
        message: Message = done.value
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > limits.largest_body:
                raise too_large(limits) from None
            return body
        first = arrived(message)
    else:
        first = resumed(waiting, pending)
    return await in_time(_pieces(first, receive, limits), limits)


async def _pieces(first: Awaitable[Message], receive: Receive, limits: Limits) -> bytes:
    """A body that begins with this message."""
    pieces, size = [], 0
    message = await first
    while True:
        if message["type"] != "http.request":
            raise Cut("The connection was closed before the body was whole.", fix="Send it again.")
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limits.largest_body:
            raise too_large(limits)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()


async def arrived(message: Message) -> Message:
    return message


@coroutine
def resumed(waiting: Any, pending: Any) -> Generator[Any, Any, Message]:
    """The result of a coroutine whose first step was taken already and waits for `pending`."""
    while True:
        try:
            sent = yield pending
        except BaseException as error:  # a cancellation belongs to it as well
            take, given = waiting.throw, error
        else:
            take, given = waiting.send, sent
        try:
            pending = take(given)
        except StopIteration as done:
            result: Message = done.value
            return result


Result = TypeVar("Result")


async def in_time(work: Awaitable[Result], limits: Limits, end: float | None = None) -> Result:
    """What a body's arrival gives; raises TooSlow. `end`: of the time for the whole body, by the event loop's clock,
    where some of it has passed."""
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + limits.body_seconds if end is None else end):
            return await work
    except TimeoutError:
        what = f"The body did not arrive within {limits.body_seconds:g} seconds."
        raise TooSlow(what, fix="Send it faster, or less at a time.") from None


def too_large(limits: Limits) -> TooLarge:
    return TooLarge(f"The body has more than {limits.largest_body} bytes.", fix="Send less at a time.")


# ------------------------------------------------------------------------------------------------------------- answers


def told(answer: msgspec.Struct | Mapping[str, Any], status: int = 200) -> Response:
    return Response(encode(answer), status, media_type="application/json")


async def respond(send: Send, status: int, answer: msgspec.Struct, headers: Headers = ()) -> None:
    """One JSON answer."""
    for each in pieces(passage.get()[0], encode(answer), status, headers):
        await send(each)


def pieces(identity: bytes, body: bytes, status: int, headers: Headers = ()) -> tuple[Message, Message]:
    """An answer to a request as ASGI has it."""
    kind = JSON if status < 400 else PROBLEM
    told = [kind, (b"content-length", b"%d" % len(body)), (b"x-request-id", identity), *GUARDED, *headers]
    start: Message = {"type": "http.response.start", "status": status, "headers": told}
    return start, {"type": "http.response.body", "body": body}


def written(identity: bytes, body: bytes) -> bytes:
    """The headers of a good answer, and its body, as bytes."""
    return HEADERS % (len(body), identity) + body


def refused(error: Exception) -> tuple[int, Problem, Headers]:
    """Status, body and headers for what went wrong; what nobody foresaw is logged, not told."""
    if isinstance(error, TooManyRequests):
        return 429, problem(error), ((b"retry-after", b"%d" % max(1, ceil(error.seconds))),)
    if isinstance(error, BondhuError):
        headers: Headers = AGAIN if error.status == 503 else CLOSE if error.status in (408, 413) else ()
        return error.status, problem(error), headers
    log.error("Request %s failed in a way nobody foresaw.", request_id(), exc_info=error)
    what = f"The server failed. Its log says why, at request {request_id()}."
    return 500, Problem("Internal error", 500, "internal_error", what, fix="Tell whoever runs the server."), ()


async def failed(request: Request, error: Exception) -> Response:
    """Every error of the routes behind the hot ones in the one shape."""
    headers: Headers
    if isinstance(error, HTTPException):
        status = error.status_code
        code = {404: "not_found", 405: "method_not_allowed"}.get(status, "refused")
        shown = (request.scope.get("root_path", "") + request.scope["path"])[:200]
        body = no_route(f"{request.method} {shown}", status, code)
        named = dict(error.headers or {})
    elif isinstance(error, RequestValidationError):
        status, named, body = 422, {}, asked_wrongly(error)
    else:
        status, body, headers = refused(error)
        named = {name.decode(): value.decode() for name, value in headers}
    return Response(encode(body), status, named, PROBLEM[1].decode())


def asked_wrongly(error: RequestValidationError) -> Problem:
    """A parameter in the address that is not what it should be, in this project's words."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    wrong = InvalidInput(f"{field}: {first['msg']}.", field=field, value=first["input"], fix="See /openapi.json.")
    return problem(wrong)


def no_route(asked: str, status: int = 404, code: str = "not_found") -> Problem:
    what = f"{asked} is not a route of this server."
    return Problem(code.replace("_", " ").capitalize(), status, code, what, fix="The routes are in /openapi.json.")
