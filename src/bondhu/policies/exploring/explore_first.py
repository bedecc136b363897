"""At random for a while, then the best value: "explore-first" or "explore-then-commit" (Slivkins 2019, section 1.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bondhu.catalogue import require
from bondhu.policies.drawing import evenly
from bondhu.policies.greedy import greedy
from bondhu.types import Belief, Booleans, Floats


@dataclass(frozen=True)
class ExploreFirst:
    """Uniform over the allowed actions during the first rounds, greedy after them."""

    rounds: int = 100  # that explore

    def __post_init__(self) -> None:
        require(self, 0, math.inf, "rounds")

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        return evenly(allowed) if belief.rounds < self.rounds else greedy(belief.value, allowed)
