"""The calls as bytes: what is sent and what comes back, for any way of sending it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from bondhu import errors
from bondhu.client.fallback import new_id
from bondhu.client.retrying import Reply
from bondhu.errors import BondhuError, InvalidInput, StoreError
from bondhu.serve.messages import (
    LARGEST_BATCH,
    Answer,
    Answers,
    Heard,
    HeardMany,
    Problem,
    Request,
    Requests,
    Said,
    SaidMany,
)

T = TypeVar("T")
Item = TypeVar("Item", Request, Said)


class Call(NamedTuple):
    """One request: a path and a body."""

    path: str
    body: bytes


def with_id(item: Item, now: float) -> Item:
    """The same with an id of its own, so that a retry is not a second one."""
    return item if item.id is not None else msgspec.structs.replace(item, id=new_id(now))


def decide(request: Request) -> Call:
    return Call("/v1/decide", msgspec.json.encode(request))


def say(said: Said) -> Call:
    return Call("/v1/feedback", msgspec.json.encode(said))


def decide_many(requests: list[Request]) -> Call:
    return Call("/v1/decide/batch", msgspec.json.encode(Requests(requests)))


def say_many(said: list[Said]) -> Call:
    return Call("/v1/feedback/batch", msgspec.json.encode(SaidMany(said)))


def answer(outcome: Reply | OSError, address: str) -> Answer:
    return read(outcome, Answer, address)


def answers(outcome: Reply | OSError, address: str) -> list[Answer]:
    return read(outcome, Answers, address).decisions


def heard(outcome: Reply | OSError, address: str) -> Heard:
    return read(outcome, Heard, address)


def heard_many(outcome: Reply | OSError, address: str) -> list[Heard]:
    return read(outcome, HeardMany, address).results


def read(outcome: Reply | OSError, shape: type[T], address: str) -> T:
    """What came back; raises what the server refused, or StoreError where there is no server that answers."""
    if isinstance(outcome, OSError):
        what = f"{address} does not answer: {outcome}."
        raise StoreError(what, fix="Is the server up (`bondhu serve`), and is the address right?") from outcome
    try:
        if outcome.status >= 400:
            raise told(msgspec.json.decode(outcome.body, type=Problem))
        return msgspec.json.decode(outcome.body, type=shape)
    except msgspec.MsgspecError as error:
        what = f"{address} answered {outcome.status} with something else: {outcome.body[:80]!r}."
        raise StoreError(what, fix="Is that address Bondhu's?") from error


def told(problem: Problem) -> BondhuError:
    """The error that the server met, as one of ours."""
    name = problem.code.title().replace("_", "")
    known = getattr(errors, name, None)
    kind = known if isinstance(known, type) and issubclass(known, BondhuError) else None
    if kind is None:
        kind = StoreError if problem.status >= 500 else InvalidInput
    return kind(problem.detail, field=problem.field, value=problem.value, fix=problem.fix)


def is_away(error: BondhuError) -> bool:
    """Whether the service cannot decide now, whoever asks."""
    return isinstance(error, StoreError | errors.TooManyRequests)


def parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    """As many to a call as the server takes."""
    for start in range(0, len(items), LARGEST_BATCH):
        yield list(items[start : start + LARGEST_BATCH])


def checked_address(address: str) -> str:
    """The address without a slash at its end; raises InvalidInput."""
    try:
        where = urlsplit(address)
        good = where.scheme in ("http", "https") and bool(where.hostname) and (where.port is None or where.port > 0)
    except ValueError:
        good = False
    if not good:
        what = f"The address is {address!r}."
        raise InvalidInput(what, field="address", value=address, fix="Such as http://localhost:8000.")
    return address.rstrip("/")


def headers(key: str | None) -> dict[str, str]:
    return {"content-type": "application/json", **({"x-api-key": key} if key else {})}
