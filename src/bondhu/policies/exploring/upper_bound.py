"""The best upper bound from the error of any estimate (LinUCB: Li et al. 2010; Bayes-UCB: Kaufmann et al. 2012)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bondhu.catalogue import require
from bondhu.policies.greedy import greedy
from bondhu.types import Belief, Booleans, Floats


@dataclass(frozen=True)
class UpperBound:
    """The allowed action with the largest value + width·error; equals share evenly."""

    width: float = 1.0  # standard deviations above the value that are still believed possible

    def __post_init__(self) -> None:
        require(self, 0.0, math.inf, "width")

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        return greedy(belief.value + self.width * belief.error, allowed)
