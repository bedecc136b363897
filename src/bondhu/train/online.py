"""The whole loop in one process, for a notebook or a program of one's own: decide, hear, learn, event after event.

No store, no version, no judging: what a service needs of those is in `bondhu serve` and `bondhu train`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import ArrayLike

from bondhu import learners
from bondhu.errors import InvalidInput
from bondhu.types import Array, Batch, Belief, Floats, Learner, Metrics, Spec

DEFAULT = "bandit.fourier_ridge"


class Decided(NamedTuple):
    """One decision, to be handed back with its reward: at once or late, in any order."""

    context: Array  # [1, F]
    allowed: Array  # [1, A]
    action: int
    probability: float  # with which it was taken


class Online:
    """A learner that acts with its own exploration and learns from each reward as it comes."""

    def __init__(
        self, actions: int, features: int, learner: str = DEFAULT, *, action_features: Floats | None = None,
        seed: int | None = None, **hyperparameters: Any,
    ) -> None:  # fmt: skip
        self.learner: Learner[Any] = learners.build(learner, hyperparameters)
        self.spec = Spec(Box(-np.inf, np.inf, (features,)), Discrete(actions), action_features)
        if self.learner.observes is not Box:
            fix = f"Use one that observes features, such as {DEFAULT!r}."
            raise InvalidInput(f"{learner!r} observes codes, not features.", field="learner", value=learner, fix=fix)
        self.rng = np.random.default_rng(seed)
        self.state = self.learner.init(self.spec, self.rng)
        self._policy = self.learner.policy(self.state, explore=True)
        self._open = np.ones((1, actions), np.bool_)
        self._features = features

    def decide(self, context: ArrayLike, allowed: ArrayLike | None = None) -> Decided:
        """Draw an action for one context `[F]`; `allowed [A]` says which ones may be drawn, by default all."""
        seen = np.array(context, np.float64, ndmin=2)
        if seen.shape != (1, self._features):
            fix = f"It needs {self._features} numbers."
            raise InvalidInput(f"The context has the shape {seen.shape[1:]}.", field="context", value=context, fix=fix)
        if not np.isfinite(seen).all():
            raise InvalidInput("The context is not all numbers.", field="context", value=context, fix="Fill the gaps.")
        could = self._open if allowed is None else np.array(allowed, np.bool_, ndmin=2)
        if could.shape != self._open.shape:
            fix = f"It needs {self._open.shape[1]} yes or no: one for each action."
            raise InvalidInput(f"`allowed` has the shape {could.shape[1:]}.", field="allowed", value=allowed, fix=fix)
        choice = self._policy.sample(seen, could, self.rng)
        return Decided(seen, could, choice.action.item(), choice.probability.item())

    def learn(self, decided: Decided, reward: float) -> Metrics:
        """Learn what a decision earned."""
        batch = Batch.single(
            decided.context, decided.allowed, np.array([decided.action]), np.array([decided.probability]),
            np.array([reward], np.float64),
        )  # fmt: skip
        self.state, metrics = self.learner.update(self.state, batch, self.rng)
        self._policy = self.learner.policy(self.state, explore=True)
        return metrics

    def believed(self, context: ArrayLike) -> Belief:
        """What is known of the value of every action in one context: value, error and tries, `[1, A]` each."""
        return self.learner.beliefs(self.state)(np.array(context, np.float64, ndmin=2))

    def save(self) -> dict[str, Array]:
        """The state as arrays, such as `numpy.savez` writes; `restore` takes them back."""
        return learners.pack(self.state)

    def restore(self, arrays: dict[str, Array]) -> None:
        """Go on from a copy of a saved state; raises StateCorrupt where it is one of another learner."""
        self.state = learners.unpack(self.learner, {name: np.array(array) for name, array in arrays.items()})
        self._policy = self.learner.policy(self.state, explore=True)
