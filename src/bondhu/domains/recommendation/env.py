"""One simulated user as a Gymnasium environment: codes are seen, one of 27 actions taken; a session is an episode."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from bondhu.domains.recommendation import domain
from bondhu.domains.recommendation.simulator import ACTIONS, Population
from bondhu.types import Array, Floats


class RecommendationEnv(gymnasium.Env[Array, Any]):
    """Every episode brings another user, unless traits are given; `info` holds what was said and the exact mean."""

    metadata = {"render_modes": []}  # noqa: RUF012  Gymnasium's own convention

    def __init__(self, traits: Floats | None = None, population: Population | None = None, bins: int = 5) -> None:
        self.population = population or Population()
        self.bins = bins
        self.observation_space = MultiDiscrete([field.cardinality for field in domain(bins).fields])
        self.action_space = Discrete(ACTIONS)
        self._given = None if traits is None else np.asarray(traits, float).reshape(1, -1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        given = (options or {}).get("traits", self._given)
        self._traits = self.population.users(1, self.np_random) if given is None else np.reshape(given, (1, -1))
        self._situation = self.population.reset(1, self.np_random)
        return self._seen(), {"traits": self._traits[0]}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        expected = self.population.expected_reward(self._traits, self._situation)[0, int(action)]
        step = self.population.step(self._traits, self._situation, np.array([int(action)]), self.np_random)
        self._situation = step.situation
        heard = list(zip(step.heard.signal, step.heard.value.tolist(), step.heard.delay.tolist(), strict=True))
        reward = float(self.population.observed_reward(step.heard, 1)[0])
        info = {"heard": heard, "expected_reward": float(expected)}
        return self._seen(), reward, bool(step.ended[0]), False, info

    def _seen(self) -> Array:
        codes: Array = self.population.codes(self._traits, self._situation, self.bins)[0]
        return codes
