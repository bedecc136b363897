"""How good a policy is: one episode in each of several environments, all seeded alike in every evaluation of every run.

One episode each, and not the first that end: those would be the short ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from bondhu.train.simulate import Simulation
from bondhu.types import Array, Booleans, Floats, Integers, Policy

SEED = 1_000_003  # of the environments that policies are evaluated in; runs never train with it
LONGEST = 30_000  # steps of an episode that is not waited for any longer
STRIDE = 50  # steps between looks whether all have ended
EVALUATIONS = "evaluations.jsonl"


class Evaluation(NamedTuple):
    """What some episodes brought."""

    returns: Floats  # [E]
    lengths: Integers  # [E] steps

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    def told(self, step: int, *, explore: bool) -> dict[str, Any]:
        """As a line of `evaluations.jsonl`."""
        numbers = {"returns": self.returns.tolist(), "lengths": self.lengths.tolist()}
        return {"step": step, "explore": explore, "mean": self.mean, **numbers}


class FirstEpisodes(VectorWrapper[Any, Any, Any, Any, Any]):
    """Adds up what each environment pays until its first episode ends."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self._begin()

    def _begin(self) -> None:
        self.returns: Floats = np.zeros(self.num_envs)
        self.lengths: Integers = np.zeros(self.num_envs, np.int64)
        self.over: Booleans = np.zeros(self.num_envs, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin anew: nothing has been paid yet."""
        self._begin()
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, info

    def step(self, actions: Array) -> tuple[Any, Any, Array, Array, dict[str, Any]]:
        """One step; it counts where the first episode goes on."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self.returns += np.where(self.over, 0.0, reward)
        self.lengths += ~self.over
        self.over = self.over | terminated | truncated
        return observation, reward, terminated, truncated, info


def evaluate(policy: Policy, simulation: Simulation, rng: np.random.Generator, seed: int = SEED) -> Evaluation:
    """Play the policy in the environments of the simulation, which are `FirstEpisodes`, one episode each."""
    first = simulation.env
    assert isinstance(first, FirstEpisodes)
    simulation.reset(seed)
    while not first.over.all() and first.lengths.max() < LONGEST:
        simulation.play(policy, STRIDE, rng)
    simulation.finished()
    return Evaluation(first.returns.copy(), first.lengths.copy())


def append(folder: Path, line: Mapping[str, Any]) -> None:
    """Add a line to `evaluations.jsonl`."""
    with (folder / EVALUATIONS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def lines(folder: Path) -> list[dict[str, Any]]:
    """All evaluations; a line that was cut short is left out."""
    path = folder / EVALUATIONS
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def cut(folder: Path, step: int) -> None:
    """Leave the evaluations up to `step`: those after it will be made again."""
    path = folder / EVALUATIONS
    if path.exists():
        kept = [line for line in lines(folder) if line["step"] <= step]
        mended = path.with_suffix(".mended")
        mended.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        os.replace(mended, path)
