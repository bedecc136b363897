"""Starts again when the world has changed: another learner under a detector of change.

The detector is a two-sided CUSUM (Page 1954) on the standardised errors of what was predicted, action by action:
up ← max(0, up + z - drift), down ← max(0, down - z - drift), and a change once one of them passes `threshold`. With
normal errors and the defaults an action without a change gives a false alarm about once in a million tries, and a
change by one standard deviation is found after about 33. Learning then starts again from the rows since that sum left
0: what came after the change is kept. It predicts rewards, so it is for decisions that stand alone.

Memory: the inner state twice, and `remembered` rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import Space

from bondhu import learners
from bondhu.catalogue import require
from bondhu.compiled import compiled
from bondhu.learners._recent import frozen, latest, no_rows, shielded
from bondhu.types import Batch, Beliefs, Floats, Integers, Learner, Metrics, PerAction, Policy, Spec

LARGEST = 4.0  # standard deviations that a single error counts for at most: an outlier is not a change


@dataclass(frozen=True)
class Watch:
    """What was learned since the last change, and the sums of the detector."""

    inner: Any  # state of the inner learner
    fresh: Any  # its state before any feedback
    rows: Batch  # the last ones
    sums: Annotated[Floats, PerAction(0)]  # [A, 2] up and down
    began: Annotated[Integers, PerAction(0)]  # [A, 2] row at which each sum left 0
    noise: Annotated[Floats, PerAction(0)]  # [A, 2] number of errors since the last change, and sum of their squares
    seen: int  # rows so far
    restarts: int


@dataclass(frozen=True)
class Restarting:
    """Learns with the inner learner, and starts it again where its predictions stop being right."""

    inner: Learner[Any] = field(default_factory=lambda: learners.build("bandit.ucb1", {}))  # what learns
    threshold: float = 25.0  # sum of standardised errors beyond which the world has changed
    drift: float = 0.25  # standard deviations by which a mean may be off without adding to the sum
    patience: int = 50  # tries of an action after a start during which its errors only measure their noise
    remembered: int = 2_000  # rows at most that learning starts again from

    State: ClassVar[type[Watch]] = Watch
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy")

    def __post_init__(self) -> None:
        require(self, 0.0, np.inf, "threshold", "drift")
        require(self, 1, np.inf, "patience", "remembered")

    @property
    def observes(self) -> type[Space[Any]]:
        """What the inner learner observes."""
        return self.inner.observes

    def init(self, spec: Spec, rng: np.random.Generator) -> Watch:
        rows, state = no_rows(spec), frozen(self.inner, self.inner.init(spec, rng))
        sums = np.zeros((rows.allowed.shape[1], 2))
        return Watch(state, state, rows, sums, sums.astype(np.int64), sums, seen=0, restarts=0)

    def update(self, state: Watch, batch: Batch, rng: np.random.Generator) -> tuple[Watch, Metrics]:
        predicted = self._predicted(state, batch, rng)
        inner, metrics = self.inner.update(state.inner, batch, rng)
        rows, seen = latest(state.rows, batch, self.remembered), state.seen + len(batch)
        sums, began, noise = state.sums.copy(), state.began.copy(), state.noise.copy()
        limits = (self.threshold, self.drift, float(self.patience))
        start = compiled(watch)((sums, began, noise), batch.reward - predicted, batch.action, state.seen, limits)
        learned = replace(state, inner=inner, rows=rows, sums=sums, began=began, noise=noise, seen=seen)
        if start >= 0:
            kept = rows.take(np.arange(len(rows)) >= len(rows) - (seen - start))
            again, _ = self.inner.update(shielded(self.inner, state.fresh), kept, rng)
            calm = np.zeros_like(sums)
            learned = replace(learned, inner=again, rows=kept, sums=calm, began=calm.astype(np.int64), noise=calm)
            learned = replace(learned, restarts=state.restarts + 1)
        return learned, {**metrics, "restarts": float(learned.restarts)}

    def _predicted(self, state: Watch, batch: Batch, rng: np.random.Generator) -> Floats:
        """What each decision was expected to earn, before any of them was learned from: `[T]`."""
        try:
            value = self.inner.beliefs(state.inner)(batch.observation).value
        except IndexError:  # a code that there is not
            self.inner.update(state.inner, batch, rng)  # says which
            raise
        predicted: Floats = value[np.arange(len(batch)), np.clip(batch.action, 0, len(state.sums) - 1)]
        return predicted

    def policy(self, state: Watch, *, explore: bool = False) -> Policy:
        return self.inner.policy(state.inner, explore=explore)

    def beliefs(self, state: Watch) -> Beliefs:
        return self.inner.beliefs(state.inner)


def watch(
    detector: tuple[Floats, Integers, Floats],
    error: Floats,
    action: Integers,
    seen: int,
    limits: tuple[float, float, float],
) -> int:
    """Go through the errors `[T]` of rows `seen` and after, in place: the row at which a change began, or -1.

    `detector`: sums `[A, 2]`, the rows at which they left 0 `[A, 2]`, number and sum of squares of errors `[A, 2]`.
    """
    sums, began, noise = detector
    threshold, drift, patience = limits
    for t in range(len(error)):
        a = action[t]
        if noise[a, 0] >= patience and noise[a, 1] > 0.0:
            z = error[t] / np.sqrt(noise[a, 1] / noise[a, 0])
            z = min(max(z, -LARGEST), LARGEST)
            for side in range(2):
                if sums[a, side] == 0.0:
                    began[a, side] = seen + t
                sums[a, side] = max(0.0, sums[a, side] + (z if side == 0 else -z) - drift)
                if sums[a, side] > threshold:
                    return int(began[a, side])
        noise[a, 0] += 1.0
        noise[a, 1] += error[t] * error[t]
    return -1
