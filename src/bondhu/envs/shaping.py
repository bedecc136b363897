"""Potential-based shaping: hints on the way that leave the best policy what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from bondhu.envs.endings import RAW, last_observations, mode_of
from bondhu.envs.spaces import seen
from bondhu.errors import InvalidInput
from bondhu.types import Array, Booleans, Floats

Potential = Callable[[Array], Floats]  # features [N, F] (or images) -> [N]
_Answer = tuple[Any, Floats, Array, Array, dict[str, Any]]


class Shaped(VectorWrapper[Any, Any, Any, Any, Any]):
    """Pays r + γ·(1 − terminated)·Φ(s') − Φ(s), with Φ of the features of an observation.

    The best policy stays the same for every Φ if γ is the learner's discount factor (Ng, Harada & Russell 1999, theorem
    1): a true end has potential 0, and at a time limit Φ is of the last observation. What the environment itself paid
    is kept as `info["raw_reward"]`, [N].
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], potential: Potential, discount: float) -> None:
        super().__init__(env)
        if not 0.0 <= discount <= 1.0:
            raise InvalidInput("A discount factor lies in [0, 1].", field="discount", value=discount)
        self._potential, self._discount, self._mode = potential, discount, mode_of(env)
        self._sight = seen(env.single_observation_space)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin anew, or with `options["reset_mask"]` only there."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._before = self._worth(observation)  # where nothing was reset, the observation is as it was
        self._begins: Booleans = np.zeros(self.num_envs, bool)
        return observation, info

    def step(self, actions: Array) -> _Answer:
        """One step, paid with the shaped reward; a step that only begins anew pays what it did."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        here = self._worth(observation)
        reached, ended = here, terminated | truncated
        if self._mode is AutoresetMode.SAME_STEP and ended.any():
            who = np.flatnonzero(ended)
            reached = here.copy()
            reached[who] = self._worth(last_observations(self.env.single_observation_space, info, who))
        hint = np.where(terminated, 0.0, self._discount * reached) - self._before
        shaped = np.where(self._begins, reward, reward + hint)
        if self._mode is AutoresetMode.NEXT_STEP:
            self._begins = ended
        self._before = here
        return observation, shaped, terminated, truncated, {RAW: reward, **info}

    def _worth(self, observation: Any) -> Floats:
        features = self._sight.encode(observation)
        worth = np.asarray(self._potential(features), float)
        if worth.shape != (len(features),):
            raise InvalidInput(
                f"The potential of {len(features)} observations has the shape {worth.shape}.",
                field="potential",
                fix="It must give one number for each: [N, F] -> [N].",
            )
        return worth
