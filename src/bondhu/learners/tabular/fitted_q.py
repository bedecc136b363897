"""Fitted Q-iteration with a ridge regression of the house: learning from features (Ernst, Geurts & Wehenkel 2005).

A reservoir keeps a uniform sample of all rows ever seen (Vitter 1985, algorithm R), and each update fits Q to it anew:
`sweeps` times, the targets r + γ·max Q of what followed, over the actions allowed there, are regressed on the features,
by a model that all actions share and each action's own (`equations.regression`). With one-hot features that is a table.
Where γ < 1, no target leaves what a return can be, so that a model that cannot hold the values does not run away.

Metrics: `td_error` root of the mean squared target - Q over the reservoir; `largest_value` the largest |target|;
`reward` mean reward of a decision of the batch; `remembered` rows; `sweeps` of this update; `rounds` sessions that
truly ended. Memory: `remembered` rows of 2 F + 2 floats and 2 A bytes, and A matrices of F x F; nothing grows with the
log. An update costs `sweeps` regressions of the reservoir.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations.regression import Moments, moments, solve
from bondhu.equations.rows import product, quadratic
from bondhu.equations.td import q_learning_target
from bondhu.learners._linear import checked, shape_of
from bondhu.learners._table import refused, writable
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.types import (
    Array,
    Batch,
    Belief,
    Beliefs,
    Booleans,
    Exploration,
    Floats,
    Integers,
    Metrics,
    PerAction,
    Policy,
    Spec,
)

FLAT = 1e-9  # share of a feature's size below which its deviation is rounding


@dataclass(frozen=True)
class Fitted:
    """The model, and a reservoir of M rows. Empty rows have no action, nor have those whose action is gone."""

    coefficients: Annotated[Floats, PerAction(0)]  # [A, 1 + F] of the constant and the scaled features
    covariance: Annotated[Floats, PerAction(0)]  # [A, 1 + F, 1 + F] inverse of each action's Gram matrix and its prior
    frame: Floats  # [2, F] what is taken off a feature, and what the rest is divided by
    observation: Floats  # [M, F]
    action: Annotated[Booleans, PerAction(1)]  # [M, A] True for the action that was taken
    reward: Floats  # [M]
    discount: Floats  # [M] 0 at a true end, else 1
    following: Floats  # [M, F]
    allowed: Annotated[Booleans, PerAction(1)]  # [M, A] in what followed
    seen: int  # rows of all batches
    rounds: int  # sessions that truly ended; what exploration counts
    noise: float  # mean squared distance of a target from its fit


@dataclass(frozen=True)
class FittedQ:
    """Q ← the regression of r + γ·discount·max_a' Q(x', a') on the features of x, for each action; a' is allowed."""

    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]
    sweeps: int = 200  # regressions of one update, at most
    tolerance: float = 1e-6  # largest change of a target at which they stop
    ridge: float = 1e-3  # pseudo-rows of "features do not matter", for what all actions share
    penalty: float = 1e-3  # pseudo-rows of "this action is like the others"
    remembered: int = 20_000  # rows kept, a uniform sample of all
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.995, minimum=0.05)  # a round is a session that truly ended

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Fitted]] = Fitted
    probes: ClassVar[tuple[str, ...]] = ("one_hot_corridor", "one_hot_cut", "one_hot_trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "discount")
        require(self, 0.0, math.inf, "tolerance")
        require(self, 1e-12, math.inf, "ridge", "penalty")
        require(self, 1, math.inf, "sweeps", "remembered")

    def init(self, spec: Spec, rng: np.random.Generator) -> Fitted:  # noqa: ARG002  # the model starts the same for all
        (actions, features), rows = shape_of(spec), self.remembered
        return Fitted(
            coefficients=np.zeros((actions, 1 + features)),
            covariance=np.tile(np.linalg.inv(self._prior(features)), (actions, 1, 1)),
            frame=np.stack([np.zeros(features), np.ones(features)]),
            observation=np.zeros((rows, features)),
            action=np.zeros((rows, actions), np.bool_),
            reward=np.zeros(rows),
            discount=np.zeros(rows),
            following=np.zeros((rows, features)),
            allowed=np.zeros((rows, actions), np.bool_),
            seen=0,
            rounds=0,
            noise=1.0,
        )

    def update(self, state: Fitted, batch: Batch, rng: np.random.Generator) -> tuple[Fitted, Metrics]:
        check(batch, state.frame.shape[1], len(state.coefficients))
        if len(batch) == 0:
            return state, {}
        state = sampled(state, batch, rng)
        fitted, target, sweeps = self._fit(state)
        return fitted, {
            "td_error": fitted.noise**0.5,
            "largest_value": float(np.abs(target).max(initial=0.0)),
            "reward": float(batch.reward.mean()),
            "remembered": float(len(target)),
            "sweeps": float(sweeps),
            "rounds": float(state.rounds),
        }

    def policy(self, state: Fitted, *, explore: bool = False) -> Policy:
        return Exploring(self.beliefs(state), self.exploration) if explore else ByValue(values_of(state), greedy)

    def beliefs(self, state: Fitted) -> Beliefs:
        """The error is σ·√(x' P x), P = (Σ x x' + prior)⁻¹; tries: what 1 / x' P x gained over the prior."""

        def believed(observation: Array) -> Belief:
            design = design_of(state.frame, observation)
            spread = quadratic(design, state.covariance)
            untried = self.penalty / np.square(design).sum(axis=1)
            tries = np.maximum(1.0 / spread - untried[:, None], 0.0)
            return Belief(product(design, state.coefficients.T), np.sqrt(state.noise * spread), tries, state.rounds)

        return believed

    def _fit(self, state: Fitted) -> tuple[Fitted, Floats, int]:
        """The state with the model of its reservoir, the last targets of the rows in it, and the sweeps that took."""
        frame, rows = frame_of(state), rows_of(state)
        if len(rows) == 0:
            return state, np.zeros(0), 0
        action, reward = state.action[rows].argmax(axis=1), state.reward[rows]
        design, following = (design_of(frame, each[rows]) for each in (state.observation, state.following))
        gram = moments(design, action, reward, state.action.shape[1]).gram
        spans = list(pairwise(np.searchsorted(action, np.arange(len(gram) + 1))))
        ahead, bounds = values_of(state)(state.following[rows]), limits(reward, self.discount)
        target, count, changed = np.full(len(rows), np.inf), 0, math.inf
        while count < self.sweeps and changed > self.tolerance:
            before = target
            target = q_learning_target(reward, state.discount[rows], ahead, state.allowed[rows], self.discount)
            target = np.clip(target, *bounds)
            cross = np.stack([target[start:stop] @ design[start:stop] for start, stop in spans])
            coefficients = self._solved(gram, cross)
            ahead, changed, count = following @ coefficients.T, float(np.abs(target - before).max()), count + 1
        noise = float(np.square(target - (design * coefficients[action]).sum(axis=1)).mean())
        covariance = np.linalg.inv(gram + self._prior(frame.shape[1]))
        fitted = replace(state, coefficients=coefficients, covariance=covariance, frame=frame, noise=noise)
        return fitted, target, count

    def _solved(self, gram: Floats, cross: Floats) -> Floats:
        """Coefficients `[A, 1 + F]`. In units of `penalty`, for `solve` counts an action's own constant as 1 row."""
        return solve(Moments(gram / self.penalty, cross / self.penalty), 1.0, self.ridge / self.penalty)

    def _prior(self, features: int) -> Floats:
        """What is added to the Gram matrix of an action: `[1 + F, 1 + F]`."""
        return self.penalty * np.eye(1 + features)


