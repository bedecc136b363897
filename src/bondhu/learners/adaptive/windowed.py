"""Forgets what is long ago: another learner, trained on the last rows only (sliding window; Garivier & Moulines 2011).

Between refreshes the inner learner goes on from batch to batch, so that it has seen up to `window + refresh` rows.
Memory: the inner state twice, and the rows of the window. An update costs what the inner one costs, and now and then
one over the whole window: on average (1 + window / refresh) times as much, however long the past is. Keeping the rows
copies up to `window` of them in each update, so let a batch have many rows where the window is long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Space

from bondhu import learners
from bondhu.catalogue import require
from bondhu.learners._recent import frozen, latest, no_rows, shielded
from bondhu.types import Batch, Beliefs, Learner, Metrics, Policy, Spec


@dataclass(frozen=True)
class Window:
    """What was learned, and from what."""

    inner: Any  # state of the inner learner
    fresh: Any  # its state before any feedback
    rows: Batch  # the last ones
    since: int  # rows learned since the last refresh


@dataclass(frozen=True)
class Windowed:
    """Learns from the last `window` rows only."""

    inner: Learner[Any] = field(default_factory=lambda: learners.build("bandit.ucb1", {}))  # what learns
    window: int = 5_000  # rows that count
    refresh: int = 500  # rows after which the inner learner starts again from the window

    State: ClassVar[type[Window]] = Window
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy")

    def __post_init__(self) -> None:
        require(self, 1, np.inf, "window", "refresh")

    @property
    def observes(self) -> type[Space[Any]]:
        """What the inner learner observes."""
        return self.inner.observes

    def init(self, spec: Spec, rng: np.random.Generator) -> Window:
        rows, state = no_rows(spec), frozen(self.inner, self.inner.init(spec, rng))
        return Window(state, state, rows, since=0)

    def update(self, state: Window, batch: Batch, rng: np.random.Generator) -> tuple[Window, Metrics]:
        inner, metrics = self.inner.update(state.inner, batch, rng)
        rows, since = latest(state.rows, batch, self.window), state.since + len(batch)
        if since >= self.refresh:
            inner, _ = self.inner.update(shielded(self.inner, state.fresh), rows, rng)
            since = 0
        return Window(inner, state.fresh, rows, since), {**metrics, "window_rows": float(len(rows))}

    def policy(self, state: Window, *, explore: bool = False) -> Policy:
        return self.inner.policy(state.inner, explore=explore)

    def beliefs(self, state: Window) -> Beliefs:
        return self.inner.beliefs(state.inner)
