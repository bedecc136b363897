"""Linear regression of the reward on features of context and action, learned online in one pass, decision by decision:
what Vowpal Wabbit is known for. Features, units and the number of weights: `learners._regressions`; steps:
`equations.adaptive`. No rate needs tuning, and neither the units of a feature nor those of the reward matter to it.

An action's features (`Spec.action_features`) tell what an action that was never tried is likely worth. Where candidates
differ in each context, observe the features of each, `[A, F]`.

The error of a value is an approximation, as if features were uncorrelated: σ·√(Σ x² / (1 + evidence)).
Cost of a decision: proportional to the number of features. Memory: at most 16·2^bits bytes, less for small problems.
Metrics: `error` mean |reward - value| and `squared_error` its mean square, each before it was learned from; `reward`
mean reward of a decision; `rounds` decisions learned from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.learners import _regressions
from bondhu.learners._regressions import Regressions
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.square_cb import SquareCb
from bondhu.policies.greedy import greedy
from bondhu.types import Batch, Beliefs, Exploration, Metrics, Policy, Spec


@dataclass(frozen=True)
class OnlineRegression:
    """Values are one regression's; it learns from each decision once."""

    learning_rate: float = 0.5  # η: how far a first step goes towards what was seen
    step_power: float = 0.75  # rates fall as 1 / evidence^power: 0.5 as AdaGrad's, 1 as in a mean
    quadratic: bool = False  # products of pairs of context features count as features too
    bits: int = 18  # there are at most 2^bits weights
    exploration: Exploration = SquareCb(gamma=30.0, optimism=0.5)  # a round is a decision learned from

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Regressions]] = Regressions
    probes: ClassVar[tuple[str, ...]] = ("planes", "scales", "clicks", "described_actions", "candidates")

    def __post_init__(self) -> None:
        require(self, 0.0, 100.0, "learning_rate")
        require(self, 0.0, 1.0, "step_power")
        require(self, 0, 30, "bits")

    def init(self, spec: Spec, rng: np.random.Generator) -> Regressions:  # noqa: ARG002  # all weights start at 0
        return _regressions.begun(spec, self.bits, self.quadratic, members=1)

    def update(self, state: Regressions, batch: Batch, rng: np.random.Generator) -> tuple[Regressions, Metrics]:  # noqa: ARG002
        _regressions.check(batch, state)
        importance = np.ones((1, len(batch)))
        return _regressions.learned(state, batch, importance, self.quadratic, (self.learning_rate, self.step_power))

    def policy(self, state: Regressions, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(self.beliefs(state), self.exploration)
        values = _regressions.values_of(state, self.quadratic)
        return ByValue(lambda observation: values(observation)[0], greedy)

    def beliefs(self, state: Regressions) -> Beliefs:
        return _regressions.beliefs_of(state, self.quadratic)
