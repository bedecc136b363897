"""EnvPool's environments, seeded by `reset(seed=...)` as Gymnasium's are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from bondhu.errors import InvalidInput
from bondhu.types import Array

_Answer = tuple[Any, Array, Array, Array, dict[str, Any]]


class Pool(VectorEnv[Any, Any, Any]):
    """One pool of threads. EnvPool fixes its seeds when a pool is made, so a reset with a seed makes a new pool.

    It begins anew on the step after an end (NEXT_STEP). Where the time limit falls on a true end, EnvPool tells of the
    limit only.
    """

    def __init__(self, name: str, count: int, options: Mapping[str, Any]) -> None:
        self._name, self._options = name, dict(options)
        self.num_envs = count
        self._pool = self._made(int(self._options.pop("seed", 0)))
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space: Space[Any] = self._pool.observation_space
        self.single_action_space: Space[Any] = self._pool.action_space
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin anew; `seed` is one number, from which each environment gets its own."""
        if seed is not None:
            self._pool.close()
            self._pool = self._made(int(np.ravel(seed)[0]))
        observation, info = self._pool.reset(options=options)
        return observation, info

    def step(self, actions: Array) -> _Answer:
        """One step of every environment."""
        answer: _Answer = self._pool.step(actions)
        return answer

    def close_extras(self, **_: Any) -> None:
        """End the threads."""
        self._pool.close()

    def _made(self, seed: int) -> Any:
        import envpool

        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*precision lowered by casting")  # its bounds are doubles
                pool = envpool.make(
                    self._name, env_type="gymnasium", num_envs=self.num_envs, seed=seed % 2**31, **self._options
                )
                assert pool.observation_space is not None  # made when it is first asked for
                assert pool.action_space is not None
                return pool
        except (TypeError, AssertionError) as wrong:
            raise InvalidInput(
                f"EnvPool cannot make {self._name} with {self._options}: {wrong}.",
                field="options",
                value=str(self._options),
                fix="Give only options that envpool.make_spec(name).config names.",
            ) from wrong
