"""What a random member of an ensemble would take (bootstrapped: Osband & Van Roy 2015; "bag" in Vowpal Wabbit)."""

from __future__ import annotations

from dataclasses import dataclass

from bondhu.catalogue import require
from bondhu.equations.largest import largest_of_draws
from bondhu.errors import InvalidInput
from bondhu.policies.drawing import evenly, uniformly
from bondhu.types import Belief, Booleans, Floats


@dataclass(frozen=True)
class Bagging:
    """p = (1 - floor)·share + floor·uniform, where the share counts the belief's draws in which the action is the best
    of the allowed ones; equals share evenly. Without a floor, an action that no member prefers is never tried."""

    floor: float = 0.0  # share of random actions

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "floor")

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        if belief.draws is None:
            fix = "Take a learner that keeps an ensemble, or explore by 'thompson'."
            raise InvalidInput("Bagging got a belief without draws.", field="exploration", value="bagging", fix=fix)
        evenly(allowed)  # refuses a row that allows nothing
        return (1.0 - self.floor) * largest_of_draws(belief.draws, allowed) + uniformly(allowed, self.floor)
