"""Several objectives at once: one inner learner for each part of the reward, acting on their weighted sum.

Since the parts are learned apart, other weights need no new training: `with_weights` gives the policy of any weighting,
which is how a Pareto front is drawn (`train.pareto`). `limits` are what the mean of a part has to reach: their
Lagrange multipliers are weights added to the given ones, raised while the policy falls short and lowered while it does
better (dual ascent; Altman 1999, "Constrained Markov decision processes"; for bandits Agrawal & Devanur 2014).

Exact for decisions that stand alone. In sessions each part must be the value of the same policy, so hold an on-policy
learner such as tabular.sarsa there. Memory: the inner state, as often as there are parts. An update copies all of it,
so that a part which is refused leaves nothing half learned: with large states, let a batch have many rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Space

from bondhu import learners
from bondhu.catalogue import require
from bondhu.equations.objectives import dual_ascent
from bondhu.errors import InvalidInput, nearest
from bondhu.learners._recent import shielded
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Belief, Beliefs, Exploration, Floats, Learner, Metrics, Policy, Spec

MEANS = {"discount": 0.0, "learning_rate": 1.0, "step_power": 1.0}  # the mean of each part in each state
WHOLE = "reward"  # the name of the scalar reward among the parts


@dataclass(frozen=True)
class Parts:
    """What was learned of each part."""

    inner: Mapping[str, Any]  # state of the inner learner by name of the part
    multipliers: Floats  # [L] of the limits, in their order
    rounds: int  # updates so far


@dataclass(frozen=True)
class VectorReward:
    """Acts on Σ weight·value over the parts of the reward, while the means of some parts reach their limits."""

    inner: Learner[Any] = field(default_factory=lambda: learners.build("tabular.q_learning", MEANS))  # learns each part
    weights: Mapping[str, float] = field(default_factory=lambda: {WHOLE: 1.0})  # of the parts by name
    limits: Mapping[str, float] = field(default_factory=dict)  # what the mean of a part has to reach, by name
    multiplier_rate: float = 1.0  # step of the dual ascent, over the root of the steps so far; in rewards a unit²
    multiplier_steps: int = 1  # of the dual ascent in an update; hundreds where a training is all there is
    exploration: Exploration = EpsilonGreedy(0.1)  # over the weighted values

    State: ClassVar[type[Parts]] = Parts
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy")

    def __post_init__(self) -> None:
        require(self, 0.0, np.inf, "multiplier_rate")
        require(self, 1, 1_000_000, "multiplier_steps")
        if not self.weights or not all(np.isfinite([*self.weights.values(), *self.limits.values()])):
            fix = "Give finite numbers, such as {reward = 1.0, novelty = 0.2}."
            raise InvalidInput(f"The weights are {dict(self.weights)}.", field="weights", value=self.weights, fix=fix)
        for name in self._names:
            if "/" in name:
                fix = "Name it without '/'."
                raise InvalidInput(f"There is a part {name!r}.", field="weights", value=name, fix=fix)

    @property
    def observes(self) -> type[Space[Any]]:
        """What the inner learner observes."""
        return self.inner.observes

    def init(self, spec: Spec, rng: np.random.Generator) -> Parts:
        states = {name: self.inner.init(spec, rng) for name in self._names}
        return Parts(states, np.zeros(len(self.limits)), rounds=0)

    def update(self, state: Parts, batch: Batch, rng: np.random.Generator) -> tuple[Parts, Metrics]:
        rewards = {name: _part(batch, name) for name in self._names}
        metrics: dict[str, float] = {}
        states = {}
        for name, reward in rewards.items():
            before = shielded(self.inner, state.inner[name])
            states[name], of_part = self.inner.update(before, replace(batch, reward=reward), rng)
            metrics |= {f"{name}_{metric}": value for metric, value in of_part.items()}
        learned = replace(state, inner=states)
        if len(batch):
            learned = replace(learned, rounds=state.rounds + 1, multipliers=self._ascended(learned, batch))
        multipliers = zip(self.limits, learned.multipliers.tolist(), strict=True)
        return learned, {**metrics, **{f"multiplier_{name}": value for name, value in multipliers}}

    def policy(self, state: Parts, *, explore: bool = False) -> Policy:
        believed = self.beliefs(state)
        if explore:
            return Exploring(believed, self.exploration)
        return ByValue(lambda observation: believed(observation).value, greedy)

    def beliefs(self, state: Parts) -> Beliefs:
        """The weighted sum of the parts; its error and scale as if those of the parts were independent. It has draws
        where all parts have."""
        of_parts = {name: self.inner.beliefs(each) for name, each in state.inner.items()}
        weights = dict(self.weights)
        for name, multiplier in zip(self.limits, state.multipliers.tolist(), strict=True):
            weights[name] = weights.get(name, 0.0) + multiplier

        def believed(observation: Array) -> Belief:
            known = {name: each(observation) for name, each in of_parts.items()}
            return _weighted([weights.get(name, 0.0) for name in known], list(known.values()))

        return believed

    def with_weights(self, weights: Mapping[str, float]) -> VectorReward:
        """The same learner, acting on another weighting: for the states that this one has learned."""
        unknown = [name for name in weights if name not in self._names]
        if unknown:
            raise InvalidInput(f"No part {unknown[0]!r}.", field="weights", fix=nearest(unknown[0], self._names))
        missing = {name: 0.0 for name in self._names if name not in weights}
        return replace(self, weights={**missing, **weights})

    @property
    def _names(self) -> list[str]:
        return list(dict.fromkeys([*self.weights, *self.limits]))

    def _ascended(self, state: Parts, batch: Batch) -> Floats:
        """The multipliers after these steps, by what the policy that follows from them would get of each limited part
        on these rows. Of several steps, the last ones only go where limits are kept: just below its price, all that
        exceeds a limit is still done."""
        known = {name: self.inner.beliefs(each)(batch.observation).value for name, each in state.inner.items()}
        weighted = np.asarray(sum(weight * known[name] for name, weight in self.weights.items()))
        limited = [known[name] for name in self.limits]
        limits, multipliers = np.array(list(self.limits.values())), state.multipliers

        def means(multipliers: Floats) -> Floats:
            priced = sum((price * part for price, part in zip(multipliers, limited, strict=True)), weighted)
            chosen = greedy(priced, batch.allowed)
            return np.array([float((chosen * part).sum(axis=1).mean()) for part in limited])

        step = 0.0
        for number in range(self.multiplier_steps):
            step = self.multiplier_rate / np.sqrt(state.rounds * self.multiplier_steps + number + 1)
            multipliers = dual_ascent(multipliers, means(multipliers), limits, step)
        for _ in range(self.multiplier_steps - 1):
            if np.array_equal(lacking := np.minimum(means(multipliers), limits), limits):
                break
            multipliers = dual_ascent(multipliers, lacking, limits, step)
        return multipliers


def _weighted(weights: Sequence[float], parts: Sequence[Belief]) -> Belief:
    """Σ weight·part, as if parts were independent."""
    pairs = list(zip(weights, parts, strict=True))
    value = np.asarray(sum(weight * part.value for weight, part in pairs))
    error = np.sqrt(sum((weight * part.error) ** 2 for weight, part in pairs))
    draws = [weight * part.draws for weight, part in pairs if part.draws is not None]
    joint = np.asarray(sum(draws)) if len(draws) == len(parts) else None
    scale = math.hypot(*(weight * part.scale for weight, part in pairs)) or 1.0
    return Belief(value, error, parts[0].tries, parts[0].rounds, joint, scale)


def _part(batch: Batch, name: str) -> Floats:
    """One part of the reward: `[T]`."""
    if name == WHOLE:
        return batch.reward
    if name not in batch.objectives:
        fix = nearest(name, [WHOLE, *batch.objectives])
        raise InvalidInput(f"The batch has no objective {name!r}.", field="objectives", value=name, fix=fix)
    part: Floats = np.asarray(batch.objectives[name], np.float64)
    if not np.isfinite(part).all():
        row = int(np.isfinite(part).argmin())
        raise InvalidInput(f"Row {row} has {name} = {part[row]}.", field=name, value=part[row], fix="Give a number.")
    return part
