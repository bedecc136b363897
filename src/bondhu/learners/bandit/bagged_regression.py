"""Several online regressions, each as if it had seen another sample of the decisions: the ensemble's disagreement says
how sure a value is, also where no error formula holds (online bootstrap: Oza 2005; Vowpal Wabbit's --bag).

Each regression counts each decision Poisson(1) times. Features, units and the number of weights are those of
`learners._regressions`; cost and memory those of `online_regression`, times the members.
Metrics: `error` mean |reward - value| of a regression and `squared_error` its mean square, each before it learned from
the decision; `reward` mean reward of a decision; `rounds` decisions learned from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.learners import _regressions
from bondhu.learners._regressions import Regressions
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.bagging import Bagging
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Belief, Beliefs, Exploration, Metrics, Policy, Spec


@dataclass(frozen=True)
class BaggedRegression:
    """A value is the mean of the regressions, its error their standard deviation; they are the belief's draws."""

    members: int = 10  # regressions
    learning_rate: float = 0.5  # η: how far a first step goes towards what was seen
    step_power: float = 0.75  # rates fall as 1 / evidence^power: 0.5 as AdaGrad's, 1 as in a mean
    quadratic: bool = False  # products of pairs of context features count as features too
    bits: int = 18  # each regression has at most 2^bits weights
    exploration: Exploration = Bagging()  # a round is a decision learned from

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Regressions]] = Regressions
    probes: ClassVar[tuple[str, ...]] = ("planes", "scales", "clicks", "described_actions", "candidates")

    def __post_init__(self) -> None:
        require(self, 1, math.inf, "members")
        require(self, 0.0, 100.0, "learning_rate")
        require(self, 0.0, 1.0, "step_power")
        require(self, 0, 30, "bits")

    def init(self, spec: Spec, rng: np.random.Generator) -> Regressions:  # noqa: ARG002  # all weights start at 0
        return _regressions.begun(spec, self.bits, self.quadratic, self.members)

    def update(self, state: Regressions, batch: Batch, rng: np.random.Generator) -> tuple[Regressions, Metrics]:
        _regressions.check(batch, state)
        times = rng.poisson(1.0, (len(batch), self.members)).T.astype(np.float64)
        return _regressions.learned(state, batch, times, self.quadratic, (self.learning_rate, self.step_power))

    def policy(self, state: Regressions, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(self.beliefs(state), self.exploration)
        values = _regressions.values_of(state, self.quadratic)
        return ByValue(lambda observation: values(observation).mean(axis=0), greedy)

    def beliefs(self, state: Regressions) -> Beliefs:
        values = _regressions.values_of(state, self.quadratic)

        def believed(observation: Array) -> Belief:
            draws = values(observation)
            value, error = draws.mean(axis=0), draws.std(axis=0)
            tries = _regressions.tries_of(state, value)
            return Belief(value, error, tries, float(state.rounds), draws, state.scale)

        return believed
