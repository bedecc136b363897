"""A client for threads."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import httpx

from bondhu.client import calls
from bondhu.client.calls import Call
from bondhu.client.fallback import Fallback, answered, is_ours, unheard
from bondhu.client.retrying import Reply, Retry, exchange
from bondhu.errors import BondhuError
from bondhu.serve.messages import Answer, Heard, Request, Said


class Client:
    """Any number of threads may share one; use it in a `with`, or close it in the end."""

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        timeout: float = 10.0,
        retry: Retry = Retry(),  # noqa: B008  frozen
        fallback: Fallback | None = None,
        **transport: Any,
    ) -> None:
        """`timeout`: seconds for one attempt. `fallback`: what to do while the service is away, in place of an error.
        `transport`: what httpx.Client takes besides, such as `verify` or `limits`."""
        self._address = calls.checked_address(address)
        self._http = httpx.Client(headers=calls.headers(key), timeout=timeout, **transport)
        self._retry, self._fallback = retry, fallback

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decide(self, request: Request) -> Answer:
        """One decision."""
        request = calls.with_id(request, time.time())
        try:
            return calls.answer(self._sent(calls.decide(request)), self._address)
        except BondhuError as error:
            if self._fallback is None or not calls.is_away(error):
                raise
            return answered(self._fallback, request)

    def decide_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Many decisions, as many to a call as the server takes."""
        return [answer for part in calls.parts(requests) for answer in self._decided(part)]

    def say(self, said: Said) -> Heard:
        """One feedback."""
        said = calls.with_id(said, time.time())
        return unheard(said) if is_ours(said) else calls.heard(self._sent(calls.say(said)), self._address)

    def say_many(self, said: Sequence[Said]) -> list[Heard]:
        """Many feedbacks: each is stored or refused for itself."""
        return [heard for part in calls.parts(said) for heard in self._heard(part)]

    def _decided(self, part: list[Request]) -> list[Answer]:
        part = [calls.with_id(each, time.time()) for each in part]
        try:
            return calls.answers(self._sent(calls.decide_many(part)), self._address)
        except BondhuError as error:
            if self._fallback is None or not calls.is_away(error):
                raise
            return [answered(self._fallback, each) for each in part]

    def _heard(self, part: list[Said]) -> list[Heard]:
        part = [calls.with_id(each, time.time()) for each in part]
        sent = [each for each in part if not is_ours(each)]
        told = iter(calls.heard_many(self._sent(calls.say_many(sent)), self._address) if sent else [])
        return [unheard(each) if is_ours(each) else next(told) for each in part]

    def _sent(self, call: Call) -> Reply | OSError:
        """Send it, again where that may help."""
        steps = exchange(self._retry, random.random)
        step = next(steps)
        while True:
            outcome = None
            if step is None:
                outcome = self._attempt(call)
            else:
                time.sleep(step)
            try:
                step = steps.send(outcome) if outcome is not None else next(steps)
            except StopIteration as last:
                return last.value  # type: ignore[no-any-return]  # what `exchange` returns

    def _attempt(self, call: Call) -> Reply | OSError:
        try:
            answer = self._http.post(f"{self._address}{call.path}", content=call.body)
        except httpx.TimeoutException as error:
            return TimeoutError("timed out" if not str(error) else str(error))
        except (httpx.HTTPError, OSError) as error:
            return ConnectionError(str(error) or type(error).__name__)
        return Reply(answer.status_code, answer.content, answer.headers.get("retry-after"))
