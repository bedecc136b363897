"""Thompson sampling with linear rewards (Agrawal & Goyal 2013, "Thompson sampling for contextual bandits with linear
payoffs"): a Bayesian ridge regression for each action, which is taken as often as it may be the best one.

Actions are independent a posteriori, so the chance of each to be the best is computed exactly, not by drawing. An
update costs O(F²) a row; the state is `Ridge`, 16·A·(F + 2)² bytes. Features and rewards may come in any units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations.recursive import believe, ready, regress
from bondhu.learners._linear import Learn, Ridge, advanced, renewed, ridge_of, seen, values_of
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.thompson import Thompson
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Belief, Beliefs, Exploration, Metrics, Policy, Spec


@dataclass(frozen=True)
class LinearThompson:
    """value(a) ~ N(z'θ_a, noise²·z'P_a z), with θ_a and P_a of a ridge regression on the rows of action a."""

    ridge: float = 1.0  # pseudo-rows that speak for "no effect", on each coefficient of standard features
    noise: float = 0.0  # standard deviation of a reward around its mean; 0: estimated from what is not explained
    forgetting: float = 1.0  # share of evidence that one more decision leaves; 1 forgets nothing
    exploration: Exploration = Thompson()

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Ridge]] = Ridge
    probes: ClassVar[tuple[str, ...]] = ("planes", "scales")

    def __post_init__(self) -> None:
        require(self, 1e-6, math.inf, "ridge")
        require(self, 0.0, math.inf, "noise")
        require(self, 0.5, 1.0, "forgetting")

    def init(self, spec: Spec, rng: np.random.Generator) -> Ridge:  # noqa: ARG002  # it starts the same for all
        return ridge_of(spec, self.ridge)

    def update(self, state: Ridge, batch: Batch, rng: np.random.Generator) -> tuple[Ridge, Metrics]:  # noqa: ARG002
        return advanced(state, batch, _learn, lambda learned: renewed(learned, self.ridge, self.forgetting))

    def policy(self, state: Ridge, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(self.beliefs(state), self.exploration)
        return ByValue(values_of(state.frame, state.posterior[:, -1, :-1]), greedy)

    def beliefs(self, state: Ridge) -> Beliefs:
        features = state.frame.shape[1] - 1

        def believed(observation: Array) -> Belief:
            models = state.frame, state.evidence, state.posterior
            value, error, tries = ready(believe)(seen(observation, features), *models, self.noise)
            return Belief(value, error, tries, state.clock.item(0), scale=state.frame.item(-1))

        return believed


def _learn(state: Ridge) -> Learn:
    return lambda *rows: ready(regress)(*rows, state.frame, state.evidence, state.posterior)
