"""How far a run has come, as plain data: with the learner's state, all that is needed to go on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bondhu.train.curriculum import Standing
from bondhu.train.simulate import Episode
from bondhu.types import Batch, Metrics

LATELY = 20  # episodes that a mean return is of


@dataclass(frozen=True)
class Progress:
    """Nothing here depends on the clock."""

    phase: int = 0  # phases that are over
    steps: int = 0
    began: int = 0  # the phase before which the environments last began anew
    episodes: int = 0
    returns: tuple[float, ...] = ()  # of the last episodes
    successes: tuple[bool, ...] = ()  # of the last episodes whose environment said so
    pending: Mapping[str, Sequence[float]] = field(default_factory=dict)  # sum and count of figures not recorded yet
    best: float | None = None  # mean return of the best evaluation
    best_step: int = 0
    last: float | None = None  # mean return of the last evaluation
    evaluated: int = 0  # evaluations
    misses: int = 0  # evaluations since the best one
    stage: int = 0  # of a curriculum
    recent: tuple[float, ...] = ()  # results of the last episodes of this stage
    stage_then: int = 0  # where the environments last began anew
    recent_then: tuple[float, ...] = ()

    def after(self, batch: Batch, metrics: Metrics, episodes: Sequence[Episode]) -> Progress:
        """One phase later."""
        reward = np.asarray(batch.reward, dtype=np.float64)
        own = {"avg_reward": reward.mean(), "reward_density": (reward != 0).mean()} if len(reward) else {}
        pending = dict(self.pending)
        for name, value in {**own, **metrics}.items():
            total, count = pending.get(name, (0.0, 0))
            pending[name] = (total + float(value), count + 1)
        said = tuple(each.success for each in episodes if each.success is not None)
        return replace(
            self,
            phase=self.phase + 1,
            steps=self.steps + len(batch),
            episodes=self.episodes + len(episodes),
            returns=(*self.returns, *(each.total_reward for each in episodes))[-LATELY:],
            successes=(*self.successes, *said)[-LATELY:],
            pending=pending,
        )

    @property
    def standing(self) -> Standing:
        """In the curriculum."""
        return Standing(self.stage, self.recent)

    @property
    def standing_then(self) -> Standing:
        """In the curriculum, where the environments last began anew."""
        return Standing(self.stage_then, self.recent_then)

    def begun_anew(self) -> Progress:
        """The environments begin anew now."""
        return replace(self, began=self.phase, stage_then=self.stage, recent_then=self.recent)

    def standing_at(self, standing: Standing) -> Progress:
        """As far in the curriculum as this."""
        return replace(self, stage=standing.stage, recent=standing.recent)

    def figures(self) -> dict[str, float]:
        """What there is to record: means over the phases since the last record, and over the last episodes."""
        told = {name: total / count for name, (total, count) in self.pending.items()}
        told["episode"] = float(self.episodes)
        if self.returns:
            told["total_reward"] = float(np.mean(self.returns))
        if self.successes:
            told["success_rate"] = float(np.mean(self.successes))
        return told

    def judged(self, mean: float) -> Progress:
        """After an evaluation with this mean return."""
        better = self.best is None or mean > self.best
        after = replace(self, last=mean, evaluated=self.evaluated + 1)
        if better and not math.isnan(mean):
            return replace(after, best=mean, best_step=self.steps, misses=0)
        return replace(after, misses=self.misses + 1)


def read(notes: Mapping[str, Any]) -> Progress:
    """From what JSON makes of `vars(progress)`."""
    listed = ("returns", "successes", "recent", "recent_then")
    return Progress(**{**notes, **{name: tuple(notes.get(name, ())) for name in listed}})
