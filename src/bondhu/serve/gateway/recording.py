"""Has logged what became of an answer: its cost, time and tokens as feedback, and its transcript. What has begun to be
recorded is recorded, whoever goes away meanwhile."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bondhu.ports import Transcript
from bondhu.serve.decide import Decider
from bondhu.serve.gateway.exchange import Exchange
from bondhu.serve.gateway.keeping import Keeper, Keeping
from bondhu.serve.gateway.parts import Gateway
from bondhu.serve.gateway.spending import Spending

log = logging.getLogger(__name__)


class Recorder:
    """Of one deployment."""

    def __init__(self, gateway: Gateway, decider: Decider, spending: Spending | None) -> None:
        self._gateway, self._decider, self._spending = gateway, decider, spending
        self._keeper = Keeper(gateway.transcripts)
        self._masking = ThreadPoolExecutor(2, "bondhu-masking")
        self._under_way: set[asyncio.Future[Transcript]] = set()  # large ones

    def begin(self, exchange: Exchange) -> asyncio.Future[None]:
        """A future of its commit, to be waited for: raises StoreError, Busy. It goes on where the waiting is cut
        off."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._record(exchange, told)
        return told

    def leave(self, exchange: Exchange) -> None:
        """The same where nobody waits."""
        self._record(exchange, None)

    async def close(self) -> None:
        """When nothing new begins: have all of it written."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self._keeper.close()
        self._masking.shutdown(wait=False)

    def _record(self, exchange: Exchange, told: asyncio.Future[None] | None) -> None:
        decider, now = self._decider, self._decider.now()
        said = exchange.signals(decider.deployment.domain.reward.signals)
        feedback = decider.measured(exchange.decision.id, said, now)
        keeping = Keeping(
            partial(exchange.transcript, self._gateway, now), feedback, partial(self._ended, exchange, now, told)
        )
        if exchange.large:  # in the thread that commits, it would hold up all others
            making = asyncio.get_running_loop().run_in_executor(self._masking, keeping.make)
            self._under_way.add(making)
            making.add_done_callback(partial(self._made, keeping))
        else:
            self._keep(keeping)

    def _made(self, keeping: Keeping, making: asyncio.Future[Transcript]) -> None:
        """A large one is masked."""
        self._under_way.discard(making)
        self._keep(keeping._replace(make=making.result))

    def _keep(self, keeping: Keeping) -> None:
        try:
            self._keeper.keep(keeping)
        except Exception as error:
            keeping.tell(error)

    def _ended(
        self, exchange: Exchange, now: float, told: asyncio.Future[None] | None, error: Exception | None
    ) -> None:
        """It is committed, or cannot be."""
        if self._spending is not None:
            self._spending.settle(exchange.reserved, exchange.cost, now)
        if error is not None:
            log.error("What became of an answer could not be logged: %s", type(error).__name__)
        if told is None or told.done():  # whoever waited has gone
            return
        if error is None:
            told.set_result(None)
        else:
            told.set_exception(error)
