"""Parallelised Q-learning: returns worked by hand, and networks whose layers are normalised."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu.errors import InvalidInput
from bondhu.learners import _networks
from bondhu.learners._networks import Head, Network
from bondhu.learners._states import pack
from bondhu.learners.deep import pqn
from bondhu.learners.deep.pqn import Pqn
from bondhu.types import Batch, Spec

SPEC = Spec(Box(-1, 1, (3,), np.float32), Discrete(3))
SMALL = Pqn(hidden=(8, 6), minibatch=16, epochs=2, exploration_steps=64, last_epsilon=0.2)
returns_of, loss_of = (jax.jit(function, static_argnums=0) for function in (pqn._returns, pqn._loss))


def table(*rows):
    """A network without hidden layers on one-hot observations: row x says the values of the actions in x."""
    weight = np.array(rows, np.float32)[:, :, None]
    return Network({}, Head(weight, np.zeros(weight.shape[1:], np.float32)))


def log(count, rng, allowed=None):
    seen = rng.normal(size=(count, 3)).astype(np.float32)
    allowed = np.ones((count, 3), bool) if allowed is None else allowed
    action = np.array([rng.choice(np.flatnonzero(row)) for row in allowed])
    return Batch.single(seen, allowed, action, np.full(count, 0.5), rng.random(count))


def trained(learner, batch, seed=0):
    rng = np.random.default_rng(seed)
    return learner.update(learner.init(SPEC, rng), batch, rng)


def test_returns_run_along_a_trajectory_end_with_it_and_bootstrap_where_it_is_cut():
    # Values of the best action ahead: 4, 4, (end), 8 (cut), 8 (the last row). λ = ½, γ = ½.
    rows = {
        "next_observation": np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1]],
        "next_allowed": np.ones((5, 2), bool),
        "reward": np.array([1, 2, 3, 4, 5], np.float32),
        "continuing": np.array([0.5, 0.5, 0.0, 0.5, 0.5], np.float32),
        "linked": np.array([1, 1, 0, 0, 0], np.float32),
    }
    third, fourth, fifth = 3, 4 + 0.5 * 8, 5 + 0.5 * 8
    second = 2 + 0.5 * (0.5 * 4 + 0.5 * third)
    first = 1 + 0.5 * (0.5 * 4 + 0.5 * second)
    learner = Pqn(trace_decay=0.5)
    np.testing.assert_allclose(returns_of(learner, table([4, 1], [-2, 8]), rows), [first, second, third, fourth, fifth])


def test_a_forbidden_action_is_not_bootstrapped_from():
    rows = {
        "next_observation": np.eye(2, dtype=np.float32)[[0, 0, 0, 0, 0]],
        "next_allowed": np.array([[True, True], [False, True], [False, False], [True, False], [True, True]]),
        "reward": np.zeros(5, np.float32),
        "continuing": np.full(5, 0.5, np.float32),
        "linked": np.zeros(5, np.float32),
    }
    np.testing.assert_allclose(returns_of(Pqn(trace_decay=0.5), table([4, 1], [0, 0]), rows), [2, 0.5, 0, 2, 2])


def test_the_loss_is_half_the_squared_error_of_the_action_taken_and_padding_has_none():
    rows = {
        "observation": np.eye(2, dtype=np.float32)[[0, 1, 0]],
        "action": np.array([0, 1, 0]),
        "target": np.array([5.0, 7.0, 99.0], np.float32),
        "weight": np.array([1.0, 1.0, 0.0], np.float32),
    }
    loss, told = loss_of(SMALL, table([4, 1], [-2, 8]), rows)
    np.testing.assert_allclose([loss, told["td_error"]], [0.5 * (1 + 1) / 2, 1.0])


def test_normalised_sums_have_mean_nothing_and_variance_one():
    x = np.array([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]], np.float32)
    found = _networks.normalised(x, np)
    np.testing.assert_allclose(found[0], np.array([-2, -1, 3]) / np.sqrt(14 / 3), rtol=1e-6)
    np.testing.assert_array_equal(found[1], 0.0)  # a constant is not blown up
    np.testing.assert_allclose(_networks.normalised(jax.numpy.asarray(x)), found, atol=1e-6)


@pytest.mark.parametrize("normalise", [False, True])
def test_numpy_acts_as_jax_learns(normalise):
    rng = np.random.default_rng(0)
    network = _networks.network(rng, (3,), (8, 6), (3, 1))
    for layer in network.body.values():
        layer.bias[:] = rng.normal(size=layer.bias.shape)
    seen = rng.normal(size=(50, 3)).astype(np.float32)
    ours = _networks.asked(network, "relu", normalise)(seen)
    theirs = _networks.outputs(network, jax.numpy.asarray(seen), "relu", normalise)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_images_are_normalised_at_every_pixel_alike_for_acting_and_learning():
    rng = np.random.default_rng(0)
    network = _networks.network(rng, (36, 36, 1), (4,), (2, 1))
    seen = rng.integers(0, 256, (2, 36, 36, 1), np.uint8)
    ours = _networks.asked(network, "relu", True)(seen)
    theirs = _networks.outputs(network, jax.numpy.asarray(seen), "relu", True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.abs(ours - _networks.asked(network, "relu", False)(seen)).max() > 1e-3


def test_the_same_seed_learns_the_same_and_rows_of_padding_teach_nothing():
    batch = log(50, np.random.default_rng(1))  # padded to 64
    (one, first), (other, second) = trained(SMALL, batch), trained(SMALL, batch)
    assert first == second
    for name, array in pack(one).items():
        np.testing.assert_array_equal(array, pack(other)[name])
    assert int(one.moments.steps) == 2 * 64 // 16
    assert first["reward_signal"] == pytest.approx(batch.reward.mean(), abs=1e-6)


def test_single_decisions_are_regressed_on_their_rewards():
    rng = np.random.default_rng(2)
    batch = log(50, rng)
    seen = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 50)]
    worth = np.array([[0.0, 0.5, 1.0], [1.0, 0.0, 0.5], [0.5, 1.0, 0.0]])
    batch = replace(batch, observation=seen, reward=worth[seen.argmax(1), batch.action])
    state, learner = SMALL.init(SPEC, rng), replace(SMALL, learning_rate=0.02, epochs=60)
    for _ in range(3):
        state, metrics = learner.update(state, batch, rng)
    look = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(learner.beliefs(state)(look).value, worth, atol=0.1)
    np.testing.assert_array_equal(learner.policy(state).distribution(look, np.ones((3, 3), bool)), look[[2, 0, 1]])
    assert metrics["explained_variance"] > 0.95


def test_a_forbidden_action_is_never_chosen_and_epsilon_falls_in_a_line():
    batch = log(50, np.random.default_rng(1), allowed=np.tile([True, True, False], (50, 1)))
    state, metrics = trained(SMALL, batch)
    assert metrics["exploration_rate"] == pytest.approx(0.2 + 0.8 * 14 / 64)
    for explore, least in ((False, 0.0), (True, metrics["exploration_rate"] / 2)):
        chances = SMALL.policy(state, explore=explore).distribution(batch.observation, batch.allowed)
        assert not chances[:, 2].any()
        assert chances[:, :2].min() == pytest.approx(least)


def test_a_row_of_another_shape_is_refused():
    state = SMALL.init(SPEC, np.random.default_rng(0))
    batch = log(4, np.random.default_rng(1))
    wrong = replace(batch, observation=batch.observation[:, :2])
    with pytest.raises(InvalidInput) as raised:
        SMALL.update(state, wrong, np.random.default_rng(0))
    assert raised.value.field == "observation"
