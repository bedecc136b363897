"""A client of the HTTP interface that needs nothing but the standard library and msgspec."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from bondhu.errors import InvalidInput, StoreError
from bondhu.serve.messages import (
    LARGEST_BATCH,
    Answer,
    Answers,
    Heard,
    HeardMany,
    Refusal,
    Request,
    Requests,
    Said,
    SaidMany,
)

T = TypeVar("T")
STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)  # the server closed an idle connection


class Client:
    """One connection; use one client a thread, in a `with` or closed in the end. Requests with an id of your own may be
    repeated safely."""

    def __init__(self, address: str, timeout: float = 10.0) -> None:
        """`timeout`: seconds."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(
                f"The address is {address!r}.", field="address", value=address, fix="Such as http://localhost:8000."
            )
        self._address, self._prefix = address, parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decide(self, request: Request) -> Answer:
        """One decision."""
        return self._post("/v1/decide", request, Answer)

    def decide_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Many decisions, as many to a call as the server takes."""
        answers = (self._post("/v1/decide/batch", Requests(part), Answers) for part in _parts(requests))
        return [answer for part in answers for answer in part.decisions]

    def say(self, said: Said) -> Heard:
        """One feedback."""
        return self._post("/v1/feedback", said, Heard)

    def say_many(self, said: Sequence[Said]) -> list[Heard]:
        """Many feedbacks."""
        heard = (self._post("/v1/feedback/batch", SaidMany(part), HeardMany) for part in _parts(said))
        return [result for part in heard for result in part.results]

    def _post(self, path: str, body: msgspec.Struct, shape: type[T]) -> T:
        data = msgspec.json.encode(body)
        try:
            try:
                status, answer = self._exchange(path, data)
            except STALE:
                self._connection.close()
                status, answer = self._exchange(path, data)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            what = f"{self._address} does not answer: {error}."
            raise StoreError(what, fix="Is the server up (`bondhu serve`), and is the address right?") from error
        try:
            if status >= 400:
                problem = msgspec.json.decode(answer, type=Refusal).error
                kind = StoreError if status >= 500 else InvalidInput
                raise kind(problem.message, field=problem.field, value=problem.value, fix=problem.fix)
            return msgspec.json.decode(answer, type=shape)
        except msgspec.MsgspecError as error:
            what = f"{self._address} answered {status} with something else: {answer[:80]!r}."
            raise StoreError(what, fix="Is that address Bondhu's?") from error

    def _exchange(self, path: str, data: bytes) -> tuple[int, bytes]:
        self._connection.request("POST", self._prefix + path, data, {"content-type": "application/json"})
        response = self._connection.getresponse()
        return response.status, response.read()


def _parts(items: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), LARGEST_BATCH):
        yield list(items[start : start + LARGEST_BATCH])
