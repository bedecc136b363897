"""The last K observations as one, so that a policy without memory sees what moves (Mnih et al. 2015)."""

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


class Frames(VectorWrapper[Any, Any, Any, Any, Any]):
    """Stacks the last `count` observations, the oldest first.

    Features [F] become [count·F]; pictures [H, W] become [count, H, W]; images are stacked along their channels, the
    smaller of the first and the last axis. An episode begins with its first frame `count` times, and the last
    observation of an episode stands on the frames before it, in every autoreset mode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], count: int) -> None:
        super().__init__(env)
        space = env.single_observation_space
        if not isinstance(space, Box) or len(space.shape) not in {1, 2, 3}:
            raise InvalidInput(f"Frames of {space} cannot be stacked.", field="observation_space", value=str(space))
        if count < 1:
            raise InvalidInput("A stack holds at least one frame.", field="count", value=count)
        self._count, self._mode, self._shape = count, mode_of(env), space.shape
        self._channels_last = len(space.shape) == 3 and space.shape[-1] < space.shape[0]
        low, high = (self._joined(np.repeat(bound[None, None], count, 1))[0] for bound in (space.low, space.high))
        self.single_observation_space = Box(low, high, dtype=space.dtype.type)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin anew: every frame is the first one. With `options["reset_mask"]` only there."""
        mask = None if options is None else options.get("reset_mask")
        mask = None if mask is None else mask.copy()
        observation, info = self.env.reset(seed=seed, options=options)
        if mask is None:
            self._stack = np.repeat(observation[:, None], self._count, axis=1)
            self._begins: Booleans = np.zeros(self.num_envs, bool)
        else:
            self._stack[mask] = observation[mask][:, None]
        return self._joined(self._stack), info

    def step(self, actions: Array) -> _Answer:
        """One step; the oldest frame goes, the newest comes."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        before = self._stack[:, 1:]
        ended = terminated | truncated
        first = self._begins
        if self._mode is AutoresetMode.SAME_STEP and ended.any():
            first, who = ended, np.flatnonzero(ended)
            last = last_observations(self.env.single_observation_space, info, who)
            info = replaced(
                info, who, self._joined(np.concatenate([before[who], last[:, None]], axis=1)), self.num_envs
            )
        self._stack = np.concatenate([before, observation[:, None]], axis=1)
        if first.any():
            self._stack[first] = observation[first][:, None]
        if self._mode is AutoresetMode.NEXT_STEP:
            self._begins = ended
        return self._joined(self._stack), reward, terminated, truncated, info

    def _joined(self, stack: Array) -> Array:
        """[N, count, ...] -> as it is observed; never the stack itself."""
        if len(self._shape) == 2:
            return stack.copy()
        if self._channels_last:
            stack = np.moveaxis(stack, 1, 3)  # [N, H, W, count, C]
            return stack.reshape(*stack.shape[:3], -1)
        return stack.reshape(len(stack), -1, *self._shape[1:]).copy()
