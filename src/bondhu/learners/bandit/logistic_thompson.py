"""Thompson sampling with logistic rewards (Chapelle & Li 2011, "An empirical evaluation of Thompson sampling",
section 3): a Bayesian logistic regression for each action, by Laplace's approximation row by row, of rewards in [0, 1].

Log-odds are independent normals, and chances rise with them: how often an action is the best one is computed exactly
from the log-odds, not by drawing. An update costs O(F²) a row and the state takes 16·A·(F + 2)² bytes; with `diagonal`,
as in the paper, O(F) and 32·A·(F + 1) bytes. Features may come in any units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations.recursive import (
    believe,
    believe_diagonal,
    moderated,
    moved,
    moved_diagonal,
    ready,
    regress_diagonal,
    regress_logistic,
    swept,
)
from bondhu.learners._linear import Learn, advanced, faded, frame_of, ridge_of, scheduled, seen
from bondhu.learners._table import refused
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.thompson import Thompson
from bondhu.policies.greedy import greedy
from bondhu.types import (
    Array,
    Batch,
    Belief,
    Beliefs,
    Exploration,
    Floats,
    Integers,
    Metrics,
    PerAction,
    Policy,
    Spec,
)


@dataclass(frozen=True)
class Logistic:
    """What was learned: for each action D = F + 1 coefficients of its log-odds, the first their intercept."""

    evidence: Annotated[Floats, PerAction()]  # [A, D + 1, D + 1] as `equations.recursive`; [A, 2, D] where diagonal
    posterior: Annotated[Floats, PerAction()]  # the same
    frame: Floats  # [2, F + 1] centre and scale of the features, and centre of the log-odds
    tries: Annotated[Floats, PerAction()]  # [A] decisions; fractions where evidence fades
    won: Annotated[Floats, PerAction()]  # [A] sum of their rewards
    clock: Integers  # [3] decisions learned from, and when the frame is renewed, as in `learners._linear`


@dataclass(frozen=True)
class LogisticThompson:
    """P(reward | z, a) = σ(z'θ_a) with θ_a ~ N(m_a, P_a), each action as often as its log-odds may be the largest."""

    ridge: float = 1.0  # prior precision of each coefficient of standard features, around the log-odds of all rows
    diagonal: bool = False  # whether coefficients count as independent: less memory and time, surer than it should be
    forgetting: float = 1.0  # share of evidence that one more decision leaves; 1 forgets nothing
    exploration: Exploration = Thompson()  # what it sees as values are log-odds

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Logistic]] = Logistic
    probes: ClassVar[tuple[str, ...]] = ("clicks",)

    def __post_init__(self) -> None:
        require(self, 1e-6, math.inf, "ridge")
        require(self, 0.5, 1.0, "forgetting")

    def init(self, spec: Spec, rng: np.random.Generator) -> Logistic:  # noqa: ARG002  # it starts the same for all
        models = ridge_of(spec, self.ridge)
        evidence, posterior, actions = models.evidence, models.posterior, len(models.evidence)
        if self.diagonal:
            nothing = np.zeros((actions, models.frame.shape[1]))
            evidence, posterior = np.stack([nothing, nothing], 1), np.stack([nothing + 1.0 / self.ridge, nothing], 1)
        return Logistic(evidence, posterior, models.frame, np.zeros(actions), np.zeros(actions), models.clock)

    def update(self, state: Logistic, batch: Batch, rng: np.random.Generator) -> tuple[Logistic, Metrics]:  # noqa: ARG002
        outside = ~((batch.reward >= 0.0) & (batch.reward <= 1.0))
        if outside.any():
            row = int(outside.argmax())
            raise refused("reward", batch.reward[row], f"Row {row} needs a chance or success: a number from 0 to 1.")
        return advanced(state, batch, self._learn, self._renewed)

    def policy(self, state: Logistic, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(lambda observation: self._odds(state, observation), self.exploration)
        return ByValue(lambda observation: self.beliefs(state)(observation).value, greedy)

    def beliefs(self, state: Logistic) -> Beliefs:
        def believed(observation: Array) -> Belief:
            odds = self._odds(state, observation)
            chance, error = moderated(odds.value, odds.error**2)
            rate = (state.won.sum() + 0.5) / (state.tries.sum() + 1.0)
            return odds._replace(value=chance, error=error, scale=math.sqrt(rate * (1.0 - rate)))

        return believed

    def _odds(self, state: Logistic, observation: Array) -> Belief:
        """Mean and deviation of the log-odds."""
        observation = seen(observation, state.frame.shape[1] - 1)
        if self.diagonal:
            value, error = ready(believe_diagonal)(observation, state.frame, state.posterior)
        else:
            value, error, _ = ready(believe)(observation, state.frame, state.evidence, state.posterior, 1.0)
        return Belief(value, error, np.broadcast_to(state.tries, value.shape), state.clock.item(0))

    def _learn(self, state: Logistic) -> Learn:
        regress = ready(regress_diagonal if self.diagonal else regress_logistic)

        def learn(observation: Array, action: Integers, reward: Floats) -> float:
            np.add.at(state.tries, action, 1.0)
            np.add.at(state.won, action, reward)
            missed: float = regress(observation, action, reward, state.frame, state.evidence, state.posterior)
            return missed

        return learn

    def _renewed(self, state: Logistic) -> Logistic:
        """The state with faded evidence, in the frame of its rows so far, weighted by what they told."""
        fade = faded(state, self.forgetting)
        state = replace(state, evidence=fade * state.evidence, tries=fade * state.tries, won=fade * state.won)
        if self.diagonal:
            return scheduled(self._diagonal(state), self.forgetting)
        total = state.evidence.sum(axis=0)
        new = self._frame(state, total[0, 1:-1] / total[0, 0], total.diagonal()[1:-1] / total[0, 0])
        evidence = moved(state.evidence, state.frame, new)
        learned = replace(state, evidence=evidence, posterior=swept(evidence, self.ridge), frame=new)
        return scheduled(learned, self.forgetting)

    def _diagonal(self, state: Logistic) -> Logistic:
        squares, sums = state.evidence.sum(axis=0)
        new = self._frame(state, sums[1:] / sums[0], squares[1:] / sums[0])
        evidence, coefficients = moved_diagonal(state.evidence, state.posterior[:, 1], state.frame, new)
        posterior = np.stack([1.0 / (self.ridge + evidence[:, 0]), coefficients], axis=1)
        return replace(state, evidence=evidence, posterior=posterior, frame=new)

    def _frame(self, state: Logistic, mean: Floats, square: Floats) -> Floats:
        """Standard for features with these moments; the log-odds of all rewards are the centre of log-odds."""
        frame = np.array(state.frame)
        frame[:, :-1] = frame_of(mean, square, state.frame[:, :-1])
        frame[0, -1] = math.log((state.won.sum() + 0.5) / (state.tries.sum() - state.won.sum() + 0.5))
        return frame
