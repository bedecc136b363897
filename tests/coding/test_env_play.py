"""Gymnasium takes the environment for one of its own, and learners of the catalogue play it with masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from bondhu.domains.coding.env import NAME, CodingEnv
from bondhu.domains.coding.rules import Rules
from bondhu.envs.make import make
from bondhu.errors import SandboxUnavailable
from bondhu.learners.deep.dqn import Dqn
from bondhu.learners.deep.ppo import Ppo
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.sandbox.pool import open_sandbox
from bondhu.train.simulate import learn, played_in
from tests.coding.inside import Inside
from tests.coding.toys import SMALL, SOLVING, TASK, toy, walked


def test_gymnasium_makes_it_by_name_and_finds_nothing_wrong() -> None:
    forgiving = replace(SMALL, forgiving=True)  # the checker samples actions without a mask
    for shows in ("everything", "features", "codes"):
        env = gymnasium.make(NAME, tasks=[TASK], sandbox=Inside(), rules=forgiving, shows=shows)
        check_env(env.unwrapped)
        assert isinstance(env.unwrapped, CodingEnv)


def test_it_runs_in_the_sandbox_that_it_opens() -> None:
    try:
        open_sandbox(workers=1).close()
    except SandboxUnavailable as problem:
        pytest.skip(str(problem))
    env = CodingEnv([TASK], rules=SMALL)
    rewards, info = walked(env, SOLVING)
    env.close()
    env.close()
    assert rewards == pytest.approx(walked(toy(), SOLVING)[0])
    assert info["is_success"] is True


def vector(shows: str, count: int, rules: Rules) -> Any:
    options = {"tasks": [TASK], "sandbox": Inside(), "rules": rules, "shows": shows}
    return make(f"bondhu.domains.coding.env:{NAME}", count, options=options)


def test_ppo_learns_and_never_gives_a_masked_action_a_chance() -> None:
    env, rng = vector("features", 2, replace(SMALL, steps=16)), np.random.default_rng(0)
    assert isinstance(env, SyncVectorEnv)
    learner = Ppo(hidden=(8,), epochs=1, minibatch=32)
    state, metrics = learn(env, learner, rounds=3, steps=16, rng=rng)
    assert len(metrics) == 3
    assert all(np.isfinite(value) for each in metrics for value in each.values())
    policy = learner.policy(state)
    batch = played_in(env, learner).play(policy, 40, rng)
    chances = policy.distribution(batch.observation, batch.allowed)
    assert batch.allowed.shape == (len(batch), 17)
    assert not batch.allowed.all(axis=1).any()
    assert (chances[~batch.allowed] == 0).all()
    assert chances.sum(axis=1) == pytest.approx(np.ones(len(batch)), abs=1e-5)


def test_dqn_plays_it_too() -> None:
    env, rng = vector("features", 2, replace(SMALL, steps=16)), np.random.default_rng(0)
    learner = Dqn(hidden=(8,))
    state, metrics = learn(env, learner, rounds=2, steps=16, rng=rng)
    batch = played_in(env, learner).play(learner.policy(state), 20, rng)
    assert len(metrics) == 2
    assert batch.allowed[np.arange(len(batch)), batch.action].all()


def test_q_learning_on_codes_solves_one_task() -> None:
    rules = replace(SMALL, steps=12, candidates=5, operators=("comparison_operator",), discount=0.95)
    env, rng = vector("codes", 1, replace(rules, tests_at_once=True, submits=True)), np.random.default_rng(0)
    hopeful = QLearning(learning_rate=0.5, discount=0.95, initial_value=5.0, exploration=EpsilonGreedy(0.1))
    state, _ = learn(env, hopeful, rounds=12, steps=100, rng=rng)
    simulation = played_in(env, hopeful)
    simulation.play(hopeful.policy(state), 40, rng)
    episodes = simulation.finished()
    assert len(episodes) >= 5
    assert all(each.success for each in episodes)
