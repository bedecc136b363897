"""Worse values more rarely, in inverse proportion to the gap (Abe & Long 1999; SquareCB: Foster & Rakhlin 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bondhu.catalogue import require
from bondhu.compiled import compiled
from bondhu.equations.gaps import inverse_gap
from bondhu.errors import InvalidInput
from bondhu.policies.drawing import evenly
from bondhu.types import Belief, Booleans, Floats

LEAST = 1e-9  # without any greed the rule would be uniform


@dataclass(frozen=True)
class SquareCb:
    """p(a) = 1 / (K + γ·(best - u(a)) / scale) for each of the K allowed actions but the best, which has the rest;
    γ = gamma·(1 + n)^exponent after n rounds, u = value + optimism·error. Equally good best actions share the rest."""

    gamma: float = 10.0  # greed at first, above 0, for gaps in units of the belief's scale
    exponent: float = 0.5  # how fast greed grows with the rounds
    optimism: float = 0.0  # errors that an action is given credit for

    def __post_init__(self) -> None:
        require(self, LEAST, math.inf, "gamma")
        require(self, 0.0, 1.0, "exponent")
        require(self, 0.0, math.inf, "optimism")

    def greed(self, rounds: float) -> float:
        """γ after so many rounds."""
        return float(self.gamma * (1.0 + rounds) ** self.exponent)

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        hopeful = belief.value + self.optimism * belief.error if self.optimism else belief.value
        if allowed.shape != hopeful.shape:
            what = f"`allowed` has the shape {allowed.shape}."
            raise InvalidInput(what, field="allowed", value=allowed.shape, fix=f"Values have {hopeful.shape}.")
        probabilities = np.empty(allowed.shape)
        greed = self.greed(belief.rounds) / belief.scale
        if compiled(inverse_gap)(np.asarray(hopeful, np.float64), allowed, greed, probabilities) >= 0:
            evenly(allowed)  # refuses the row that allows nothing
        return probabilities
