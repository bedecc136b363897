"""Who is asked, how often, and who is asked instead: retries, fallbacks and circuit breakers around single calls.

All of it happens before the first byte of an answer goes out. After a time-out the same upstream is not asked again: it
may still be at work on the first question, and be paid for both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

from bondhu.serve.gateway import breaker as breakers
from bondhu.serve.gateway.breaker import CLOSED, Breaker
from bondhu.serve.gateway.connection import Response
from bondhu.serve.gateway.errors import OPEN, REACHED, Failure
from bondhu.serve.gateway.messages import written
from bondhu.serve.gateway.upstream import Calls, Upstream
from bondhu.serve.gateway.usage import Usage, estimated

FIRST, LONGEST = 0.25, 8.0  # seconds before an upstream is asked again, doubled each time
PATIENT = 20.0  # seconds of a Retry-After that are waited for; beyond them another upstream is asked

Read = TypeVar("Read")
Reader = Callable[[Response, Upstream], Awaitable[Read]]
Spent = Callable[[Upstream, str, Usage], None]  # by an upstream's model


class Question(NamedTuple):
    """What is asked of a model."""

    upstream: str
    body: Mapping[str, Any]
    streamed: bool = False


class Taken(NamedTuple, Generic[Read]):
    """An answer that has begun, or is whole, as its reader makes it."""

    upstream: Upstream
    model: str
    response: Response
    read: Read


def unheard(*_: object) -> None:
    """Where nobody counts."""


@dataclass
class Trying:
    """All upstreams of a deployment, and how they are."""

    upstreams: Mapping[str, Upstream]
    calls: Calls = field(default_factory=Calls)
    rules: breakers.Rules = breakers.Rules()
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.monotonic
    spent: Spent = field(default=unheard, repr=False)  # told what each attempt used, whatever came of it
    _breakers: dict[str, Breaker] = field(default_factory=dict, repr=False)
    _blamed: set[str] = field(default_factory=set, repr=False)  # upstreams that failed one request

    def following(self, spent: Spent) -> Trying:
        """The same for one request: an upstream may fail it many times, and is blamed once."""
        return replace(self, spent=spent, _blamed=set())

    async def answered(self, question: Question, read: Reader[Read]) -> Taken[Read]:
        """The first answer that `read` can take; raises Failure as the last of them failed, InvalidInput."""
        first = self.upstreams[question.upstream]
        failed: Failure | None = None
        for name in dict.fromkeys((first.name, *first.fallback)):
            upstream = self.upstreams[name]
            stands_in = upstream.model if upstream is not first else ""
            try:
                return await self._patiently(upstream, question, stands_in, read)
            except Failure as failure:
                if not failure.elsewhere:
                    raise
                failed = failure if failed is None or failure.code != OPEN else failed
        assert failed is not None
        raise failed

    async def _patiently(self, upstream: Upstream, question: Question, model: str, read: Reader[Read]) -> Taken[Read]:
        """One upstream, as often as it may do better. A stream is still to be `ended`."""
        self._enter(upstream)
        try:
            taken = await self._repeatedly(upstream, question, model, read)
        except BaseException as error:
            self.ended(upstream, error)
            raise
        if not question.streamed:
            self.ended(upstream)
        return taken

    async def _repeatedly(self, upstream: Upstream, question: Question, model: str, read: Reader[Read]) -> Taken[Read]:
        asked = {**question.body, "model": model or question.body.get("model", "")}
        if question.streamed and upstream.usage:
            asked["stream_options"] = {**(asked.get("stream_options") or {}), "include_usage": True}
        body, attempt = written(asked), 0
        while True:
            try:
                return await self._once(upstream, str(asked["model"]), body, read)
            except Failure as failure:
                wait = min(FIRST * 2.0**attempt, LONGEST) if failure.retry_after is None else failure.retry_after
                if attempt >= upstream.retries or not failure.again or wait > PATIENT or self._rests(upstream):
                    raise
                attempt += 1
                await self.pause(wait)

    async def _once(self, upstream: Upstream, model: str, body: bytes, read: Reader[Read]) -> Taken[Read]:
        response = None
        try:
            response = await self.calls.ask(upstream, body)
            got = await read(response, upstream)
        except BaseException as error:
            if response is not None:
                response.close()
            if response is not None or not isinstance(error, Failure) or error.code in REACHED:
                self.spent(upstream, model, estimated(len(body), 0))
            raise
        used = getattr(got, "usage", None)  # of a stream nobody knows yet
        if isinstance(used, Usage):
            self.spent(upstream, model, used)
        return Taken(upstream, model, response, got)

    # ------------------------------------------------------------------------------------------------------- breakers

    def ended(self, upstream: Upstream, error: BaseException | None = None) -> None:
        """How a request came to its end, and what that says of the upstream: nothing where whoever asked has gone."""
        name, breaker = upstream.name, self._breaker(upstream)
        if error is not None and not isinstance(error, Failure):
            self._breakers[name] = breakers.left(breaker)
        elif error is None or not error.sick:
            self._breakers[name] = CLOSED
        elif name not in self._blamed:
            self._blamed.add(name)
            self._breakers[name] = breakers.failed(breaker, self.now(), self.rules)

    def standing(self) -> dict[str, str]:
        """By upstream: closed, open or half-open."""
        now = self.now()
        return {name: breakers.standing(self._breakers.get(name, CLOSED), now, self.rules) for name in self.upstreams}

    def _breaker(self, upstream: Upstream) -> Breaker:
        return self._breakers.get(upstream.name, CLOSED)

    def _enter(self, upstream: Upstream) -> None:
        now, breaker = self.now(), self._breaker(upstream)
        entered = breakers.entered(breaker, now, self.rules)
        if entered is None:
            wait = breakers.wait(breaker, now, self.rules)
            what = f"The upstream {upstream.name!r} failed too often and is left alone for a while."
            raise Failure(what, OPEN, 503, retry_after=max(1.0, wait))
        self._breakers[upstream.name] = entered

    def _rests(self, upstream: Upstream) -> bool:
        """Whether others have found meanwhile that it does not work."""
        return breakers.standing(self._breaker(upstream), self.now(), self.rules) == "open"
