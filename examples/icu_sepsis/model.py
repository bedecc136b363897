"""The ICU-Sepsis model (Choudhary et al. 2024) as a Gymnasium vector environment, with exact values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv

from bondhu.policies.drawing import draw, evenly
from bondhu.types import Booleans, Choice, Floats, Integers, Uniforms

DEATH, SURVIVAL, GONE = 713, 714, 715  # the states where an admission has ended


def data_folder() -> Path:
    """The folder with the model's arrays; raises FileNotFoundError saying where they belong."""
    folder = Path(os.environ.get("BONDHU_DATA", "../shared/data")) / "icu_sepsis" / "assets"
    if not (folder / "dynamics.npz").exists():
        raise FileNotFoundError(
            f"There is no {folder / 'dynamics.npz'}. Set BONDHU_DATA to the folder that holds icu_sepsis/."
        )
    return folder


@dataclass(frozen=True)
class Model:
    """716 states, 25 treatments; reward 1 for a patient who survives, else 0; no discounting."""

    transition: Floats  # [S, A, S]
    reward: Floats  # [S, A, S]
    start: Floats  # [S]
    admissible: Booleans  # [S, A] treatments that were given often enough to know their effect
    expert: Floats  # [S, A] the clinicians' policy on them

    @classmethod
    def load(cls) -> Model:
        folder = data_folder()
        with np.load(folder / "dynamics.npz") as arrays:
            transition, reward, start, expert = (arrays[name] for name in ("tx_mat", "r_mat", "d_0", "expert_policy"))
        lists = (folder / "admissible_actions.txt").read_text().splitlines()[1:]  # after the line of their lengths
        admissible = np.zeros(expert.shape, bool)
        for state in range(len(admissible)):
            admissible[state, [int(action) for action in lists[state].split()]] = True
        # In this model every other treatment acts as an admissible one drawn evenly: the same policy, said in fewer.
        others = (expert * ~admissible).sum(axis=1, keepdims=True)
        return cls(transition, reward, start, admissible, expert * admissible + others * evenly(admissible))

    @cached_property
    def cumulative(self) -> Floats:
        """[S, A, S] distribution functions of the next state."""
        return self.transition.cumsum(axis=-1)

    @cached_property
    def expected_reward(self) -> Floats:
        """[S, A]"""
        expected: Floats = (self.transition * self.reward).sum(axis=-1)
        return expected

    def value(self, policy: Floats) -> float:
        """Exact expected survival under a policy [S, A]: V = R_π + P_π V, solved over the states that go on."""
        on = np.arange(DEATH)
        moves = np.einsum("sa,sat->st", policy[on], self.transition[on])
        values = np.linalg.solve(np.eye(DEATH) - moves[:, on], (policy[on] * self.expected_reward[on]).sum(axis=1))
        return float(self.start[on] @ values)

    def optimum(self) -> float:
        """Value iteration; admissions end within a few dozen steps, so 1,000 sweeps are exact to machine precision."""
        values = np.zeros(len(self.start))
        for _ in range(1000):
            values = (self.expected_reward + self.transition @ values).max(axis=1)
        return float(self.start @ values)


@dataclass(frozen=True)
class Table:
    """A policy given as probabilities [S, A], observing the number of the state."""

    probabilities: Floats

    def distribution(self, observation: Integers, allowed: Booleans) -> Floats:  # noqa: ARG002  it knows what is admissible
        return self.probabilities[observation.reshape(len(observation))]

    def probability(self, observation: Integers, allowed: Booleans, action: Integers) -> Floats:
        return self.distribution(observation, allowed)[np.arange(len(action)), action]

    def sample(self, observation: Integers, allowed: Booleans, rng: Uniforms) -> Choice:
        return draw(self.distribution(observation, allowed), rng)


class Admissions(VectorEnv[Any, Any, Any]):
    """N patients at once; each resets on the step after its admission ended."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012  the name is Gymnasium's

    def __init__(self, model: Model, patients: int) -> None:
        self.model = model
        self.num_envs = patients
        self.single_observation_space = Discrete(len(model.start))
        self.single_action_space = Discrete(model.expert.shape[1])
        self.observation_space = MultiDiscrete([len(model.start)] * patients)
        self.action_space = MultiDiscrete([model.expert.shape[1]] * patients)

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002  Gymnasium's signature
    ) -> tuple[Integers, dict[str, Any]]:
        self.rng = np.random.default_rng(seed)
        self.state = self._admit(self.num_envs)
        return self.state, self._info()

    def step(self, actions: Integers) -> tuple[Integers, Floats, Booleans, Booleans, dict[str, Any]]:
        over = self.state >= DEATH
        following = self._follow(self.model.cumulative[self.state, actions])
        following[over] = self._admit(int(over.sum()))
        survived = ((following == SURVIVAL) & ~over).astype(float)
        self.state = following
        ended = (following >= DEATH) & ~over
        return following, survived, ended, np.zeros(self.num_envs, bool), self._info()

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.model.admissible[self.state]}

    def _admit(self, patients: int) -> Integers:
        return self._follow(np.broadcast_to(self.model.start.cumsum(), (patients, len(self.model.start))))

    def _follow(self, cumulative: Floats) -> Integers:
        drawn = self.rng.random(len(cumulative))[:, None] * cumulative[:, -1:]
        following: Integers = (cumulative <= drawn).sum(axis=1)
        return following
