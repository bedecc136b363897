"""Better values exponentially more often (Gibbs or Boltzmann; Sutton & Barto 2018, equation 2.11)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bondhu.catalogue import require
from bondhu.policies.drawing import evenly
from bondhu.types import Belief, Booleans, Floats

COLDEST = 1e-9  # below it the rule is greedy, and quotients overflow


@dataclass(frozen=True)
class Softmax:
    """p(a) ∝ exp(value(a) / τ) over the allowed actions, with τ = max(minimum, temperature·decayⁿ) after n rounds;
    a temperature that starts below the minimum stays."""

    temperature: float = 1.0  # τ at first, in units of the value: a gap of τ makes an action e times rarer
    decay: float = 1.0  # factor on the temperature for each round
    minimum: float = 0.01  # the temperature falls no further

    def __post_init__(self) -> None:
        require(self, COLDEST, math.inf, "temperature", "minimum")
        require(self, 0.0, 1.0, "decay")

    def warmth(self, rounds: float) -> float:
        """τ after so many rounds."""
        cooled: float = self.temperature * self.decay**rounds
        return max(min(self.temperature, self.minimum), cooled)

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        evenly(allowed)  # refuses a row that allows nothing
        within = np.where(allowed, belief.value, -np.inf)
        weights = np.exp((within - within.max(axis=-1, keepdims=True)) / self.warmth(belief.rounds))
        probabilities: Floats = weights / weights.sum(axis=-1, keepdims=True)
        return probabilities
