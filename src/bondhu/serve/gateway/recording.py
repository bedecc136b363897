"""Has logged what became of an answer: its cost, time and tokens as feedback, and its transcript. What has begun to be
recorded is recorded, whoever goes away meanwhile."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bondhu.serve.decide import Decider
from bondhu.serve.gateway.exchange import Exchange
from bondhu.serve.gateway.keeping import Keeper
from bondhu.serve.gateway.parts import Gateway
from bondhu.serve.gateway.spending import Spending

log = logging.getLogger(__name__)


class Recorder:
    """Of one deployment."""

    def __init__(self, gateway: Gateway, decider: Decider, spending: Spending | None) -> None:
        self._gateway, self._decider, self._spending = gateway, decider, spending
        self._keeper = Keeper(gateway.transcripts)
        self._masking = ThreadPoolExecutor(2, "bondhu-masking")
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, exchange: Exchange) -> asyncio.Future[None]:
        """A future of its commit, to be waited for: raises StoreError. It goes on where the waiting is cut off."""
        return asyncio.shield(self._begun(exchange))

    def leave(self, exchange: Exchange) -> None:
        """The same where nobody waits."""
        self._begun(exchange)

    def _begun(self, exchange: Exchange) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._record(exchange))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("What became of an answer could not be logged: %s", type(error).__name__)

    async def close(self) -> None:
        """When nothing new begins: have all of it written."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self._keeper.close()
        self._masking.shutdown(wait=False)

    async def _record(self, exchange: Exchange) -> None:
        decider, now = self._decider, self._decider.now()
        said = exchange.signals(decider.deployment.domain.reward.signals)
        feedback = decider.measured(exchange.decision.id, said, now)
        make = partial(exchange.transcript, self._gateway, now)
        try:
            if exchange.large:  # in the thread that commits, it would hold up all others
                made = await asyncio.get_running_loop().run_in_executor(self._masking, make)
                await self._keeper.keep(lambda: made, feedback)
            else:
                await self._keeper.keep(make, feedback)
        finally:
            if self._spending is not None:
                self._spending.settle(exchange.reserved, exchange.cost, now)
