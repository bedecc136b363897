"""How late feedback comes, learned from feedback that had to come before now to be seen at all.

Delays are seconds from a decision to its feedback; an age is the seconds from that decision to now.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.types import Floats


class DelayDistribution(NamedTuple):
    """F(d): the share of all feedback that comes by the largest age observed which has come after d seconds."""

    delay: Floats  # [K] ascending
    share: Floats  # [K] F at each delay

    def within(self, seconds: Floats | float) -> Floats:
        """F after so many seconds: 0 before the first delay ever seen; 1 everywhere where none was."""
        if not len(self.delay):
            return np.ones(np.shape(seconds))
        place = np.searchsorted(self.delay, seconds, side="right")
        return np.concatenate([[0.0], self.share])[place]


def delay_distribution(delay: Floats, age: Floats, least: int = 1) -> DelayDistribution:
    """Product-limit estimate from delays `[K]` each seen only because it is at most its `age` `[K]`.

    F(d) = Π_{u > d} (1 - m(u) / n(u)) over delays u, where m(u) had the delay u and n(u) = #{i: delay_i ≤ u ≤ age_i}.
    Counting what arrived without that correction takes fast feedback for typical, since slow feedback to young
    decisions is not there yet. Right truncation: Lagakos, Barraj & De Gruttola (1988). Delays beyond the largest u with
    n(u) ≥ `least` are left out: a few old decisions alone would decide over everything.
    """
    times, count = np.unique(delay, return_counts=True)
    at_risk = np.cumsum(count) - np.searchsorted(np.sort(age), times, side="left")
    known = np.flatnonzero(at_risk >= least)[-1:] + 1
    end = known.item() if known.size else 0
    times, count, at_risk = times[:end], count[:end], at_risk[:end]
    stays = 1.0 - count / np.maximum(at_risk, count)
    later = np.cumprod(stays[::-1])[::-1]  # Π_{u ≥ d}
    return DelayDistribution(times, np.append(later[1:], 1.0)[: len(times)])
