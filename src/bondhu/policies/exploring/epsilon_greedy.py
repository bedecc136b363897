"""Mostly the best value, sometimes any allowed action (Sutton & Barto 2018, section 2.2), less often as one learns."""

from __future__ import annotations

from dataclasses import dataclass

from bondhu.catalogue import require
from bondhu.policies.epsilon_greedy import epsilon_greedy
from bondhu.types import Belief, Booleans, Floats


@dataclass(frozen=True)
class EpsilonGreedy:
    """p = (1 - ε)·greedy + ε·uniform over the allowed actions, with ε = max(minimum, epsilon·decayⁿ / (1 + n)^power)
    after n rounds; an epsilon that starts below the minimum stays."""

    epsilon: float = 0.1  # share of random actions at first
    decay: float = 1.0  # factor on epsilon for each round
    minimum: float = 0.0  # epsilon falls no further
    power: float = 0.0  # 0: only the factor; 1: as 1 / rounds; 1/3: as explore-first would spread it

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "epsilon", "decay", "minimum", "power")

    def rate(self, rounds: float) -> float:
        """ε after so many rounds."""
        epsilon: float = self.epsilon * self.decay**rounds / (1.0 + rounds) ** self.power
        return max(min(self.epsilon, self.minimum), epsilon)

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        return epsilon_greedy(belief.value, allowed, self.rate(belief.rounds))
