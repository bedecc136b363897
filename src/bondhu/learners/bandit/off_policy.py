"""A policy from decisions that another policy made, by regressions that its probabilities correct.

A linear model cannot be right everywhere; a plain regression (`dm`) is right where the logged policy took the action
often, which may be just where the action is at its best. The others are right on the average over all contexts:

- `ips`: learns, for every allowed action, the estimate r·1{a taken} / p. Unbiased; noisy where p is small, and the
  noisier, the further rewards are from 0 (Horvitz & Thompson 1952; Langford, Strehl & Wortman 2008).
- `dr`: learns q(x, a) + (r - q(x, a))·1{a taken} / p, where q is a regression of its own on what came before. Unbiased
  and less noisy (Dudík, Langford & Li 2011).
- `mtr`: regression on the action taken with importance 1 / p (Bietti, Agarwal & Langford 2021, section 3, there "IWR").
- `dm`: regression on the action taken, without the probabilities.

Features, units and the number of weights: `learners._regressions`. Cost for each decision: the number of features,
times the allowed actions for `ips` and `dr`. Memory: at most 16·2^bits bytes, twice that for `dr`.
Metrics: `error` mean |target - value| and `squared_error` its mean square, before each step, of the regression of
rewards where there is one; `reward` mean reward of a decision; `rounds` decisions learned from; `largest_weight` the
largest 1 / p, and `clipped` the share of decisions whose weight was limited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.errors import UnknownName, nearest
from bondhu.learners import _regressions
from bondhu.learners._regressions import Regressions
from bondhu.learners._table import refused
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.square_cb import SquareCb
from bondhu.policies.greedy import greedy
from bondhu.types import Batch, Beliefs, Booleans, Exploration, Floats, Integers, Metrics, Policy, Spec

METHODS = ("ips", "dr", "mtr", "dm")


@dataclass(frozen=True)
class OffPolicy:
    """Values are the policy's regression's; it learns from each logged decision once."""

    method: str = "mtr"  # "ips", "dr", "mtr" or "dm"
    weight_limit: float = 100.0  # 1 / p counts as at most this: less noise, for a bias where p is smaller
    learning_rate: float = 0.5  # η: how far a first step goes towards what was seen
    step_power: float = 0.75  # rates fall as 1 / evidence^power: 0.5 as AdaGrad's, 1 as in a mean
    quadratic: bool = False  # products of pairs of context features count as features too
    bits: int = 18  # each regression has at most 2^bits weights
    exploration: Exploration = SquareCb()  # a round is a decision learned from

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Regressions]] = Regressions
    probes: ClassVar[tuple[str, ...]] = ("planes", "scales", "clicks", "described_actions", "candidates")

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            fix = nearest(self.method, METHODS)
            raise UnknownName(f"No method {self.method!r}.", field="method", value=self.method, fix=fix)
        require(self, 1.0, math.inf, "weight_limit")
        require(self, 0.0, 100.0, "learning_rate")
        require(self, 0.0, 1.0, "step_power")
        require(self, 0, 30, "bits")

    def init(self, spec: Spec, rng: np.random.Generator) -> Regressions:  # noqa: ARG002  # all weights start at 0
        return _regressions.begun(spec, self.bits, self.quadratic, members=2 if self.method == "dr" else 1)

    def update(self, state: Regressions, batch: Batch, rng: np.random.Generator) -> tuple[Regressions, Metrics]:  # noqa: ARG002
        _regressions.check(batch, state)
        check_probabilities(batch.probability)
        weight = np.minimum(1.0 / batch.probability, self.weight_limit)
        step = (self.learning_rate, self.step_power)
        if self.method in ("ips", "dr"):
            learned, metrics = learned_of_all(state, batch, weight, self.quadratic, step)
        else:
            evenly = 1.0 / np.maximum(batch.allowed.sum(axis=1), 1)  # to an even choice, importance is relative
            importance = weight * evenly if self.method == "mtr" else np.ones(len(batch))
            learned, metrics = _regressions.learned(state, batch, importance[None], self.quadratic, step)
        clipped = np.count_nonzero(batch.probability * self.weight_limit < 1.0)
        return learned, {
            **metrics,
            "largest_weight": float(1.0 / batch.probability.min(initial=1.0)),
            "clipped": float(clipped / max(len(batch), 1)),
        }

    def policy(self, state: Regressions, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(self.beliefs(state), self.exploration)
        values = _regressions.values_of(state, self.quadratic)
        return ByValue(lambda observation: values(observation)[0], greedy)

    def beliefs(self, state: Regressions) -> Beliefs:
        return _regressions.beliefs_of(state, self.quadratic)


def learned_of_all(
    state: Regressions, batch: Batch, weight: Floats, quadratic: bool, step: tuple[float, float]
) -> tuple[Regressions, Metrics]:
    """Learn an estimate for every allowed action of each decision. A second regression, where there is one, imagines
    the reward of each action from the decisions before; without it, 0 is imagined."""
    first = batch.reward if len(state.own) > 1 else np.zeros(0)  # most targets are 0 where nothing is imagined
    state, last, errors = _regressions.opened(state, first), None, [np.zeros(0)]
    for last in _regressions.windows(state, batch, quadratic, every=True):
        row, action, taken = events_of(batch, last.rows)
        features, reward = _regressions.features_of(state, last, row, action), batch.reward[last.rows][row]
        imagined: Floats = np.zeros(len(row))
        if len(state.own) > 1:
            imagined = _regressions.taught(state, 1, (features, action, reward, taken.astype(np.float64)), step)
        estimate = imagined + taken * weight[last.rows][row] * (reward - imagined)
        value = _regressions.taught(state, 0, (features, action, estimate, np.ones(len(row))), step)
        errors.append((reward - imagined)[taken] if len(state.own) > 1 else estimate - value)
    return _regressions.closed(state, batch, last, np.concatenate(errors))


def events_of(batch: Batch, rows: slice) -> tuple[Integers, Integers, Booleans]:
    """Row, action and whether it was taken, of each allowed action in these rows: the one taken comes last, so that
    the others are imagined before its reward is known."""
    allowed, number = np.array(batch.allowed[rows]), np.arange(len(batch.action[rows]))
    allowed[number, batch.action[rows]] = False
    row, action = (
        np.concatenate(parts) for parts in zip(np.nonzero(allowed), (number, batch.action[rows]), strict=True)
    )
    order, taken = np.argsort(row, kind="stable"), np.arange(len(row)) >= np.count_nonzero(allowed)
    return row[order], action[order], taken[order]


def check_probabilities(probability: Floats) -> None:
    """Refuse what no policy can have done; nothing has been written yet."""
    possible = (probability > 0.0) & (probability <= 1.0)
    if not possible.all():
        row = int(possible.argmin())
        raise refused("probability", probability[row], f"Row {row} needs a number above 0, at most 1.")
