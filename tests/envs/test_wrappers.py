"""Stacked frames, the time that is left and shaped rewards: right at every end, in each autoreset mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv

from bondhu.envs.frames import Frames
from bondhu.envs.shaping import Shaped
from bondhu.envs.time_aware import TimeAware
from bondhu.equations.planning import action_values, best_within
from bondhu.errors import InvalidInput
from bondhu.train.simulate import Simulation
from bondhu.types import Array, Batch, Floats
from tests.envs.counter import MODES, Counters, Steady
from tests.envs.test_simulation import images, taking


def batch_of(env: VectorEnv[Any, Any, Any]) -> Batch:
    """The 18 rows of two episodes of each counter: episodes of 3 and 3, of 3 and 3, of 2 and 4 steps."""
    steps = 8 if env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP else 6
    return Simulation(env).play(Steady(), steps, np.random.default_rng(0))


@pytest.mark.parametrize("mode", MODES)
def test_a_stack_begins_with_its_first_frame_and_ends_on_the_frames_before(mode: AutoresetMode) -> None:
    batch = batch_of(Frames(Counters(mode), 3))
    steps, after = batch.observation[:, 2::3], batch.next_observation[:, 2::3]
    assert steps[:6].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2]] * 2
    assert after[:6].tolist() == [[0, 0, 1], [0, 1, 2], [0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]  # row 2 is an end
    assert batch.observation[3].tolist() == [1, 1, 0] * 3  # nothing of episode 0 is left in episode 1
    assert batch.next_observation[17].tolist() == [21, 1, 2, 21, 1, 3, 21, 1, 4]
    assert batch.has_next.sum() == 12


def test_images_are_stacked_along_their_channels() -> None:
    first = Frames(images(), 2)
    assert first.single_observation_space.shape == (6, 4, 5)
    seen, _ = first.reset(seed=0)
    np.testing.assert_array_equal(seen[:, :3], seen[:, 3:])
    after, *_ = first.step(np.zeros(2, int))
    np.testing.assert_array_equal(after[:, :3], seen[:, 3:])
    last = Frames(taking(Discrete(2), Box(0, 255, (5, 4, 3), np.uint8)), 2)
    seen, _ = last.reset(seed=0)
    after, *_ = last.step(np.zeros(2, int))
    assert after.shape == (2, 5, 4, 6)
    np.testing.assert_array_equal(after[..., :3], seen[..., 3:])
    grey = Frames(taking(Discrete(2), Box(0, 255, (5, 4), np.uint8)), 4)
    assert grey.single_observation_space.shape == (4, 5, 4)
    assert grey.reset(seed=0)[0].shape == (2, 4, 5, 4)


def test_what_cannot_be_stacked_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be stacked"):
        Frames(taking(Discrete(2), Dict(a=Discrete(2))), 2)
    with pytest.raises(InvalidInput, match="at least one frame"):
        Frames(Counters(MODES[0]), 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ends", [True, False])
def test_the_time_that_is_left_shrinks_to_the_horizon(mode: AutoresetMode, ends: bool) -> None:
    batch = batch_of(TimeAware(Counters(mode), 4, ends=ends))
    assert batch.observation[:, 3].tolist() == [1, 0.75, 0.5] * 4 + [1, 0.75] + [1, 0.75, 0.5, 0.25]
    assert batch.next_observation[5].tolist() == [1, 1, 3, 0.25]  # cut before the horizon: something would follow
    assert batch.discount[[2, 5]].tolist() == [0, 1]
    assert batch.discount[17] == (0 if ends else 1)
    assert batch.next_observation[17].tolist() == ([0, 0, 0, 0] if ends else [21, 1, 4, 0])


def test_time_needs_features_and_a_horizon() -> None:
    with pytest.raises(InvalidInput, match="Time cannot stand beside"):
        TimeAware(images(), 3)
    with pytest.raises(InvalidInput, match="horizon"):
        TimeAware(Counters(MODES[0]), 0)


@pytest.mark.parametrize("mode", MODES)
def test_shaping_pays_what_the_potential_rises_and_takes_it_back_at_an_end(mode: AutoresetMode) -> None:
    plain = batch_of(Counters(mode))
    env = Shaped(Counters(mode), lambda seen: 10.0 * seen[:, 2] + 1.0, 0.5)
    simulation = Simulation(env)
    shaped = simulation.play(Steady(), 8 if mode is AutoresetMode.NEXT_STEP else 6, np.random.default_rng(0))
    before = 10.0 * plain.observation[:, 2] + 1.0
    reached = np.where(plain.discount == 0, 0.0, 10.0 * (plain.observation[:, 2] + 1) + 1.0)
    np.testing.assert_allclose(shaped.reward, plain.reward + 0.5 * reached - before)
    assert shaped.reward[:6].tolist() == [1 + 5.5 - 1, 2 + 10.5 - 11, 3 - 21, 1 + 5.5 - 1, 2 + 10.5 - 11, 3 + 15.5 - 21]
    assert [episode.total_reward for episode in simulation.finished()] == [3, 6, 6, 6, 6, 10]  # as the counter paid


def test_a_potential_gives_one_number_for_each() -> None:
    env = Shaped(Counters(MODES[0]), lambda seen: seen, 0.9)
    with pytest.raises(InvalidInput, match="one number for each"):
        env.reset(seed=0)
    with pytest.raises(InvalidInput, match="discount factor"):
        Shaped(Counters(MODES[0]), lambda seen: seen[:, 0], 1.5)


# A walk over five cells: left (0) or right (1); the left end pays 1, the right end 2 and is farther from the start.
CELLS, FACTOR = 5, 0.8
PAYS = {0: 1.0, CELLS - 1: 2.0}


class Walk(Counters):
    """Walks from every cell between the ends at once: environment n begins in cell n + 1."""

    def __init__(self) -> None:
        super().__init__(AutoresetMode.SAME_STEP, turns=[()] * (CELLS - 2))
        self.single_action_space = Discrete(2)
        self.single_observation_space = Box(0, CELLS, (1,), np.float64)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.cell = np.arange(1, CELLS - 1)
        return self.cell[:, None].astype(float), {}

    def step(self, action: Array) -> Any:
        self.cell = self.cell + 2 * action - 1
        over = (self.cell == 0) | (self.cell == CELLS - 1)
        reward = np.array([PAYS.get(int(cell), 0.0) for cell in self.cell])
        last = self.cell[:, None].astype(float)
        self.cell = np.where(over, np.arange(1, CELLS - 1), self.cell)
        return (
            self.cell[:, None].astype(float),
            reward,
            over,
            np.zeros_like(over),
            {"final_obs": last, "_final_obs": over},
        )


def measured(wrap: Any) -> tuple[Floats, Floats, Floats]:
    """The walk's model as a wrapper pays for it: transition [N, A, N], reward [N, A], and its best values [N, A]."""
    env = wrap(Walk())
    transition, reward = np.zeros((CELLS, 2, CELLS)), np.zeros((CELLS, 2))
    for action in (0, 1):
        env.reset(seed=0)
        _, paid, *_ = env.step(np.full(CELLS - 2, action))
        for cell in range(1, CELLS - 1):
            following = cell + 2 * action - 1
            reward[cell, action] = paid[cell - 1]
            transition[cell, action, following] = float(following not in PAYS)
    values = action_values(transition, reward, best_within(transition, reward, 200, FACTOR), FACTOR)
    return transition, reward, values


