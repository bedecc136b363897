"""LinUCB (Li et al. 2010, "A contextual-bandit approach to personalized news article recommendation"): a ridge
regression for each action (their algorithm 1), or with `shared` also one that all actions share (algorithm 2, hybrid),
and the action with the largest upper bound.

The shared model has the features u_a ⊗ z: one of the action, or the constant, times one of the context. The models of
single actions are then deviations from it, and actions that were hardly tried are judged by what they have in common
with others. An update costs O(F²) a row, shared O(G²F²); memory 16·A·(F + 2)² bytes, shared 8·(G + 1)²·(F + 1)² more.
Features, of contexts and of actions, and rewards may come in any units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations.recursive import believe, believe_pooled, pooled, ready, regress, regress_pooled
from bondhu.learners._linear import Learn, Ridge, advanced, renewed, ridge_of, seen, values_of
from bondhu.learners._table import refused
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.upper_bound import UpperBound
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Belief, Beliefs, Declared, Exploration, Floats, Metrics, Policy, Spec


@dataclass(frozen=True)
class Hybrid(Ridge):
    """What was learned; the models of single actions are about what the shared one leaves to explain."""

    described: Annotated[Floats, Declared()]  # [A, G] features of the actions; [A, 0] where nothing is shared
    units: Floats  # [2, G] their centre and scale
    shared: Floats  # [K + 1, K + 1] posterior of the shared model, K = (G + 1)·D; [0, 0] where nothing is shared


@dataclass(frozen=True)
class LinUcb:
    """The action with the largest z'θ_a + width·σ √(z'P_a z), where σ is estimated from what is not explained."""

    ridge: float = 1.0  # pseudo-rows that speak for "no effect", on each coefficient of standard features
    forgetting: float = 1.0  # share of evidence that one more decision leaves; 1 forgets nothing
    shared: bool = False  # whether actions also share a model, by features of their own
    exploration: Exploration = UpperBound(1.0)

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Hybrid]] = Hybrid
    probes: ClassVar[tuple[str, ...]] = ("planes", "scales")

    def __post_init__(self) -> None:
        require(self, 1e-6, math.inf, "ridge")
        require(self, 0.5, 1.0, "forgetting")

    def init(self, spec: Spec, rng: np.random.Generator) -> Hybrid:  # noqa: ARG002  # it starts the same for all
        models = vars(ridge_of(spec, self.ridge))
        if not self.shared:
            actions = len(models["evidence"])
            return Hybrid(**models, described=np.empty((actions, 0)), units=np.empty((2, 0)), shared=np.empty((0, 0)))
        described = _described(spec, len(models["evidence"]))
        scale = described.std(axis=0)
        units = np.stack([described.mean(axis=0), np.where(scale > 0.0, scale, 1.0)])
        return self._pooled(Hybrid(**models, described=described, units=units, shared=np.empty((0, 0))))

    def update(self, state: Hybrid, batch: Batch, rng: np.random.Generator) -> tuple[Hybrid, Metrics]:  # noqa: ARG002
        return advanced(state, batch, self._learn, self._renewed)

    def policy(self, state: Hybrid, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(self.beliefs(state), self.exploration)
        return ByValue(values_of(state.frame, self._coefficients(state)), greedy)

    def beliefs(self, state: Hybrid) -> Beliefs:
        features = state.frame.shape[1] - 1

        def believed(observation: Array) -> Belief:
            value, error, tries = self._believe(state, seen(observation, features))
            return Belief(value, error, tries, state.clock.item(0), scale=state.frame.item(-1))

        return believed

    def _learn(self, state: Hybrid) -> Learn:
        models = state.frame, state.evidence, state.posterior
        if not self.shared:
            return lambda *rows: ready(regress)(*rows, *models)
        return lambda *rows: ready(regress_pooled)(rows, (*models, state.shared), _standard(state), self.ridge)

    def _believe(self, state: Hybrid, observation: Array) -> Floats:
        models = state.frame, state.evidence, state.posterior
        if self.shared:
            found: Floats = ready(believe_pooled)(observation, (*models, state.shared), _standard(state), self.ridge)
            return found
        found = ready(believe)(observation, *models, 0.0)
        return found

    def _renewed(self, state: Hybrid) -> Hybrid:
        models = renewed(state, self.ridge, self.forgetting)
        return self._pooled(models) if self.shared else models

    def _pooled(self, state: Hybrid) -> Hybrid:
        return replace(state, shared=pooled(state.posterior, _standard(state), self.ridge))

    def _coefficients(self, state: Hybrid) -> Floats:
        """`[A, D]`; with a shared model θ_a + ridge·P_a Σ_g u_ag B_g, for that is where θ_a shrinks to."""
        own = state.posterior[:, -1, :-1]
        if not self.shared:
            return own
        described = _standard(state)
        common = described @ state.shared[-1, :-1].reshape(described.shape[1], -1)
        return own + self.ridge * (state.posterior[:, :-1, :-1] @ common[..., None])[..., 0]


def _standard(state: Hybrid) -> Floats:
    """u: one, and the features of the actions in standard units, `[A, G + 1]`."""
    return np.hstack([np.ones((len(state.described), 1)), (state.described - state.units[0]) / state.units[1]])


def _described(spec: Spec, actions: int) -> Floats:
    features = spec.action_features
    if features is None:
        fix = "Give features of the actions [A, G], or set shared = false."
        raise refused("action_features", None, f"A shared model knows actions by their features. {fix}")
    if features.shape[:1] != (actions,) or features.ndim != 2 or not np.isfinite(features).all():
        raise refused("action_features", features.shape, f"They need the shape [{actions}, G], and numbers only.")
    return np.array(features, np.float64)
