"""A recurrent learner inside others: played with its memory beside, while what is new is judged without it."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bondhu.learners import build
from bondhu.learners._memory import remembered_by, shape_without, without
from bondhu.learners.adaptive.windowed import Windowed
from bondhu.learners.motivation.counts import Counts
from bondhu.learners.motivation.icm import Icm
from bondhu.learners.motivation.rnd import Rnd
from bondhu.train.curriculum import LevelReplay, Practice
from bondhu.train.simulate import learn, played_in
from bondhu.types import Choice

MEMORY = np.array([3.0, 4.0, 5.0])


@dataclass(frozen=True)
class Recurrent:
    """A learner that remembers three numbers, by the step, and keeps the batches it is given."""

    memory: int = 3
    observes: Any = Box
    heard: list = field(default_factory=list, compare=False)

    def init(self, spec, rng):
        assert spec.observation.shape == (5,)

    def policy(self, state, *, explore=False):
        return self

    def sample(self, observation, allowed, rng):
        count = len(observation)
        return Choice(np.zeros(count, int), np.full(count, 0.5), rng.standard_normal((count, 1)) * MEMORY)

    def update(self, state, batch, rng):
        self.heard.append(batch)
        return state, {}


class Still(gymnasium.Env):
    """Shows the same for ever."""

    observation_space = Box(0.0, 1.0, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(2, np.float32), {}

    def step(self, action):
        return np.ones(2, np.float32), 0.0, False, False, {}


def still():
    return SyncVectorEnv([Still] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)


def played(learner, times=2):
    """Metrics, the state and the last batch."""
    simulation, rng = played_in(still(), learner), np.random.default_rng(0)
    state = learner.init(simulation.spec, rng)
    for _ in range(times):
        batch = simulation.play(learner.policy(state, explore=True), 8, rng)
        state, metrics = learner.update(state, batch, rng)
    return metrics, state, batch


def test_the_memory_of_a_learner_is_found_however_deep_it_lies():
    held = Windowed(Counts(Recurrent()))
    assert [remembered_by(each) for each in (Recurrent(), Counts(Recurrent()), held)] == [3, 3, 3]
    assert [remembered_by(each) for each in (Counts(), build("deep.dqn", {}))] == [0, 0]
    assert played_in(still(), held).spec.observation.shape == (5,)


def test_a_batch_without_memory_is_what_the_environment_showed():
    _, _, batch = played(Recurrent(), times=1)
    assert (batch.observation.shape, np.abs(batch.next_observation[:, 2:]).max() > 0) == ((16, 5), True)
    shown = without(batch, 3)
    assert (shown.observation == 1).all()
    assert (shown.next_observation.shape, shape_without((5,), 3)) == ((16, 2), (2,))
    assert without(batch, 0) is batch
    assert shape_without((4, 4, 3), 0) == (4, 4, 3)


def test_learning_and_practising_show_a_recurrent_learner_its_memory():
    learner = Recurrent()
    learn(still(), learner, rounds=1, steps=8, rng=np.random.default_rng(0))
    (batch,) = learner.heard
    np.testing.assert_allclose(batch.observation[1:8, 2:], batch.memo[:7], rtol=1e-6)
    practice = Practice(LevelReplay((1, 2)), Still, 2, opened=partial(played_in, learner=Recurrent()))
    assert practice.simulation(np.random.default_rng(0)).spec.observation.shape == (5,)
    practice.close()


@pytest.mark.parametrize("bits", [0, 16])
def test_counts_do_not_count_what_is_remembered(bits):
    metrics, state, _ = played(Counts(Recurrent(), bits=bits, once=True))
    assert metrics["distinct_observations"] == 1
    assert state.table.counts.tolist() == [32]


@pytest.mark.parametrize("kind", [Rnd, Icm])
def test_curiosity_embeds_what_the_environment_shows_alone(kind):
    learner = kind(Recurrent(), minibatch=16, epochs=1, hidden=(4,), embedding=2)
    _, state, batch = played(learner)
    known = state.curiosity.predictor if kind is Rnd else state.curiosity.model.features
    assert known.body["0"].weight.shape == (2, 4)
    other = replace(batch, next_observation=batch.next_observation + np.float32([0, 0, 1, 1, 1]))
    after = [learner.update(state, each, np.random.default_rng(0))[0].curiosity for each in (batch, other)]
    for one, two in zip(*map(jax.tree.leaves, after), strict=True):
        np.testing.assert_array_equal(one, two)
