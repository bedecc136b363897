"""The learner to start with where contexts are features: curved as well as straight, and sure of what it knows.

For each action a Bayesian ridge regression of the reward on the standardised features and on random Fourier features of
them (`equations.fourier`), optimistic by part of its own error, and SquareCB over that (Foster & Rakhlin 2020): actions
are drawn in inverse proportion to how much worse they look, in units of the rewards' deviation. No setting depends on
the units of features or rewards.

The first rows are scaled by what hardly any rows had told. So the first `remembered` are kept, and learned again when
they have become 4, 8, 16, … Memory: 4·A·(2 + C + R)² bytes, with C the observation's columns, at most `widest`, and R
`fourier`; an update costs O((C + R)²) a row, however many came before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations.fourier import Lens, absorb, believe, expand, fitted, lens_of, observe, predict
from bondhu.learners._linear import checked, seen, shape_of
from bondhu.learners._table import writable
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.square_cb import SquareCb
from bondhu.policies.greedy import greedy
from bondhu.types import (
    ActionNumbers,
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
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """What was learned."""

    covariance: Annotated[Floats, PerAction()]  # [A, D·(D + 1) / 2] as `equations.fourier`
    coefficients: Annotated[Floats, PerAction()]  # [A, D]
    tries: Annotated[Floats, PerAction()]  # [A] decisions
    moments: Floats  # [2, F] mean and variance of the observation's columns
    rewards: Floats  # [3] mean and variance of the rewards, sum of squared errors of predictions
    rounds: Integers  # [1] decisions learned from
    column: Integers  # [F] the lens, as `equations.fourier.Lens`
    sign: Floats  # [F]
    frequency: Floats  # [R, C]
    phase: Floats  # [R]
    first_observation: Floats  # [M, F] the first rows
    first_action: Annotated[Integers, ActionNumbers()]  # [M]
    first_reward: Floats  # [M]


@dataclass(frozen=True)
class FourierRidge:
    """Draws actions by inverse gaps of value + optimism·error, both from Bayesian ridge on random Fourier features."""

    fourier: int = 64  # random features: how finely curves are followed; 0: straight lines only
    strictness: float = 0.3  # κ, how much stricter the prior of all linear columns together is than that of the curves
    widest: int = 128  # observation columns above which columns are shared
    remembered: int = 64  # first rows that are learned again as scales become known
    exploration: Exploration = SquareCb(gamma=100.0, exponent=0.5, optimism=0.5)

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Fit]] = Fit
    probes: ClassVar[tuple[str, ...]] = ("planes", "scales", "clicks", "crossing")

    def __post_init__(self) -> None:
        require(self, 0, 10_000, "fourier", "remembered")
        require(self, 1e-6, math.inf, "strictness")
        require(self, 1, 10_000, "widest")

    def init(self, spec: Spec, rng: np.random.Generator) -> Fit:
        actions, features = shape_of(spec)
        lens = lens_of(features, self.fourier, self.widest, self.strictness, rng)
        size = 1 + lens.frequency.shape[1] + self.fourier
        covariance = np.zeros((actions, size * (size + 1) // 2))
        covariance[:, _diagonal(size)] = 1.0
        first = np.zeros((self.remembered, features)), np.full(self.remembered, -1), np.zeros(self.remembered)
        moments, rewards, rounds = np.zeros((2, features)), np.zeros(3), np.zeros(1, np.int64)
        models: tuple[Array, ...] = covariance, np.zeros((actions, size)), np.zeros(actions)
        return Fit(*models, moments, rewards, rounds, *lens[:4], *first)  # type: ignore[call-arg]  # three, four, three

    def update(self, state: Fit, batch: Batch, rng: np.random.Generator) -> tuple[Fit, Metrics]:  # noqa: ARG002
        rows = checked(batch, len(state.column), len(state.tries))
        may_write = [array.flags.writeable for array in vars(state).values()]
        if not all(may_write):  # a stored version, or part of one
            state = Fit(**{name: writable(array) for name, array in vars(state).items()})
        first = state.first_observation, state.first_action, state.first_reward
        models = state.covariance, state.coefficients, state.tries, state.moments, state.rewards, state.rounds
        missed, count = fitted(learn)(rows, models, first, self._lens(state)), max(len(batch), 1)
        return state, {
            "error": math.sqrt(missed / count),
            "reward": float(np.add.reduce(batch.reward)) / count,
            "rounds": float(state.rounds[0]),
        }

    def policy(self, state: Fit, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(self.beliefs(state), self.exploration)
        lens, size = self._lens(state), state.coefficients.shape[1]
        corner = state.covariance[:, _diagonal(size) - np.arange(size)]  # P e₀
        coefficients = state.coefficients + state.rewards[0] * corner

        def values(observation: Array) -> Floats:
            known: Floats = fitted(predict)(seen(observation, len(state.column)), state.moments, lens, coefficients)
            return known

        return ByValue(values, greedy)

    def beliefs(self, state: Fit) -> Beliefs:
        lens, (mean, variance, squares) = self._lens(state), state.rewards.tolist()
        rounds = state.rounds.item()
        deviation = math.sqrt((squares + variance) / (rounds + 1.0)) if rounds > 1 else 1.0
        reward, scale = np.array([mean, deviation]), math.sqrt(variance) or 1.0
        models = state.covariance, state.coefficients

        def believed(observation: Array) -> Belief:
            seen_rows = seen(observation, len(state.column))
            value, error = fitted(believe)(seen_rows, state.moments, lens, models, reward)
            return Belief(value, error, np.broadcast_to(state.tries, value.shape), rounds, scale=scale)

        return believed

    def _lens(self, state: Fit) -> Lens:
        slope = 1.0 / math.sqrt(self.strictness * state.frequency.shape[1])
        return Lens(state.column, state.sign, state.frequency, state.phase, slope)


def _diagonal(size: int) -> Integers:
    """Where the diagonal of a matrix stands whose lower half is laid out row after row."""
    return np.arange(size) * (np.arange(size) + 3) // 2


def learn(
    rows: tuple[Floats, Integers, Floats],
    models: tuple[Floats, Floats, Floats, Floats, Floats, Integers],
    first: tuple[Floats, Integers, Floats],
    lens: Lens,
) -> float:
    """Learn T rows in order, in place; the sum of squared errors made before each was known."""
    observation, action, reward = rows
    covariance, coefficients, tries, moments, rewards, rounds = models
    missed, row = 0.0, np.empty(coefficients.shape[1])
    for t in range(len(action)):
        before = rounds[0]
        observe(observation[t], moments, float(before))
        if before < len(first[1]):
            first[0][before], first[1][before], first[2][before] = observation[t], action[t], reward[t]
        expand(observation[t], moments, lens, row)
        if before == 0:
            rewards[0] = reward[t]  # nothing better is known of where rewards lie
        error = absorb(row, reward[t], rewards[0], covariance[action[t]], coefficients[action[t]])
        missed += error
        rewards[2] += error
        tries[action[t]] += 1.0
        step = reward[t] - rewards[0]
        rewards[0] += step / (before + 1.0)
        rewards[1] += (step * (reward[t] - rewards[0]) - rewards[1]) / (before + 1.0)
        rounds[0] = count = before + 1
        if 4 <= count <= len(first[1]) and count & (count - 1) == 0:
            covariance[:], coefficients[:] = 0.0, 0.0
            for i in range(len(row)):
                covariance[:, i * (i + 3) // 2] = 1.0
            for k in range(count):
                if first[1][k] >= 0:  # its action may be gone
                    expand(first[0][k], moments, lens, row)
                    absorb(row, first[2][k], rewards[0], covariance[first[1][k]], coefficients[first[1][k]])
    return missed
