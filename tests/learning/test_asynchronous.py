"""Workers that play and compute gradients, and an owner that applies them: in threads, in processes, on Ray."""

import multiprocessing
import threading
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bondhu.errors import InvalidInput
from bondhu.learners import build, pack
from bondhu.policies.uniform import Uniform
from bondhu.train.asynchronous import LIVES, Worker, WorkersLost, asynchronous

LEARNER = build("deep.a3c", {"hidden": [8], "learning_rate": 0.01, "rollout": 16})


class Sides(gymnasium.Env):
    """Left or right, as the context says: 1 for the right answer. Every episode is one decision."""

    observation_space = Box(-1.0, 1.0, (1,), np.float32)
    action_space = Discrete(2)

    def __init__(self, breaks=None):
        self.left = breaks

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.side = self.np_random.choice([-1.0, 1.0])
        return np.array([self.side], np.float32), {}

    def step(self, action):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise OSError("the socket is gone")
        reward = float((self.side > 0) == bool(action))
        return np.array([self.side], np.float32), reward, True, False, {}


def sides(breaks=None):
    """Two of them side by side."""
    return SyncVectorEnv([partial(Sides, breaks)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)


def right(state):
    """The chance of the right answer on either side."""
    chances = LEARNER.policy(state, explore=True).distribution(np.array([[-1.0], [1.0]]), np.ones((2, 2), bool))
    return chances[[0, 1], [0, 1]].min()


def test_one_thread_learns_and_gives_the_same_numbers_again():
    (one, first), (other, second) = (asynchronous(LEARNER, sides, 1, 1200, seed=3) for _ in range(2))
    assert right(one) > 0.9
    assert first == second
    for name, array in pack(one).items():
        np.testing.assert_array_equal(array, pack(other)[name])
    assert {each["staleness"] for each in first} == {0.0}
    assert [each["steps"] for each in first] == [32.0 * (number + 1) for number in range(len(first))]
    assert first[-1]["steps"] == 1216.0
    assert int(one.known.rows) == 1216
    assert threading.active_count() == 1


def test_three_threads_learn_together_from_gradients_that_are_at_most_a_little_stale():
    state, history = asynchronous(LEARNER, sides, 3, 1600, seed=0)
    assert right(state) > 0.9
    assert {each["worker"] for each in history} == {0.0, 1.0, 2.0}
    stale = [each["staleness"] for each in history]
    assert stale[0] == 0.0  # the first gradient was computed with the first parameters
    assert np.sum(stale) > 0  # the others meanwhile were not
    assert np.mean([each["episode_return"] for each in history[-5:]]) > np.mean(
        [each["episode_return"] for each in history[:5]]
    )
    assert threading.active_count() == 1


def test_a_worker_that_dies_is_replaced_and_learning_goes_on():
    state, history = asynchronous(LEARNER, partial(sides, breaks=40), 2, 1600, seed=0)
    assert right(state) > 0.9
    assert history[-1]["steps"] == 1600.0
    assert threading.active_count() == 1


def test_a_run_whose_workers_die_again_and_again_ends_with_one_error_that_holds_the_state():
    with pytest.raises(WorkersLost, match=f"{LIVES} workers died one after another.*the socket is gone") as raised:
        asynchronous(LEARNER, partial(sides, breaks=3), 2, 1600, seed=0)
    assert raised.value.history == []
    assert int(raised.value.state.known.rows) == 0
    assert threading.active_count() == 1


def test_a_rollout_that_only_begins_anew_is_played_on():
    """One step a rollout, one decision an episode: every second step only begins anew."""

    class Counting:
        observes, rollout = Box, 1

        def policy(self, state, *, explore=False):
            return Uniform()

        def gradients(self, state, batch):
            return len(batch), {}

    worker = Worker(Counting(), lambda: SyncVectorEnv([Sides], autoreset_mode=AutoresetMode.NEXT_STEP), (0,))
    sent = [worker.work(None) for _ in range(4)]
    worker.close()
    assert [(each.gradients, len(each.batch), len(each.episodes)) for each in sent] == [(1, 1, 1)] * 4


@pytest.mark.parametrize(("field", "value", "fix"), [("workers", 0, "at least 1"), ("steps", 0, "at least 1"),
                                                     ("kind", "thread", "Did you mean 'threads'")])  # fmt: skip
def test_what_cannot_be_run_is_refused(field, value, fix):
    with pytest.raises(InvalidInput, match=fix) as raised:
        asynchronous(LEARNER, sides, **{"workers": 1, "steps": 10, "seed": 0, field: value})
    assert raised.value.field == field


def test_processes_learn_and_leave_nothing_behind():
    state, history = asynchronous(LEARNER, sides, 1, 1200, seed=3, kind="processes")
    assert right(state) > 0.9
    assert {each["staleness"] for each in history} == {0.0}
    assert multiprocessing.active_children() == []


def test_actors_on_ray_learn_and_leave_nothing_behind():
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'bondhu[cluster]'")
    state, history = asynchronous(LEARNER, sides, 1, 1200, seed=3, kind="ray")
    assert right(state) > 0.9
    assert history[-1]["steps"] == 1216.0
    assert not ray.is_initialized()
