"""States as they come out of a store: what was compiled for the state that was stored serves them too."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu.learners import _policy_gradients, pack, unpack
from bondhu.learners.deep import dqn, ppo, pqn
from bondhu.learners.deep.a2c import A2C
from bondhu.types import Batch, Spec

SPEC = Spec(Box(-1.0, 1.0, (3,), np.float32), Discrete(2))
LEARNERS = {
    "ppo": (ppo.Ppo(hidden=(8,), epochs=1, minibatch=16, learning_rate=0.01), ppo._phase),
    "a2c": (A2C(hidden=(8,)), _policy_gradients._phase),
    "dqn": (dqn.Dqn(hidden=(4,), learning_starts=1, updates_per_step=2.0, minibatch=4, capacity=64), dqn._phase),
    "pqn": (pqn.Pqn(hidden=(4,), epochs=1), pqn._phase),
}


def decisions():
    rng = np.random.default_rng(0)
    seen, allowed = rng.normal(size=(16, 3)).astype(np.float32), np.ones((16, 2), bool)
    return Batch.single(seen, allowed, np.arange(16) % 2, np.full(16, 0.5), rng.normal(size=16))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_restored_state_learns_without_compiling_anything_new_and_to_the_same_numbers(name):
    learner, phase = LEARNERS[name]
    rng = np.random.default_rng
    state = learner.init(SPEC, rng(0))
    for seed in range(2):
        state, _ = learner.update(state, decisions(), rng(seed))
    stored, compiled = pack(state), phase._cache_size()
    restored = unpack(learner, stored)
    again = pack(restored)
    for seed in range(2):
        restored, _ = learner.update(restored, decisions(), rng(seed))
        state, _ = learner.update(state, decisions(), rng(seed))
    assert compiled > 0
    assert phase._cache_size() == compiled
    for key, array in pack(state).items():
        np.testing.assert_array_equal(array, pack(restored)[key])
        assert again[key].dtype == stored[key].dtype
