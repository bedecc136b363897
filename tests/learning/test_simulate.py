"""A policy in Gymnasium environments: what becomes of ends, time limits and resets, worked by hand on a corridor."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bondhu.errors import InvalidInput
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.policies.by_value import ByValue
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.policies.uniform import Uniform
from bondhu.train.simulate import learn, simulate
from bondhu.types import Array, Batch, Choice, Policy, Spec

RIGHT, LEFT = 1, 0


class Corridor(gymnasium.Env[int, int]):
    """Cells 0 to 3: reaching 3 pays 10 and ends, every other step pays its new cell; `limit` steps cut an episode."""

    observation_space = Discrete(4)

    def __init__(self, limit: int = 100, first: int = 0, *, masked: bool = False) -> None:
        self.action_space = Discrete(2, start=first)
        self.limit, self.masked = limit, masked
        self.cell = self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.cell = self.steps = 0
        return 0, self.info()

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.steps += 1
        self.cell = max(self.cell + (1 if action - self.action_space.start == RIGHT else -1), 0)
        ended = self.cell == 3
        return (
            self.cell,
            10.0 if ended else float(self.cell),
            ended,
            not ended and self.steps >= self.limit,
            self.info(),
        )

    def info(self) -> dict[str, Any]:
        """At the end nothing is allowed, in cell 0 only going right."""
        masks = {0: [False, True], 3: [False, False]}
        return {"action_mask": np.array(masks.get(self.cell, [True, True]))} if self.masked else {}


def test_learning_on_line_reaches_the_exact_values_and_reports_each_round() -> None:
    envs = gymnasium.make_vec("CliffWalking-v1", num_envs=8, vectorization_mode="sync", max_episode_steps=200)
    learner = QLearning(learning_rate=1.0, discount=1.0, exploration=EpsilonGreedy(0.3))
    state, history = learn(envs, learner, rounds=40, steps=250, rng=np.random.default_rng(0))
    assert len(history) == 40
    walked = simulate(envs, learner.policy(state), 13, np.random.default_rng(1))
    assert walked.reward.tolist() == [-1.0] * 104  # thirteen steps beside the cliff, in each of eight
    assert walked.discount.sum() == 96


def test_a_table_refuses_continuous_actions_before_anything_is_simulated() -> None:
    envs = gymnasium.make_vec("Pendulum-v1", num_envs=1, vectorization_mode="sync")
    with pytest.raises(InvalidInput, match="A table needs"):
        learn(envs, QLearning(), rounds=1, steps=1, rng=np.random.default_rng(0))


def corridors(*limits: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **more: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda limit=limit: Corridor(limit, **more) for limit in limits], autoreset_mode=mode)


def going(action: int) -> Policy:
    values = np.array([[0.0, 1.0]]) if action == RIGHT else np.array([[1.0, 0.0]])
    return ByValue(lambda seen: np.tile(values, (len(seen), 1)), greedy)


def run(policy: Policy, steps: int, *limits: int, **more: Any) -> Batch:
    return simulate(corridors(*limits, **more), policy, steps, np.random.default_rng(0))


def test_an_end_a_time_limit_and_the_end_of_the_simulation_are_told_apart() -> None:
    batch = run(going(RIGHT), 6, 100, 2)
    # environment 0: 0→1→2→3 end, reset, 0→1→2 (simulation over); environment 1: 0→1→2 cut, reset, twice
    assert batch.observation[:, 0].tolist() == [0, 1, 2, 0, 1, 0, 1, 0, 1]
    assert batch.reward.tolist() == [1, 2, 10, 1, 2, 1, 2, 1, 2]
    assert batch.discount.tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1]
    assert batch.has_next.tolist() == [True, True, False, True, False, True, False, True, False]
    assert batch.next_observation[:, 0].tolist() == [1, 2, 0, 1, 2, 1, 2, 1, 2]
    assert batch.session.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert (batch.action == RIGHT).all()
    assert (batch.probability == 1).all()
    assert np.diff(batch.time).min() > 0


def test_rows_that_go_on_continue_in_the_next_row() -> None:
    batch = run(Uniform(), 400, 7, 100, 3)
    on = np.flatnonzero(batch.has_next)
    assert len(on) > 200
    np.testing.assert_array_equal(batch.next_observation[on], batch.observation[on + 1])
    np.testing.assert_array_equal(batch.session[on], batch.session[on + 1])
    last = np.flatnonzero(~batch.has_next)[:-1]
    assert (batch.session[last + 1] == batch.session[last] + 1).all()
    assert (batch.next_observation[batch.discount == 0] == 0).all()
    assert (batch.reward[batch.discount == 0] == 10).all()


def test_a_simulation_that_stops_right_after_an_end_holds_no_resetting_step() -> None:
    assert len(run(going(RIGHT), 3, 100)) == 3
    assert len(run(going(RIGHT), 4, 100)) == 3
    assert len(run(going(RIGHT), 5, 100)) == 4


def test_masks_are_obeyed_and_an_end_where_nothing_is_allowed_does_no_harm() -> None:
    batch = run(going(LEFT), 9, 4, 100, masked=True)
    # from 0 only right is allowed, from 1 left is preferred: 0→1→0→1→...
    assert set(batch.observation[:, 0].tolist()) == {0, 1}
    assert batch.allowed[batch.observation[:, 0] == 0].tolist() == [[False, True]] * int((batch.observation == 0).sum())
    batch = run(going(RIGHT), 9, 100, masked=True)
    assert batch.discount.tolist() == [1, 1, 0, 1, 1, 0, 1]
    assert batch.next_allowed[batch.discount == 0].all()
    assert batch.next_allowed[0].tolist() == [True, True]


def test_actions_may_be_numbered_from_elsewhere() -> None:
    batch = run(going(RIGHT), 3, 100, first=5)
    assert batch.reward.tolist() == [1, 2, 10]
    assert batch.action.tolist() == [RIGHT] * 3


def test_what_the_policy_wants_back_is_kept() -> None:
    class Remembering:
        def sample(self, observation: Array, allowed: Array, rng: np.random.Generator) -> Choice:
            count = len(observation)
            return Choice(np.full(count, RIGHT), np.full(count, 0.5), observation.astype(float))

    batch = run(Remembering(), 3, 100)  # type: ignore[arg-type]
    assert batch.memo.tolist() == [[0], [1], [2]]
    assert batch.probability.tolist() == [0.5] * 3


def test_a_table_learns_the_corridors_values_from_simulation() -> None:
    learner = QLearning(learning_rate=0.5, discount=0.5)
    rng = np.random.default_rng(1)
    state = learner.init(Spec(Discrete(4), Discrete(2)), rng)
    state, _ = learner.update(state, run(Uniform(), 3000, 7, 100, 13), rng)
    # V(2) = 10, V(1) = 2 + V(2) / 2 = 7, V(0) = 1 + V(1) / 2 = 4.5: time limits are no ends, and ends have no value
    np.testing.assert_allclose(state.values[[0, 1, 2], RIGHT], [4.5, 7.0, 10.0], atol=1e-9)


def test_the_same_seed_gives_the_same_batch() -> None:
    first, again = run(Uniform(), 50, 7, 100), run(Uniform(), 50, 7, 100)
    np.testing.assert_array_equal(first.action, again.action)
    np.testing.assert_array_equal(first.observation, again.observation)


def test_a_published_environment_gives_a_batch_of_the_right_shapes() -> None:
    env = gymnasium.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync")
    batch = simulate(env, Uniform(), 200, np.random.default_rng(0))
    rows = len(batch)
    assert 700 < rows < 800
    assert batch.observation.shape == batch.next_observation.shape == (rows, 4)
    assert batch.allowed.shape == batch.next_allowed.shape == (rows, 2)
    assert batch.memo.shape == (rows, 0)
    assert (batch.reward == 1).all()
    assert (batch.probability == 0.5).all()
    ends = ~batch.has_next & (batch.discount == 0)
    assert 800 - rows <= ends.sum() <= 800 - rows + 4  # each end costs a step that resets, but for the very last
    on = np.flatnonzero(batch.has_next)
    np.testing.assert_array_equal(batch.next_observation[on], batch.observation[on + 1])


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_other_ways_of_resetting_give_the_same_rows(mode: AutoresetMode) -> None:
    first = simulate(corridors(3, 3, mode=mode), Uniform(), 3, np.random.default_rng(0))
    again = run(Uniform(), 3, 3, 3)
    np.testing.assert_array_equal(first.observation, again.observation)
    np.testing.assert_array_equal(first.next_observation, again.next_observation)
    masked = run(going(LEFT), 5, 3, masked=True)
    again = simulate(corridors(3, mode=mode, masked=True), going(LEFT), 4, np.random.default_rng(0))
    np.testing.assert_array_equal(masked.allowed, again.allowed)
    np.testing.assert_array_equal(masked.next_allowed, again.next_allowed)
    assert again.action.tolist() == [RIGHT, LEFT, RIGHT, RIGHT]  # the last opens the second episode
    batch = simulate(corridors(2, mode=mode), going(RIGHT), 6, np.random.default_rng(0))
    assert batch.next_observation[:, 0].tolist() == [1, 2] * 3  # what was reached, never the first cell again
    assert batch.has_next.tolist() == [True, False] * 3
    assert batch.discount.tolist() == [1.0] * 6
