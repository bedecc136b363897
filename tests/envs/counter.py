"""Environments that count, in all three autoreset modes: nothing in them is random, so every row is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv

from bondhu.types import Array, Choice

MODES = list(AutoresetMode)
# Of each environment, the episodes that take turns: their lengths, and whether they end or are cut.
TURNS = (((3, True), (3, False)), ((3, False), (3, True)), ((2, True), (4, False)))


class Counters(VectorEnv[Any, Any, Any]):
    """Shows [10·environment + 1, episode, step] and pays step + action / 10. A step that only begins anew pays 99."""

    def __init__(self, mode: AutoresetMode | str, *, turns: Any = TURNS, mask: str = "") -> None:
        self.mode, self.turns, self.mask, self.num_envs = AutoresetMode(mode), turns, mask, len(turns)
        self.metadata = {"autoreset_mode": mode}
        self.single_action_space = Discrete(3)
        self.single_observation_space: Any = Box(-1e9, 1e9, (3,), np.float64)
        if mask == "observed":
            self.single_observation_space = Dict(
                action_mask=Box(0, 1, (3,), np.int8), seen=self.single_observation_space
            )
        self.seeds: list[Any] = []
        self.acted: list[Array] = []

    def seen(self) -> Any:
        features = np.stack([np.arange(self.num_envs) * 10.0 + 1, self.episode, self.step_], axis=1)
        return (
            {"seen": features, "action_mask": self.allowed().astype(np.int8)} if self.mask == "observed" else features
        )

    def allowed(self) -> Array:
        """Action step mod 3 is forbidden; at an end nothing is allowed."""
        allowed = np.arange(3) != (self.step_ % 3)[:, None]
        allowed[self.over] = False
        return allowed

    def info(self) -> dict[str, Any]:
        return {"action_mask": self.allowed()} if self.mask == "info" else {}

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        if options is None:
            self.episode, self.step_ = np.zeros(self.num_envs), np.zeros(self.num_envs)
            self.over = np.zeros(self.num_envs, bool)
        else:
            assert self.mode is AutoresetMode.DISABLED
            assert (options["reset_mask"] == self.over).all()
            self.begin(options["reset_mask"])
        return self.seen(), self.info()

    def begin(self, who: Array) -> None:
        self.episode[who] += 1
        self.step_[who] = 0
        self.over[who] = False

    def step(self, action: Array) -> Any:
        self.acted.append(np.array(action))
        anew = self.over.copy()
        assert self.mode is AutoresetMode.NEXT_STEP or not anew.any()
        self.begin(anew)
        self.step_ = np.where(anew, 0, self.step_ + 1)
        turn = [turns[int(episode) % len(turns)] for turns, episode in zip(self.turns, self.episode, strict=True)]
        length, ends = np.array([each[0] for each in turn]), np.array([each[1] for each in turn])
        self.over = self.step_ >= length
        reward = np.where(anew, 99.0, self.step_ + np.asarray(action) / 10)
        terminated, truncated = self.over & ends, self.over & ~ends
        info = {"success": terminated, "_success": self.over.copy()} | self.info()
        if self.mode is AutoresetMode.SAME_STEP and self.over.any():
            over = self.over.copy()
            last = {"final_obs": self.seen(), "_final_obs": over, "final_info": info}
            self.begin(over)
            return self.seen(), reward, terminated, truncated, last | self.info()
        return self.seen(), reward, terminated, truncated, info


class Steady:
    """The first allowed action, with the step, the sum of all it remembers plus 1, as its memo."""

    def __init__(self, memory: int = 0) -> None:
        self.memory = memory
        self.shown: list[Array] = []

    def sample(self, observation: Array, allowed: Array, rng: np.random.Generator) -> Choice:
        self.shown.append(observation.copy())
        count = len(observation)
        memo = np.full((count, 1), 5.0)
        if self.memory:
            memo = np.concatenate([memo, observation[:, -self.memory :] + 1], axis=1)
        return Choice(allowed.argmax(axis=1), np.full(count, 0.25), memo)
