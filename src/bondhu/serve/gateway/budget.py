"""Dollars for a day (UTC): what is spent, what answers under way may cost, and what others spent as the log knows it.

Pure: times are UNIX seconds, money is dollars. Several processes share a day's budget by the log: each counts what it
spends itself at once, and what the others spent whenever it reads the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

DAY = 86_400.0  # seconds
Clock = Callable[[], float]  # UNIX seconds


class Budget(NamedTuple):
    """One process's view of the day."""

    limit: float
    day: int  # days since 1970
    spent: float = 0.0
    reserved: float = 0.0  # for answers under way
    own: float = 0.0  # of `spent`, by this process, ever: what is counted while the log is read
    known: float = 0.0  # of `spent`, when the log was read last: what is left then is divided


def day_of(now: float) -> int:
    return int(now // DAY)


def opened(limit: float, now: float, spent: float = 0.0) -> Budget:
    """A budget of which so much is spent today."""
    return Budget(limit, day_of(now), spent, known=spent)


def today(budget: Budget, now: float) -> Budget:
    """The budget as it stands now: each day begins with nothing spent; what is under way stays reserved."""
    day = day_of(now)
    return budget if day == budget.day else budget._replace(day=day, spent=0.0, known=0.0)


def left(budget: Budget, workers: int = 1) -> float:
    """Dollars that may still be reserved: of what was left when the log was read, this process may use its part until
    it reads again, as nobody knows sooner what the others use."""
    part = (budget.limit - budget.known) / workers
    return part - (budget.spent - budget.known) - budget.reserved


def reserved(budget: Budget, cost: float, now: float) -> Budget:
    """After an answer was begun that may cost so much; of a cost below 0, after it was known to cost less."""
    budget = today(budget, now)
    return budget._replace(reserved=max(0.0, budget.reserved + cost))


def settled(budget: Budget, reserved: float, cost: float, now: float) -> Budget:
    """After an answer ended for which so much was reserved."""
    budget = today(budget, now)
    left = max(0.0, budget.reserved - reserved)
    return budget._replace(reserved=left, spent=budget.spent + cost, own=budget.own + cost)


def read(budget: Budget, total: float, own: float, now: float) -> Budget:
    """After the log was read: it knows of so much today; `own`: what this process had spent when the reading began.
    What it spent since may be in the total as well, so that it is rather counted twice than not at all; the next
    reading sets that right."""
    budget = today(budget, now)
    return budget._replace(spent=total + budget.own - own, known=total)


def seconds_left(now: float) -> float:
    """Until the next day begins."""
    return (day_of(now) + 1) * DAY - now
