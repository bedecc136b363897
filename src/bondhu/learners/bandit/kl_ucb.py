"""KL-UCB (Garivier & Cappé 2011): the action whose chance may be the highest, by the Kullback-Leibler divergence.

For rewards of 0 or 1 no algorithm's regret grows more slowly (Lai & Robbins 1985); rewards within [0, 1] are fine too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.equations.bernoulli import upper_bound
from bondhu.learners._arms import Arms, beliefs_of, check_share, no_arms, tallied
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.greedy import greedy
from bondhu.types import Batch, Belief, Beliefs, Booleans, Floats, Metrics, Policy, Spec


@dataclass(frozen=True)
class KlUcb:
    """The largest q with tries·kl(mean, q) <= ln N + caution·ln ln N, where N counts the decisions in this state.

    Actions never tried come first, equals share evenly.
    """

    caution: float = 0.0  # c: 3 in the proof of the regret, 0 is better in practice

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Arms]] = Arms
    probes: ClassVar[tuple[str, ...]] = ("bernoulli_arms", "rows_of_arms")

    def __post_init__(self) -> None:
        require(self, 0.0, math.inf, "caution")

    def init(self, spec: Spec, rng: np.random.Generator) -> Arms:  # noqa: ARG002  # nothing is drawn
        return no_arms(spec)

    def update(self, state: Arms, batch: Batch, rng: np.random.Generator) -> tuple[Arms, Metrics]:  # noqa: ARG002
        check_share(batch)
        return tallied(state, batch)

    def policy(self, state: Arms, *, explore: bool = False) -> Policy:
        beliefs = self.beliefs(state)
        if explore:
            return Exploring(beliefs, self.most_promising)
        return ByValue(lambda observation: beliefs(observation).value, greedy)

    def beliefs(self, state: Arms) -> Beliefs:
        return beliefs_of(state, state.noise)

    def most_promising(self, belief: Belief, allowed: Booleans) -> Floats:
        """Probabilities by the bounds: `[T, A]`."""
        logarithm = np.log(np.maximum(belief.tries.sum(axis=-1, keepdims=True), 1.0))
        budget = logarithm + self.caution * np.log(np.maximum(logarithm, 1.0))
        bounds = upper_bound(belief.value, budget / np.maximum(belief.tries, 1.0))
        return greedy(np.where(belief.tries > 0.0, bounds, np.inf), allowed)