def sampled(state: Fitted, batch: Batch, rng: np.random.Generator) -> Fitted:
    """The reservoir after these rows: row number n takes a random place of n if that is one of the M."""
    number = state.seen + np.arange(len(batch))
    room = len(state.reward)
    place = np.where(number < room, number, rng.random(len(batch)) * (number + 1)).astype(np.int64)
    rows = np.flatnonzero(place < room)
    columns = {
        "observation": batch.observation,
        "action": batch.action[:, None] == np.arange(state.action.shape[1]),
        "reward": batch.reward,
        "discount": batch.discount,
        "following": batch.next_observation,
        "allowed": batch.next_allowed,
    }
    kept: dict[str, Any] = {name: writable(getattr(state, name)) for name in columns}
    for name, column in columns.items():
        kept[name][place[rows]] = column[rows]
    rounds = state.rounds + int(np.count_nonzero(batch.discount == 0))
    return replace(state, **kept, seen=state.seen + len(batch), rounds=rounds)


def rows_of(state: Fitted) -> Integers:
    """Rows of the reservoir that hold something, by action: `[R]`."""
    rows = np.flatnonzero(state.action.any(axis=1))
    return rows[np.argsort(state.action[rows].argmax(axis=1), kind="stable")]


def frame_of(state: Fitted) -> Floats:
    """Mean and standard deviation of the features in the reservoir, 1 where one never changes: `[2, F]`."""
    rows = state.observation[: state.seen]
    spread = rows.std(axis=0)
    return np.stack([rows.mean(axis=0), np.where(spread > FLAT * np.abs(rows).max(axis=0), spread, 1.0)])


def design_of(frame: Floats, observation: Array) -> Floats:
    """A constant, then the scaled features: `[T, F] -> [T, 1 + F]`."""
    return np.hstack([np.ones((len(observation), 1)), (observation - frame[0]) / frame[1]])


def values_of(state: Fitted) -> Callable[[Array], Floats]:
    """Features `[T, F]` to values `[T, A]`."""
    return lambda observation: product(design_of(state.frame, observation), state.coefficients.T)


def limits(reward: Floats, factor: float) -> tuple[float, float]:
    """The lowest and the highest return that there can be with these rewards, where sessions may end at any time."""
    if factor == 1.0:
        return -math.inf, math.inf
    return min(float(reward.min()), 0.0) / (1.0 - factor), max(float(reward.max()), 0.0) / (1.0 - factor)


def check(batch: Batch, features: int, actions: int) -> None:
    """Refuse what would spoil the model; nothing has been written yet."""
    checked(batch, features, actions)
    going_on = batch.discount > 0
    spoiled = going_on & ~np.isfinite(batch.next_observation).all(axis=1)
    if spoiled.any():
        row = int(spoiled.argmax())
        raise refused("next_observation", batch.next_observation[row], f"Row {row} needs numbers.")
    stuck = going_on & ~batch.next_allowed.any(axis=1)
    if stuck.any():
        raise refused("next_allowed", None, f"Row {int(stuck.argmax())} goes on but allows no next action.")
