"""What was done since the environments last began anew: doing it again brings them to the same place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bondhu.runs.plan import ACTING, Plan
from bondhu.runs.progress import Progress
from bondhu.runs.scene import Scene
from bondhu.types import Array, Booleans, Choice, Floats, Policy, Uniforms

ACTIONS, MEMOS = "stretch/actions", "stretch/memos"


class Stretch:
    """Actions of whole phases, step by step."""

    def __init__(self) -> None:
        self.choices: list[Choice] = []

    def noting(self, policy: Policy) -> Policy:
        """The same policy; what it does is noted."""
        return _Noting(policy, self.choices)

    def arrays(self) -> dict[str, Array]:
        """Actions `[S, N, …]` and memos `[S, N, M]` of S steps in N environments; nothing of no steps. Shorter memos
        have zeros before them: what is looked up in them, a memory, is last."""
        if not self.choices:
            return {}
        widest = max(each.memo.shape[1] for each in self.choices)  # a policy may change within a stretch
        memos = [np.pad(each.memo, ((0, 0), (widest - each.memo.shape[1], 0))) for each in self.choices]
        return {ACTIONS: np.stack([each.action for each in self.choices]), MEMOS: np.stack(memos)}


def again(plan: Plan, scene: Scene, stretch: Stretch, progress: Progress, done: Mapping[str, Array]) -> None:
    """Play what was done, phase by phase, and in a curriculum where it was done; nothing is learned, and the episodes
    that end were counted already."""
    if ACTIONS not in done:
        return
    ones = np.ones(done[ACTIONS].shape[1])
    stretch.choices = [
        Choice(np.array(action), ones, np.array(memo)) for action, memo in zip(done[ACTIONS], done[MEMOS], strict=True)
    ]
    policy, standing = _Again(stretch.choices), progress.standing_then
    for phase in range(progress.began, progress.phase):
        rng = plan.rng(ACTING, phase)
        simulation = scene.practised(standing, rng)
        simulation.play(policy, plan.phase, rng)
        standing = scene.told(simulation.finished())


class _Noting:
    def __init__(self, policy: Policy, choices: list[Choice]) -> None:
        self._policy, self._choices = policy, choices
        self.distribution, self.probability = policy.distribution, policy.probability

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        choice = self._policy.sample(observation, allowed, rng)
        self._choices.append(choice)
        return choice


class _Again:
    """Does what was done, whatever is seen."""

    def __init__(self, choices: list[Choice]) -> None:
        self._choices = iter(choices)

    def distribution(self, *_: Any, **__: Any) -> Floats:
        """Nobody asks for it: what was drawn is known."""
        return np.empty(0)

    probability = distribution

    def sample(self, *_: Any, **__: Any) -> Choice:
        return next(self._choices)