class Bonus(Shaped):
    """Pays Φ(s') for arriving, and takes nothing back: no difference of potentials."""

    def step(self, actions: Array) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        return observation, reward + self._worth(observation), terminated, truncated, info


def test_shaping_by_a_potential_keeps_the_best_policy_and_another_bonus_changes_it() -> None:
    potential = lambda seen: np.array([0.0, 3.0, 3.0, 0.0, 0.0])[seen[:, 0].astype(int)]  # noqa: E731  # draws to the left
    between = slice(1, CELLS - 1)
    _, _, plain = measured(lambda env: env)
    # by hand, γ = 0.8: from cell 3 right is 2; from 2 right 1.6, from 1 right 1.28 and left 1
    np.testing.assert_allclose(plain[between], [[1.0, 1.28], [0.8 * 1.28, 1.6], [0.8 * 1.6, 2.0]])
    _, _, shaped = measured(lambda env: Shaped(env, potential, FACTOR))
    hints = potential(np.arange(CELLS)[:, None])[:, None]
    np.testing.assert_allclose((shaped + hints)[between], plain[between])  # Q' = Q - Φ: no action gains on another
    assert (shaped.argmax(axis=1) == plain.argmax(axis=1))[between].all()
    _, _, bonus = measured(lambda env: Bonus(env, potential, FACTOR))
    assert plain.argmax(axis=1)[between].tolist() == [1, 1, 1]
    assert bonus.argmax(axis=1)[between].tolist() != [1, 1, 1]
