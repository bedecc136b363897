"""How much of the horizon is left, as a feature: where a time limit is part of the task, a policy must see it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from bondhu.envs.endings import last_observations, mode_of, replaced
from bondhu.errors import InvalidInput
from bondhu.types import Array, Booleans

_Answer = tuple[Array, Array, Array, Array, dict[str, Any]]


class TimeAware(VectorWrapper[Any, Any, Any, Any, Any]):
    """Adds the remaining share of `horizon` steps, 1 at the start, as the last column of features [F] (Pardo et al.
    2018, "Time limits in reinforcement learning", section 3). With `ends`, a cut at the horizon is a true end: nothing
    is worth anything after it."""

    def __init__(self, env: VectorEnv[Any, Any, Any], horizon: int, *, ends: bool = True) -> None:
        super().__init__(env)
        space = env.single_observation_space
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise InvalidInput(f"Time cannot stand beside {space}.", field="observation_space", value=str(space))
        if horizon < 1:
            raise InvalidInput("A horizon is at least one step.", field="horizon", value=horizon)
        self._horizon, self._ends, self._mode = horizon, ends, mode_of(env)
        kind = np.result_type(space.dtype, np.float32).type
        low, high = np.r_[space.low, 0.0].astype(kind), np.r_[space.high, 1.0].astype(kind)
        self.single_observation_space = Box(low, high, dtype=kind)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin anew, or with `options["reset_mask"]` only there."""
        mask = None if options is None else options.get("reset_mask")
        mask = None if mask is None else mask.copy()
        observation, info = self.env.reset(seed=seed, options=options)
        if mask is None:
            self._steps = np.zeros(self.num_envs, np.int64)
            self._begins: Booleans = np.zeros(self.num_envs, bool)
        else:
            self._steps[mask] = 0
        return self._with_time(observation, self._steps), info

    def step(self, actions: Array) -> _Answer:
        """One step; the time that is left shrinks."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self._steps = np.where(self._begins, 0, self._steps + 1)
        ended = terminated | truncated
        if self._ends:
            over = truncated & (self._steps >= self._horizon)
            terminated, truncated = terminated | over, truncated & ~over
        if self._mode is AutoresetMode.SAME_STEP and ended.any():
            who = np.flatnonzero(ended)
            last = last_observations(self.env.single_observation_space, info, who)
            info = replaced(info, who, self._with_time(last, self._steps[who]), self.num_envs)
            self._steps[who] = 0
        if self._mode is AutoresetMode.NEXT_STEP:
            self._begins = ended
        return self._with_time(observation, self._steps), reward, terminated, truncated, info

    def _with_time(self, observation: Array, steps: Array) -> Array:
        left = np.maximum(1.0 - steps / self._horizon, 0.0)
        joined: Array = np.concatenate([observation, left[:, None]], axis=1)
        return joined.astype(self.single_observation_space.dtype, copy=False)
