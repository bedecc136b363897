"""The day's budget of a deployment: begun from what the log says was spent today, and kept by everybody who spends."""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

import numpy as np

from bondhu.errors import Busy, StoreError
from bondhu.ports import Log
from bondhu.serve.gateway import budget as budgets
from bondhu.serve.gateway.budget import DAY, Budget
from bondhu.serve.gateway.errors import OverBudget
from bondhu.types import Records

COST = "cost"  # the signal
EVERY = 5.0  # seconds between two looks at what other processes spent
SETTLED = 3600.0  # seconds after which nothing more is expected of a decision
AGAIN = 1.0  # seconds until a log that could not be read is read again
log = logging.getLogger(__name__)


class Read(NamedTuple):
    """What the log said so far."""

    day: int
    until: float  # decisions before this were counted and do not change any more
    total: float  # dollars that they cost


class Spending:
    """Of one process."""

    def __init__(self, limit: float, facts: Log, domain: str, workers: int = 1) -> None:
        """`workers`: how many processes spend, this one among them."""
        self._facts, self._domain, self._workers, self._limit = facts, domain, workers, limit
        self._budget: Budget | None = None
        self._read: Read | None = None

    def reserve(self, cost: float, now: float) -> None:
        """Hold back what a request may cost at most. Raises OverBudget where so much is not left of the day's money,
        Busy where that is not known yet."""
        if self._budget is None:
            raise Busy("What was spent today is still being looked up.", fix="Try again in a second.")
        self._budget = budgets.today(self._budget, now)
        if cost > max(0.0, budgets.left(self._budget, self._workers)) or self._budget.spent >= self._limit:
            raise self._over(self._budget, cost, now)
        self._budget = budgets.reserved(self._budget, cost, now)

    def _over(self, budget: Budget, cost: float, now: float) -> OverBudget:
        """What is told: to wait for tomorrow where not even the end of all that is under way would be enough."""
        spent = budget.spent >= budget.limit or cost > (budget.limit - budget.spent) / self._workers
        wait = budgets.seconds_left(now) if spent else 1.0
        what = f"The budget of {self._limit:g} dollars a day is spent, or promised to answers under way:"
        what += f" this one may cost up to {cost:.3g}."
        fix = f"Ask again in {wait:.0f} seconds, limit the answer (max_tokens), or raise [gateway] dollars_per_day."
        error = OverBudget(what, fix=fix)
        error.seconds = wait
        return error

    def correct(self, reserved: float, cost: float, now: float) -> None:
        """It is known that a request costs at most so much."""
        if self._budget is not None:
            self._budget = budgets.reserved(self._budget, cost - reserved, now)

    def settle(self, reserved: float, cost: float, now: float) -> None:
        if self._budget is not None:
            self._budget = budgets.settled(self._budget, reserved, cost, now)

    def look(self, now: float) -> float:
        """Reads the log: what was spent today. In a thread."""
        day = budgets.day_of(now)
        before = self._read if self._read is not None and self._read.day == day else Read(day, day * DAY, 0.0)
        records = self._facts.read(self._domain, before.until, now + 1.0)
        settled = max(before.until, now - SETTLED)
        old = before.total + _cost(records, settled)
        self._read = Read(day, settled, old)
        return before.total + _cost(records, np.inf)

    async def follow(self, now: float) -> None:
        """Read the log once."""
        own = self._budget.own if self._budget is not None else 0.0
        total = await asyncio.to_thread(self.look, now)
        self._budget = budgets.read(self._budget or budgets.opened(self._limit, now), total, own, now)

    async def work(self, clock: budgets.Clock, begun: asyncio.Event) -> None:
        """Beside the routes: read the log at the start, which has `begun` then, and again where others spend."""
        while True:
            wait = EVERY
            try:
                await self.follow(clock())
                if self._workers == 1:
                    return
            except StoreError as error:
                log.warning("What was spent today cannot be read: %s", error)
                wait = AGAIN
            finally:
                begun.set()
            await asyncio.sleep(wait)


def _cost(records: Records, before: float) -> float:
    """Dollars that decisions before this time cost."""
    if COST not in records.feedback_signal.values:
        return 0.0
    code = list(records.feedback_signal.values).index(COST)
    counts = records.feedback_signal.codes == code
    counts &= records.time[records.feedback_decision] < before
    return float(records.feedback_value[counts].sum())
