"""How an assistant does on the whole: running totals over its interactions, folded one reward after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import NamedTuple

from bondhu.equations.intervals import Interval, t_quantile

CONFIDENCE = 0.95
LAST = 100  # interactions that are compared with all before


class Moments(NamedTuple):
    """A number of values, their mean, and the sum of their squared deviations from it."""

    size: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def with_one(self, value: float) -> Moments:
        """With one more value (Welford 1962)."""
        size = self.size + 1
        mean = self.mean + (value - self.mean) / size
        return Moments(size, mean, self.squares + (value - self.mean) * (value - mean))

    @property
    def error(self) -> float:
        """Squared standard error of the mean; infinite where there are fewer than two."""
        return self.squares / (self.size - 1) / self.size if self.size > 1 else inf


class Trend(NamedTuple):
    """The mean reward of the last interactions less that of all before, with its interval."""

    change: float
    low: float
    high: float

    @property
    def direction(self) -> str:
        """ "upward" or "downward" where that is sure, else "level"."""
        return "upward" if self.low > 0 else "downward" if self.high < 0 else "level"


@dataclass(frozen=True)
class Totals:
    """What came of all interactions so far."""

    total: float = 0.0  # sum of the rewards
    successes: int = 0  # interactions with a reward above 0
    all: Moments = Moments()
    before: Moments = Moments()  # of those before the last ones
    recent: tuple[float, ...] = ()  # rewards of the last ones, the newest at the end
    last: int = LAST  # how many those are at most

    def after(self, reward: float) -> Totals:
        """With one more interaction."""
        recent, before = (*self.recent, reward), self.before
        if len(recent) > self.last:
            before, recent = before.with_one(recent[0]), recent[1:]
        return replace(
            self,
            total=self.total + reward,
            successes=self.successes + (reward > 0),
            all=self.all.with_one(reward),
            before=before,
            recent=recent,
        )

    @property
    def episodes(self) -> int:
        """Interactions."""
        return self.all.size

    @property
    def average(self) -> float:
        """Mean reward of an interaction; 0 before the first."""
        return self.total / self.all.size if self.all.size else 0.0

    @property
    def success_rate(self) -> float:
        """Share of interactions with a reward above 0; 0 before the first."""
        return self.successes / self.all.size if self.all.size else 0.0

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Of the average reward, by Student's t; without bounds before the second interaction."""
        if self.all.size < 2:
            return -inf, inf
        half = t_quantile((1 + confidence) / 2, self.all.size - 1) * sqrt(self.all.error)
        return self.average - half, self.average + half

    def trend(self, confidence: float = CONFIDENCE) -> Trend:
        """The last interactions against all before, with Welch's interval (1947); level where nothing is before."""
        now, before = folded_moments(self.recent), self.before
        if not before.size:
            return Trend(0.0, -inf, inf)
        change, square = now.mean - before.mean, now.error + before.error
        if square == inf:
            return Trend(change, -inf, inf)
        if not square:
            return Trend(change, change, change)
        degrees = square**2 / (now.error**2 / (now.size - 1) + before.error**2 / (before.size - 1))
        half = t_quantile((1 + confidence) / 2, max(1, int(degrees + 1e-9))) * sqrt(square)
        return Trend(change, change - half, change + half)


def folded(rewards: Iterable[float], totals: Totals = Totals()) -> Totals:
    """The totals after these rewards."""
    for reward in rewards:
        totals = totals.after(reward)
    return totals


def folded_moments(values: Iterable[float]) -> Moments:
    """The moments of these values."""
    moments = Moments()
    for value in values:
        moments = moments.with_one(value)
    return moments
