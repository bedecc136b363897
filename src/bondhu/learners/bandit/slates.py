"""One action in each of several slots, learned from one reward for the whole slate: slots are taken to add up,
r = z'θ + Σ_k z'γ_{k,a_k} + noise, as for the pseudo-inverse estimator of Swaminathan et al. (2017) that judges them.

The ridge regression is exact: an update adds the products of D = (1 + ΣA_k)·(F + 1) columns, O(D²) a row, and acting
solves for the coefficients once for each version, O(D³). Memory 8·(D + 1)² bytes, however many rows came. Features and
rewards may come in any units; the first batch says which, so it should hold more than a few rows.

Observations are features `[T, F]`. `Batch.action` is `[T, K]`, `Batch.probability` that of the whole slate. The actions
of the slots stand side by side, those of the first slot first, in `allowed [T, ΣA_k]` and in what is believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.equations.recursive import deviation_of, standard_frame, swept
from bondhu.equations.rows import product, quadratic
from bondhu.learners._linear import checked, seen
from bondhu.learners._table import refused, writable
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.policies.slots import Slots, side_by_side
from bondhu.types import Array, Batch, Belief, Beliefs, Exploration, Floats, Integers, Metrics, Policy, Spec

WIDEST = 10_000  # columns of the regression: 800 MB
CHUNK = 1_024  # rows whose columns are in memory at a time


@dataclass(frozen=True)
class Additive:
    """What was learned, in standard units."""

    evidence: Floats  # [D + 1, D + 1] sum of w w' over rows w = [shared columns, those of each action, reward]
    frame: Floats  # [2, F + 1] centre and scale of the features and the reward, from the first batch
    sizes: Integers  # [K] actions of each slot
    rounds: int  # slates learned from


@dataclass(frozen=True)
class Slates:
    """Explores in each slot by itself, so that the probability of a slate is the product of those of its slots, which
    the memo of a choice holds, `[T, K]`."""

    ridge: float = 1.0  # pseudo-slates that speak for "no effect", on each coefficient
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.999, minimum=0.05)  # of each slot; a round is a slate

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Additive]] = Additive
    probes: ClassVar[tuple[str, ...]] = ("page",)

    def __post_init__(self) -> None:
        require(self, 1e-6, math.inf, "ridge")

    def init(self, spec: Spec, rng: np.random.Generator) -> Additive:  # noqa: ARG002  # it starts the same for all
        if not isinstance(spec.observation, Box) or len(spec.observation.shape) != 1:
            raise refused("observation", spec.observation, "Slates need features: a Box of one dimension.")
        if not isinstance(spec.action, MultiDiscrete) or spec.action.nvec.ndim != 1 or spec.action.start.any():
            raise refused("action", spec.action, "Slates need a flat MultiDiscrete: the actions of each slot.")
        features, sizes = spec.observation.shape[0], spec.action.nvec.astype(np.int64)
        width = int(1 + sizes.sum()) * (features + 1)
        if width > WIDEST:
            fix = f"{features} features of {sizes.sum()} actions make {width} columns; {WIDEST} are possible."
            raise refused("observation", spec.observation, fix)
        frame = np.stack([np.zeros(features + 1), np.ones(features + 1)])
        return Additive(np.zeros((width + 1, width + 1)), frame, sizes, rounds=0)

    def update(self, state: Additive, batch: Batch, rng: np.random.Generator) -> tuple[Additive, Metrics]:  # noqa: ARG002
        """Metrics: `reward` mean reward of a slate; `rounds` slates so far."""
        observation, place, reward = _checked(batch, state)
        if len(reward) and state.rounds == 0:
            rows = np.column_stack([observation, reward])
            state = replace(state, frame=standard_frame(rows.mean(axis=0), rows.var(axis=0), state.frame))
        evidence = writable(state.evidence)
        for start in range(0, len(reward), CHUNK):
            part = slice(start, start + CHUNK)
            rows = _rows(_standard(observation[part], state.frame), place[part], state)
            rows[:, -1] = (reward[part] - state.frame[0, -1]) / state.frame[1, -1]
            evidence += rows.T @ rows
        learned = replace(state, evidence=evidence, rounds=state.rounds + len(reward))
        mean = float(reward.sum()) / max(len(reward), 1)
        return learned, {"reward": mean, "rounds": float(learned.rounds)}

    def policy(self, state: Additive, *, explore: bool = False) -> Policy:
        models = _models(state, self.ridge)
        sizes = tuple(state.sizes.tolist())
        if explore:
            beliefs = [_beliefs(state, models, part) for part in side_by_side(sizes)]
            return Slots(tuple(Exploring(each, self.exploration) for each in beliefs), sizes)
        values = [_values(state, models[0][part]) for part in side_by_side(sizes)]
        return Slots(tuple(ByValue(each, greedy) for each in values), sizes)

    def beliefs(self, state: Additive) -> Beliefs:
        """What each action adds to the reward, `[T, ΣA_k]`. What slots have in common is shared out evenly, so that the
        values of a slate's actions sum to its expected reward. The error is that of the difference between an action
        and the mean one of its slot: rewards cannot tell how much a slot as a whole adds."""
        return _beliefs(state, _models(state, self.ridge), slice(None))


def _checked(batch: Batch, state: Additive) -> tuple[Array, Integers, Floats]:
    """Features `[T, F]`, where each action stands side by side `[T, K]`, and rewards `[T]`."""
    sizes, rows = state.sizes, len(batch)
    if batch.action.shape != (rows, len(sizes)):
        raise refused("action", batch.action.shape, f"It needs the shape [T, {len(sizes)}]: one for each slot.")
    unknown = (batch.action < 0) | (batch.action >= sizes)
    if unknown.any():
        row, slot = np.argwhere(unknown)[0]
        fix = f"Row {row}: slot {slot} has the actions 0 to {sizes[slot] - 1}."
        raise refused("action", batch.action[row, slot], fix)
    single = replace(batch, action=np.zeros(rows, np.int64))
    observation, _, reward = checked(single, state.frame.shape[1] - 1, 1)
    return observation, batch.action + np.cumsum(sizes) - sizes, reward


def _standard(observation: Array, frame: Floats) -> Floats:
    """[1, standard features]: `[T, F]` to `[T, F + 1]`."""
    standard = np.empty((len(observation), frame.shape[1]))
    standard[:, 0] = 1.0
    np.divide(observation - frame[0, :-1], frame[1, :-1], out=standard[:, 1:])
    return standard


def _rows(standard: Floats, place: Integers, state: Additive) -> Floats:
    """What the regression sees, `[T, D + 1]`, the reward still missing: the standard features, once shared and once for
    the action in each slot."""
    rows = np.zeros((len(standard), int(1 + state.sizes.sum()), standard.shape[1]))
    rows[:, 0] = standard
    rows[np.arange(len(rows))[:, None], 1 + place] = standard[:, None]
    return np.concatenate([rows.reshape(len(rows), -1), np.empty((len(rows), 1))], axis=1)


def _models(state: Additive, ridge: float) -> tuple[Floats, Floats]:
    """Of each action, coefficients `[ΣA_k, F + 1]`, and the covariance `[ΣA_k, F + 1, F + 1]` of how they differ from
    the mean of its slot, both in units of the reward."""
    posterior, width, scale = swept(state.evidence, ridge), state.frame.shape[1], state.frame[1, -1]
    coefficients = scale * posterior[:-1, -1].reshape(-1, width)
    own = coefficients[1:] + coefficients[0] / len(state.sizes)
    own[:, 0] += state.frame[0, -1] / len(state.sizes)
    noise = (scale * deviation_of(-posterior[-1, -1], state.evidence[None])) ** 2
    covariance = posterior[:-1, :-1].reshape(len(coefficients), width, -1, width)[1:, :, 1:]
    parts = side_by_side(state.sizes.tolist())
    return own, np.concatenate([noise * _of_differences(covariance, part) for part in parts])


def _of_differences(covariance: Floats, part: slice) -> Floats:
    """The covariance of each action of a slot less the mean of them: `[A_k, F + 1, F + 1]`."""
    centred = covariance[part, :, part] - covariance[part, :, part].mean(axis=0)
    centred = centred - centred.mean(axis=2, keepdims=True)
    return np.moveaxis(np.diagonal(centred, axis1=0, axis2=2), -1, 0)


def _values(state: Additive, coefficients: Floats) -> Callable[[Array], Floats]:
    """`[T, F]` to the values `[T, A]` of the actions with these coefficients."""
    return lambda observation: product(
        _standard(seen(observation, state.frame.shape[1] - 1), state.frame), coefficients.T
    )


def _beliefs(state: Additive, models: tuple[Floats, Floats], part: slice) -> Beliefs:
    """What is known of these actions."""
    coefficients, covariance = (each[part] for each in models)
    width = state.frame.shape[1]
    tries = state.evidence.diagonal()[:-1].reshape(-1, width)[1:, 0][part]

    def believed(observation: Array) -> Belief:
        standard = _standard(seen(observation, width - 1), state.frame)
        variance = quadratic(standard, covariance)
        counts = np.broadcast_to(tries, variance.shape)
        return Belief(product(standard, coefficients.T), np.sqrt(np.maximum(variance, 0.0)), counts, state.rounds)

    return believed
