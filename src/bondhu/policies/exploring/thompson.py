"""Each action as often as it may be the best one (Thompson 1933; Chapelle & Li 2011), with exact probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bondhu.catalogue import require
from bondhu.equations.largest import largest_of_draws, largest_of_normals
from bondhu.policies.drawing import evenly
from bondhu.types import Belief, Booleans, Floats


@dataclass(frozen=True)
class Thompson:
    """p(a) is the probability that a's value is the largest of the allowed ones, as far as is known.

    Where the belief holds joint draws, it is their share; else values are independent normals with the belief's errors,
    and quadrature gives the probability to 1e-9. Without error or scale the best value wins; equals share evenly.
    """

    scale: float = 1.0  # factor on the errors: below 1 surer than the belief, 0 greedy

    def __post_init__(self) -> None:
        require(self, 0.0, math.inf, "scale")

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        evenly(allowed)  # refuses a row that allows nothing
        if belief.draws is None:
            return largest_of_normals(belief.value, self.scale * belief.error, allowed)
        return largest_of_draws(belief.value + self.scale * (belief.draws - belief.value), allowed)
