"""A client for event loops. Calls that are made in the same turn of the loop travel together."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import httpx

from bondhu.client import calls
from bondhu.client.calls import Call
from bondhu.client.fallback import Fallback, answered, is_ours, unheard
from bondhu.client.retrying import Reply, Retry, exchange
from bondhu.errors import BondhuError, InvalidInput
from bondhu.serve.messages import LARGEST_BATCH, Answer, Heard, Request, Said


class AsyncClient:
    """Any number of tasks of one event loop may share one; use it in an `async with`, or close it in the end."""

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
        """As Client; `transport` goes to httpx.AsyncClient."""
        self._address = calls.checked_address(address)
        self._http = httpx.AsyncClient(headers=calls.headers(key), timeout=timeout, **transport)
        self._retry, self._fallback = retry, fallback
        self._waiting: list[tuple[Request, asyncio.Future[Answer]]] = []
        self._flushes: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await asyncio.gather(*self._flushes)
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def decide(self, request: Request) -> Answer:
        """One decision; those that are asked for in the same turn of the loop go in one call."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((calls.with_id(request, time.time()), mine))
        if len(self._waiting) == 1:
            loop.call_soon(self._flush)
        elif len(self._waiting) == LARGEST_BATCH:
            self._flush()
        return await mine

    async def decide_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Many decisions, as many to a call as the server takes."""
        decided = await asyncio.gather(*(self._decided(part) for part in calls.parts(requests)))
        return [answer for part in decided for answer in part]

    async def say(self, said: Said) -> Heard:
        """One feedback."""
        said = calls.with_id(said, time.time())
        return unheard(said) if is_ours(said) else calls.heard(await self._sent(calls.say(said)), self._address)

    async def say_many(self, said: Sequence[Said]) -> list[Heard]:
        """Many feedbacks: each is stored or refused for itself."""
        heard = await asyncio.gather(*(self._heard(part) for part in calls.parts(said)))
        return [each for part in heard for each in part]

    def _flush(self) -> None:
        if self._waiting:
            together, self._waiting = self._waiting, []
            task = asyncio.create_task(self._answer(together))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _answer(self, together: list[tuple[Request, asyncio.Future[Answer]]]) -> None:
        """Ask for all of them at once; where one of them is refused, for each by itself."""
        try:
            requests = [request for request, _ in together]
            answers = await self._decided(requests) if len(together) > 1 else [await self._one(requests[0])]
        except InvalidInput as error:
            if len(together) == 1:
                _fail(together, error)
            else:
                await asyncio.gather(*(self._answer([each]) for each in together))
        except Exception as error:
            _fail(together, error)
        else:
            for (_, future), answer in zip(together, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    async def _one(self, request: Request) -> Answer:
        try:
            return calls.answer(await self._sent(calls.decide(request)), self._address)
        except BondhuError as error:
            if self._fallback is None or not calls.is_away(error):
                raise
            return answered(self._fallback, request)

    async def _decided(self, part: list[Request]) -> list[Answer]:
        part = [calls.with_id(each, time.time()) for each in part]
        try:
            return calls.answers(await self._sent(calls.decide_many(part)), self._address)
        except BondhuError as error:
            if self._fallback is None or not calls.is_away(error):
                raise
            return [answered(self._fallback, each) for each in part]

    async def _heard(self, part: list[Said]) -> list[Heard]:
        part = [calls.with_id(each, time.time()) for each in part]
        sent = [each for each in part if not is_ours(each)]
        told = iter(calls.heard_many(await self._sent(calls.say_many(sent)), self._address) if sent else [])
        return [unheard(each) if is_ours(each) else next(told) for each in part]

    async def _sent(self, call: Call) -> Reply | OSError:
        """Send it, again where that may help."""
        steps = exchange(self._retry, random.random)
        step = next(steps)
        while True:
            outcome = None
            if step is None:
                outcome = await self._attempt(call)
            else:
                await asyncio.sleep(step)
            try:
                step = steps.send(outcome) if outcome is not None else next(steps)
            except StopIteration as last:
                return last.value  # type: ignore[no-any-return]  # what `exchange` returns

    async def _attempt(self, call: Call) -> Reply | OSError:
        try:
            answer = await self._http.post(f"{self._address}{call.path}", content=call.body)
        except httpx.TimeoutException as error:
            return TimeoutError("timed out" if not str(error) else str(error))
        except (httpx.HTTPError, OSError) as error:
            return ConnectionError(str(error) or type(error).__name__)
        return Reply(answer.status_code, answer.content, answer.headers.get("retry-after"))


def _fail(together: list[tuple[Request, asyncio.Future[Answer]]], error: Exception) -> None:
    for _, future in together:
        if not future.done():
            future.set_exception(error)
