"""Thompson sampling with normal rewards (Agrawal & Goyal 2013): each action as often as its mean may be the highest.

Normal prior and noise give a normal posterior (Murphy 2007, section 2.3). Rewards that are not normal are fine: what
counts is the mean of several.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.learners._arms import Arms, beliefs_of, no_arms, tallied
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.thompson import Thompson
from bondhu.policies.greedy import greedy
from bondhu.types import Batch, Beliefs, Exploration, Metrics, Policy, Spec

LEAST = 1e-12  # a variance that is not divided by when smaller


@dataclass(frozen=True)
class GaussianThompson:
    """The posterior of each mean: precision 1 / prior_variance + tries / noise², and the mean that weighs both."""

    prior_mean: float = 0.0  # of the reward of an action that was never tried
    prior_variance: float = 1.0  # of an action's mean reward: how different actions may be
    noise: float = 0.0  # standard deviation of a reward around its mean; 0: estimated from what was seen
    forgetting: float = 1.0  # what remains of a state's evidence at each new decision there; 1: nothing is forgotten
    exploration: Exploration = Thompson()  # a round is a decision

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Arms]] = Arms
    probes: ClassVar[tuple[str, ...]] = ("bernoulli_arms", "gaussian_arms", "rows_of_arms")

    def __post_init__(self) -> None:
        require(self, -math.inf, math.inf, "prior_mean")
        require(self, LEAST, math.inf, "prior_variance")
        require(self, 0.0, math.inf, "noise")
        require(self, 0.0, 1.0, "forgetting")

    def init(self, spec: Spec, rng: np.random.Generator) -> Arms:  # noqa: ARG002  # nothing is drawn
        return no_arms(spec, self.prior_variance)

    def update(self, state: Arms, batch: Batch, rng: np.random.Generator) -> tuple[Arms, Metrics]:  # noqa: ARG002
        return tallied(state, batch, self.forgetting)

    def policy(self, state: Arms, *, explore: bool = False) -> Policy:
        beliefs = self.beliefs(state)
        if explore:
            return Exploring(beliefs, self.exploration)
        return ByValue(lambda observation: beliefs(observation).value, greedy)

    def beliefs(self, state: Arms) -> Beliefs:
        variance = max(self.noise**2 if self.noise > 0.0 else state.noise, LEAST)
        return beliefs_of(state, variance, self.prior_mean, variance / self.prior_variance)
