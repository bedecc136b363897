"""Maximum-entropy inverse reinforcement learning (Ziebart et al. 2008) for decisions that stand alone: the reward that
explains what was chosen, linear in the features of every candidate, with how sure each weight is.

    P(a | x) ∝ exp(w·φ(x, a)),   w ~ N(0, spread²)

Observations are features of every candidate, `[A, F]`. Rows shown by somebody who knows, with reward 1, all count
alike; a row counts max(r, 0) times, so that from a log of mixed worth what earned more is imitated more. Of two
candidates it is the model of Bradley & Terry (1952). Mathematics: `equations.preferences`.
What one batch left is the prior of the next one: one batch is fitted exactly, several nearly as if they were one.
Metrics: `loss` mean -log P(a|x) of rows that count, `agreement` how often the likeliest candidate was the one that was
chosen, both after learning; `rows` that counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import preferences
from bondhu.equations.preferences import Choices, Normal
from bondhu.errors import InvalidInput
from bondhu.learners import _columns
from bondhu.policies.by_value import ByValue
from bondhu.policies.greedy import greedy
from bondhu.policies.softmax import softmax
from bondhu.types import Array, Batch, Belief, Beliefs, Floats, Metrics, Policy, Spec


@dataclass(frozen=True)
class Wanted:
    """What was learned."""

    mean: Floats  # [F] of the weights
    precision: Floats  # [F, F] of the weights
    candidates: Array  # [] how many there are
    rows: Array  # [] that counted so far


@dataclass(frozen=True)
class MaximumEntropy:
    """Weights of the features of candidates: the likeliest ones, with a normal distribution around them."""

    spread: float = 3.0  # standard deviation of a weight beforehand: log-odds for one unit of its feature

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Wanted]] = Wanted
    probes: ClassVar[tuple[str, ...]] = ("candidates",)

    def __post_init__(self) -> None:
        require(self, 1e-6, 1e6, "spread")

    def init(self, spec: Spec, rng: np.random.Generator) -> Wanted:  # noqa: ARG002  # it starts the same for all
        shape = spec.observation.shape or ()
        actions = _columns.counted(spec.action, "inverse.maximum_entropy")
        if len(shape) != 2 or shape[0] != actions:
            fix = "Encode what is seen as features of every candidate, [A, F]."
            raise InvalidInput(f"Observations {spec.observation} cannot be learned from.", field="observation_space",
                               value=str(spec.observation), fix=fix)  # fmt: skip
        nothing = preferences.prior(shape[1], self.spread)
        return Wanted(nothing.mean, nothing.precision, np.array(actions), np.zeros(()))

    def update(self, state: Wanted, batch: Batch, rng: np.random.Generator) -> tuple[Wanted, Metrics]:  # noqa: ARG002
        if not len(batch):
            return state, {}
        candidates = int(state.candidates)
        _columns.check(batch, _columns.Actions((candidates,), 0), (candidates, len(state.mean)))
        batch = batch.take(np.asarray(batch.reward > 0))
        if not len(batch):
            return state, {}
        choices = Choices(batch.observation.astype(np.float64), batch.allowed, batch.action, batch.reward)
        known = preferences.posterior(choices, Normal(state.mean, state.precision))
        likely = preferences.log_chances(choices, known.mean)
        chosen = likely[np.arange(len(batch)), batch.action]
        told = {
            "loss": float(-(batch.reward @ chosen) / batch.reward.sum()),
            "agreement": float(np.mean(likely.argmax(axis=1) == batch.action)),
            "rows": float(len(batch)),
        }
        return Wanted(known.mean, known.precision, state.candidates, state.rows + len(batch)), told

    def policy(self, state: Wanted, *, explore: bool = False) -> Policy:
        return ByValue(lambda observation: _values(state, observation), softmax if explore else greedy)

    def beliefs(self, state: Wanted) -> Beliefs:
        """The value of a candidate is w·φ: the log of how likely it is chosen, up to a constant."""
        covariance = Normal(state.mean, state.precision).covariance

        def believed(observation: Array) -> Belief:
            seen, value = observation.astype(np.float64), _values(state, observation)
            variance = np.einsum("taf,fg,tag->ta", seen, covariance, seen)
            return Belief(value, np.sqrt(np.maximum(variance, 0.0)), np.full(value.shape, float(state.rows)),
                          float(state.rows))  # fmt: skip

        return believed


def _values(state: Wanted, observation: Array) -> Floats:
    """`[T, A, F]` to `[T, A]`."""
    values: Floats = observation.astype(np.float64) @ state.mean
    return values
