"""TD3, with numbers worked by hand: smoothed targets, the delayed actor, and noise that stops at the bounds."""

import math

import jax
import numpy as np
import pytest
from gymnasium.spaces import Box

from bondhu.learners import build, pack
from bondhu.learners.deep import td3
from bondhu.policies.gaussian import Anywhere, Certain
from bondhu.types import Spec
from tests.learning.test_deep_sac import SMALL, SPEC, critic, network, rows


def begun(spec=SPEC, **hyper):
    learner = build("deep.td3", SMALL | hyper)
    return learner, learner.init(spec, np.random.default_rng(1))


def test_targets_look_at_a_place_near_the_action_but_not_beyond_the_bounds():
    learner, state = begun()
    learned, seen = state.learned, np.float32([[0.3, -0.2], [1.0, 0.4], [1.0, 0.4]])
    noise = np.float32([[1.0, -0.5], [9.0, -9.0], [9.0, 9.0]])
    columns = {
        "next_observation": seen,
        "noise": np.stack([noise, noise]),
        "reward": np.float32([1.0, 2.0, 3.0]),
        "continuing": np.float32([0.9, 0.9, 0.0]),
    }
    mean = np.tanh(network(learned.target_actor.body, learned.target_actor.head, seen))
    near = np.clip(mean + np.array([[0.2, -0.1], [0.5, -0.5], [0.5, 0.5]]), -1, 1)
    lower = np.minimum(*(critic(learned.target_critics, k, np.hstack([seen, near]))[:, 0] for k in range(2)))
    target = td3._target(learner, learned, columns)
    np.testing.assert_allclose(target, [1 + 0.9 * lower[0], 2 + 0.9 * lower[1], 3.0], rtol=1e-5)


def test_the_actor_and_all_targets_move_at_every_second_step_only():
    learner, state = begun()
    before = pack(state.learned)
    once, _ = learner.update(state, rows(4), np.random.default_rng(0))
    first = pack(once.learned)
    for name, array in first.items():
        still = name.startswith(("actor", "target"))
        assert still == bool((array == before[name]).all() and not name.startswith("critic")), name
    twice, _ = learner.update(once, rows(1), np.random.default_rng(1))
    for old, new, target in zip(
        *(jax.tree.leaves(each) for each in (state.learned.actor, twice.learned.actor, twice.learned.target_actor)),
        strict=True,
    ):
        np.testing.assert_allclose(target, 0.75 * old + 0.25 * np.asarray(new), atol=1e-6)
    assert int(twice.learned.critic_moments.steps) == 2
    assert int(twice.learned.actor_moments.steps) == 1
    assert any((array != first[name]).any() for name, array in pack(twice.learned).items() if name.startswith("actor/"))


def test_the_actor_climbs_the_first_critic_alone():
    learner, state = begun()
    learned, seen = state.learned, np.float32([[0.3, -0.2], [1.0, 0.4]])
    action = np.tanh(network(learned.actor.body, learned.actor.head, seen))
    wanted = -critic(learned.critics, 0, np.hstack([seen, action])).mean()
    loss = td3._actor_loss(learner, learned.actor, learned.critics, {"observation": seen})
    assert float(loss) == pytest.approx(wanted, rel=1e-5)


def test_it_begins_anywhere_then_adds_noise_in_units_of_the_action_and_none_when_it_counts():
    learner, state = begun(learning_starts=6, exploration_noise=0.1)
    assert isinstance(learner.policy(state, explore=True), Anywhere)
    state, _ = learner.update(state, rows(6), np.random.default_rng(0))
    exploring, sure = (learner.policy(state, explore=each) for each in (True, False))
    np.testing.assert_allclose(exploring.deviation, [1.0, 0.05])
    seen, allowed = np.tile(np.float32([[0.3, -0.2]]), (4_000, 1)), np.ones((4_000, 1), bool)
    drawn = exploring.sample(seen, allowed, np.random.default_rng(0)).action
    mean = sure.sample(seen, allowed, np.random.default_rng(0)).action
    assert np.ptp(mean, axis=0) == pytest.approx([0.0, 0.0])
    np.testing.assert_allclose(mean[0], [20, -0.5] + np.tanh(network(state.learned.actor.body, state.learned.actor.head,
                               seen[:1]))[0] * [10, 0.5], rtol=1e-5)  # fmt: skip
    assert (drawn - mean).std(axis=0) == pytest.approx([1.0, 0.05], rel=0.05)


def test_noise_that_would_leave_the_bounds_gathers_on_them():
    policy = Certain(lambda seen: np.full((len(seen), 1), 0.5), np.r_[-1.0], np.r_[1.0], 0.5)
    seen, allowed = np.zeros((3, 1)), np.ones((3, 1), bool)
    chance = policy.probability(seen, allowed, np.array([[1.0], [0.0], [-1.0]]))
    inside = math.exp(-0.5) / (0.5 * math.sqrt(2 * math.pi))
    assert chance == pytest.approx([0.158655, inside, 0.001350], rel=1e-3)
    many = policy.sample(np.zeros((20_000, 1)), np.ones((20_000, 1), bool), np.random.default_rng(0))
    assert np.mean(many.action == 1.0) == pytest.approx(0.1587, abs=0.01)
    place = np.linspace(-1.0, 1.0, 2_001)[:-1, None] + 0.0005
    density = policy.probability(np.zeros((2_000, 1)), np.ones((2_000, 1), bool), place)
    assert density.sum() * 0.001 + chance[0] + chance[2] == pytest.approx(1.0, abs=1e-6)


def test_a_certain_action_beyond_the_bounds_is_the_bound():
    policy = Certain(lambda seen: np.full((len(seen), 1), 3.0), np.r_[-1.0], np.r_[1.0])
    choice = policy.sample(np.zeros((2, 1)), np.ones((2, 1), bool), np.random.default_rng(0))
    assert choice.action.tolist() == [[1.0], [1.0]]
    assert policy.probability(np.zeros((2, 1)), np.ones((2, 1), bool), choice.action).tolist() == [1.0, 1.0]


def test_the_same_seed_learns_the_same_bit_for_bit():
    learner, spec = build("deep.td3", SMALL), Spec(SPEC.observation, Box(-1.0, 1.0, (2,), np.float32))
    states = []
    for _ in range(2):
        state = learner.init(spec, np.random.default_rng(1))
        state, metrics = learner.update(state, rows(), np.random.default_rng(2))
        states.append(pack(state.learned))
    assert metrics["updates"] == 3.0
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])
