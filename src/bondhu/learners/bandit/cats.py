"""Continuous actions through smoothing, as CATS plays them (Majzoubi, Zhang, Chari, Krishnamurthy, Langford & Slivkins
2020, "Efficient contextual bandits with continuous actions"): near the best of evenly spaced centres, now and then
anywhere. In place of their tree of classifiers, whose leaves are the centres, stands a regression for every centre: it
says values and errors, and learns from fewer decisions; finding the best centre takes time in proportion to how many.

The worth of a centre is its smoothed reward, E[r | x, a uniform in its window]. Rows in the window count
1 / (width·density), so that what was logged by any policy becomes uniform there, and where they are few, neighbours
speak for a centre. Models are linear in D columns: 1, the features, and waves cos(ω'x + φ) of random directions
(Rahimi & Recht 2007, "Random features for large-scale kernel machines"), which bend to any smooth function.

An update costs O(D²) for each window that holds the action, and acting solves for the coefficients once for each
version, O(bins·D³). Memory 8·bins·(D + 1)² bytes, however many rows came. Features and rewards may come in any units;
the first batch says which, so it should hold more than a few rows.
`Batch.action` is `[T]`, numbers; `Batch.probability` is a density, in 1 / units of the action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations.recursive import standard_frame
from bondhu.equations.rows import product, quadratic
from bondhu.learners._linear import checked, seen
from bondhu.learners._table import LARGEST, refused, writable
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.policies.interval import Smoothed, Windows
from bondhu.types import Array, Batch, Belief, Beliefs, Exploration, Floats, Metrics, Policy, Spec

windows_of = lru_cache(maxsize=64)(Windows)  # working out where they end takes longer than learning a row


@dataclass(frozen=True)
class Centres:
    """What was learned, in standard units."""

    evidence: Floats  # [bins, D + 1, D + 1] sum of ω w w' over the rows w = [columns, reward] in each window
    squares: Floats  # [bins] sum of ω²
    frame: Floats  # [2, F + 1] centre and scale of the features and the reward, from the first batch
    directions: Floats  # [F, waves] ω of each wave
    phases: Floats  # [waves] φ
    low: float
    high: float
    rounds: int  # decisions learned from


@dataclass(frozen=True)
class Cats:
    """With 1 - ε uniform in the window of the best centre, with ε anywhere in the interval, where the exploration is
    ε-greedy; with any other rule, in the window of the centre that it draws."""

    bins: int = 24  # centres, evenly spaced
    bandwidth: float = 1 / 24  # half of a window's width, as a share of the interval; windows may overlap
    waves: int = 32  # random waves beside the features themselves; 0: models are linear
    ridge: float = 0.1  # pseudo-rows that speak for "no effect", on each coefficient
    alike: float = 10.0  # pseudo-rows that speak for "as the centre beside it"
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.999, minimum=0.05)  # over centres; a round is a decision

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Centres]] = Centres
    probes: ClassVar[tuple[str, ...]] = ("dial",)

    def __post_init__(self) -> None:
        Windows(0.0, 1.0, self.bins, self.bandwidth)  # refuses what would leave gaps
        require(self, 0, math.inf, "waves", "alike")
        require(self, 1e-6, math.inf, "ridge")

    def init(self, spec: Spec, rng: np.random.Generator) -> Centres:
        if not isinstance(spec.observation, Box) or len(spec.observation.shape) != 1:
            raise refused("observation", spec.observation, "Cats needs features: a Box of one dimension.")
        low, high = _ends(spec.action)
        features = spec.observation.shape[0]
        width = 1 + features + self.waves + 1
        return Centres(
            evidence=np.zeros((self.bins, width, width)),
            squares=np.zeros(self.bins),
            frame=np.stack([np.zeros(features + 1), np.ones(features + 1)]),
            directions=rng.standard_normal((features, self.waves)) / math.sqrt(features),
            phases=rng.uniform(0.0, 2.0 * math.pi, self.waves),
            low=low,
            high=high,
            rounds=0,
        )

    def update(self, state: Centres, batch: Batch, rng: np.random.Generator) -> tuple[Centres, Metrics]:  # noqa: ARG002
        """Metrics: `reward` mean reward; `largest_weight` of a row in a window; `rounds` decisions so far."""
        observation, reward = _checked(batch, state)
        if len(reward) and state.rounds == 0:
            rows = np.column_stack([observation, reward])
            state = replace(state, frame=standard_frame(rows.mean(axis=0), rows.var(axis=0), state.frame))
        target = (reward - state.frame[0, -1]) / state.frame[1, -1]
        rows = np.column_stack([_columns(observation, state), target])
        evidence, squares = writable(state.evidence), writable(state.squares)
        windows, largest = self._windows(state), 0.0
        piece = windows.piece(batch.action)
        order = np.argsort(piece, kind="stable")
        first, after = np.searchsorted(piece[order], windows.covered)
        for each in np.flatnonzero(first < after):
            inside = order[first[each] : after[each]]
            weight = 1.0 / (np.diff(windows.reach[:, each]) * batch.probability[inside])
            evidence[each] += (weight * rows[inside].T) @ rows[inside]
            squares[each] += weight @ weight
            largest = max(largest, float(weight.max()))
        learned = replace(state, evidence=evidence, squares=squares, rounds=state.rounds + len(reward))
        mean = float(reward.sum()) / max(len(reward), 1)
        return learned, {"reward": mean, "largest_weight": largest, "rounds": float(learned.rounds)}

    def policy(self, state: Centres, *, explore: bool = False) -> Policy:
        if explore:
            return Smoothed(Exploring(self.beliefs(state), self.exploration), self._windows(state))
        coefficients, *_ = self._models(state)
        centres = ByValue(lambda observation: product(_columns(observation, state), coefficients.T), greedy)
        return Smoothed(centres, self._windows(state))

    def beliefs(self, state: Centres) -> Beliefs:
        """The smoothed reward of each centre, `[T, bins]`; tries are as many as would tell as much without weights."""
        coefficients, covariance, tries = self._models(state)

        def believed(observation: Array) -> Belief:
            columns = _columns(observation, state)
            variance = quadratic(columns, covariance)
            counts = np.broadcast_to(tries, variance.shape)
            return Belief(product(columns, coefficients.T), np.sqrt(np.maximum(variance, 0.0)), counts, state.rounds)

        return believed

    def _models(self, state: Centres) -> tuple[Floats, Floats, Floats]:
        """Coefficients `[bins, D]` and their covariance `[bins, D, D]` in units of the reward, and tries `[bins]`."""
        weight = np.maximum(state.evidence[:, 0, 0], np.finfo(np.float64).tiny)
        tries = weight * (weight / np.maximum(state.squares, np.finfo(np.float64).tiny))
        told = state.evidence * (tries / weight)[:, None, None]
        gram, cross, squares = told[:, :-1, :-1], told[:, :-1, -1], told[:, -1, -1]
        coefficients, covariance = chained_ridge(gram, cross, self.ridge, self.alike)
        unexplained = float(squares.sum() - (cross * coefficients).sum())
        noise = max(unexplained, 0.0) / float(tries.sum()) if squares.any() else 1.0
        centre, scale = state.frame[:, -1]
        coefficients *= scale
        coefficients[:, 0] += centre
        return coefficients, scale**2 * noise * covariance, tries

    def _windows(self, state: Centres) -> Windows:
        return windows_of(state.low, state.high, self.bins, self.bandwidth)


def chained_ridge(gram: Floats, cross: Floats, ridge: float, alike: float) -> tuple[Floats, Floats]:
    """Coefficients `[K, D]` and covariances `[K, D, D]` of K regressions in a row, from `[K, D, D]` and `[K, D]`: what
    minimises the sum of squared errors + ridge·Σ_k |c_k|² + alike·Σ_k |c_k - c_{k+1}|².

    Its Hessian is block tridiagonal: elimination from the first to the last, then back (a Kalman smoother along the
    centres), O(K·D³).
    """
    bins, width = cross.shape
    sides = np.full(bins, 2.0) - (np.arange(bins) == 0) - (np.arange(bins) == bins - 1)
    inverse = gram + (ridge + alike * sides)[:, None, None] * np.eye(width)
    right = np.array(cross)
    inverse[0] = np.linalg.inv(inverse[0])
    for k in range(1, bins):
        right[k] += alike * inverse[k - 1] @ right[k - 1]
        inverse[k] = np.linalg.inv(inverse[k] - alike**2 * inverse[k - 1])
    right[-1] = inverse[-1] @ right[-1]
    covariance = inverse
    for k in range(bins - 2, -1, -1):
        right[k] = inverse[k] @ (right[k] + alike * right[k + 1])
        covariance[k] = inverse[k] + alike**2 * inverse[k] @ covariance[k + 1] @ inverse[k]
    return right, covariance


def _columns(observation: Array, state: Centres) -> Floats:
    """What the models see, 1, the standard features and the waves of them: `[T, F]` to `[T, D]`."""
    features, waves = state.directions.shape
    columns = np.empty((len(observation), 1 + features + waves))
    columns[:, 0] = 1.0
    standard = np.subtract(seen(observation, features), state.frame[0, :-1], out=columns[:, 1 : 1 + features])
    standard /= state.frame[1, :-1]
    columns[:, 1 + features :] = math.sqrt(2.0) * np.cos(product(standard, state.directions) + state.phases)
    return columns


def _ends(space: Space[Any]) -> tuple[float, float]:
    """Where the interval begins and ends."""
    if not isinstance(space, Box) or space.shape != (1,):
        raise refused("action", space, "Cats needs an interval: Box(low, high, (1,)).")
    low, high = float(space.low[0]), float(space.high[0])
    Windows(low, high, 1, 1.0)  # refuses what is no interval
    return low, high


def _checked(batch: Batch, state: Centres) -> tuple[Array, Floats]:
    """Features `[T, F]` and rewards `[T]`; nothing has been written yet."""
    single = replace(batch, action=np.zeros(len(batch), np.int64))
    observation, _, reward = checked(single, len(state.directions), 1)
    if batch.action.shape != reward.shape:
        raise refused("action", batch.action.shape, "It needs the shape [T]: one number a row.")
    inside = (batch.action >= state.low) & (batch.action <= state.high)
    if not inside.all():
        row = int(inside.argmin())
        fix = f"Row {row} lies outside of the interval from {state.low:g} to {state.high:g}."
        raise refused("action", batch.action[row], fix)
    dense = np.isfinite(batch.probability) & (batch.probability > 1.0 / LARGEST)
    if not dense.all():
        row = int(dense.argmin())
        raise refused(
            "probability", batch.probability[row], f"Row {row} needs a density above 0, in 1 / units of the action."
        )
    return observation, reward
