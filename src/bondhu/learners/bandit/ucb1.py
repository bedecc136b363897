"""UCB1 (Auer, Cesa-Bianchi & Fischer 2002): the action whose mean reward may be the highest, by Hoeffding's bound.

Rewards are meant to lie in [0, 1]; for others, let the confidence grow with their range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.learners._arms import Arms, beliefs_of, no_arms, tallied
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.ucb import Ucb
from bondhu.policies.greedy import greedy
from bondhu.types import Batch, Beliefs, Exploration, Metrics, Policy, Spec


@dataclass(frozen=True)
class Ucb1:
    """Mean rewards, and √(2·ln N / tries) on top of them when exploring."""

    exploration: Exploration = Ucb(math.sqrt(2.0))  # a round is a decision

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Arms]] = Arms
    probes: ClassVar[tuple[str, ...]] = ("bernoulli_arms", "gaussian_arms", "rows_of_arms")

    def init(self, spec: Spec, rng: np.random.Generator) -> Arms:  # noqa: ARG002  # nothing is drawn
        return no_arms(spec)

    def update(self, state: Arms, batch: Batch, rng: np.random.Generator) -> tuple[Arms, Metrics]:  # noqa: ARG002
        return tallied(state, batch)

    def policy(self, state: Arms, *, explore: bool = False) -> Policy:
        beliefs = self.beliefs(state)
        if explore:
            return Exploring(beliefs, self.exploration)
        return ByValue(lambda observation: beliefs(observation).value, greedy)

    def beliefs(self, state: Arms) -> Beliefs:
        return beliefs_of(state, state.noise)
