"""PPO where rows are not as it would like: padding, tiny densities, logs of others, actions that come and go."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu.learners import _actors, _columns, _policy_gradients, _states
from bondhu.learners.deep.a2c import A2C
from bondhu.learners.deep.actor_critic import ActorCritic
from bondhu.learners.deep.ppo import Ppo
from bondhu.types import Batch, Spec

SEEN = Box(-1.0, 1.0, (3,), np.float32)
DIAL = Spec(SEEN, Box(-1.0, 1.0, (1,), np.float32))
TWO = Spec(SEEN, Discrete(2))
SMALL = Ppo(hidden=(8,), epochs=1, minibatch=16, learning_rate=0.01)


def rng(seed=0):
    return np.random.default_rng(seed)


def dialled(log_density, rows):
    """Actions of 0 on a dial, drawn with this log density."""
    draws, allowed = rng(), np.ones((rows, 1), bool)
    chance, memo = np.full(rows, np.exp(log_density)), np.full((rows, 1), float(log_density))
    batch = Batch.single(draws.normal(size=(rows, 3)), allowed, np.zeros((rows, 1)), chance, draws.normal(size=rows))
    return replace(batch, memo=memo)


def finite(state):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


# ------------------------------------------------------------------------------------------------------ huge log ratios


def test_a_row_of_almost_no_density_leaves_every_parameter_finite():
    after, metrics = SMALL.update(SMALL.init(DIAL, rng()), dialled(-90.0, 12), rng())
    assert finite(after)
    assert metrics["clip_fraction"] == 1.0
    assert metrics["kl"] == pytest.approx(np.expm1(20.0) - 20.0, rel=1e-5)


def test_padding_under_a_tiny_deviation_leaves_every_parameter_finite():
    """A density of 56 dials with deviations of e^-2.6 is above e^88 at its top; what padding logs is 0."""
    dials = Spec(SEEN, Box(-1.0, 1.0, (56,), np.float32))
    state = SMALL.init(dials, rng())
    state = replace(state, parameters=replace(state.parameters, log_deviation=np.full(56, -2.6, np.float32)))
    seen, allowed = rng().normal(size=(12, 3)).astype(np.float32), np.ones((12, 1), bool)
    drawn = SMALL.policy(state, explore=True).sample(seen, allowed, rng())
    batch = Batch.single(seen, allowed, drawn.action, drawn.probability, rng().normal(size=12))
    after, metrics = SMALL.update(state, replace(batch, memo=drawn.memo), rng())
    assert finite(after)
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6)


# ------------------------------------------------------------------------------------------- actions that come and go


@pytest.mark.parametrize("learner", [SMALL, A2C(hidden=(8,))], ids=["ppo", "a2c"])
@pytest.mark.parametrize(("actions", "places"), [(4, [0, 1, 2, -1]), (2, [2, 0])])
def test_a_state_carried_over_to_other_actions_learns_of_all_of_them_and_takes_them(learner, actions, places):
    before, fresh = (learner.init(Spec(SEEN, Discrete(count)), rng()) for count in (3, actions))
    state = _states.carried(fresh, before, np.array(places))
    assert np.asarray(state.known.sizes).tolist() == [actions]
    seen, allowed = np.zeros((actions, 3), np.float32), np.ones((actions, actions), bool)
    batch = Batch.single(seen, allowed, np.arange(actions), np.full(actions, 1 / actions), np.ones(actions))
    state, _ = learner.update(state, batch, rng())
    assert np.asarray(state.known.tries).tolist() == [1.0] * actions
    chances = learner.policy(state, explore=True).distribution(seen[:1], allowed[:1])
    assert chances.shape == (1, actions)
    assert chances.sum() == pytest.approx(1.0)


# ------------------------------------------------------------------------------------------- how likely an action was


def test_a_probability_of_almost_nothing_is_taken_at_its_word():
    batch = Batch.single(
        np.zeros((2, 3)), np.ones((2, 1), bool), np.zeros(2, int), np.array([1e-33, 1e-300]), np.ones(2)
    )
    told = _actors.behaviour(batch, _columns.Actions((2,), 0))
    assert told == pytest.approx([-33 * np.log(10), -300 * np.log(10)], rel=1e-6)


@pytest.mark.parametrize("width", [0, 3])
def test_a_dial_logged_without_a_memo_of_ours_counts_by_its_density(width):
    batch = replace(dialled(np.log(0.3), 4), memo=np.full((4, width), 7.0))
    assert _actors.behaviour(batch, _columns.Actions((), 1)) == pytest.approx([np.log(0.3)] * 4, rel=1e-6)
    _, metrics = SMALL.update(SMALL.init(DIAL, rng()), batch, rng())
    assert metrics["confidence"] == pytest.approx(0.3)


def test_the_memo_of_a_recurrent_dial_begins_with_its_log_density():
    batch = replace(dialled(0.0, 4), memo=np.tile([-90.0, 7.0, 8.0], (4, 1)))
    assert _actors.behaviour(batch, _columns.Actions((), 1), 2).tolist() == [-90.0] * 4


# --------------------------------------------------------------------------------------------- what the metrics count


def logged(rows, features=3, probability=0.5):
    """One of two actions by turns, logged with this probability."""
    draws, allowed = rng(), np.ones((rows, 2), bool)
    seen, chance = draws.normal(size=(rows, features)).astype(np.float32), np.full(rows, probability)
    return Batch.single(seen, allowed, np.arange(rows) % 2, chance, draws.normal(size=rows))


def test_an_update_that_stops_at_once_tells_the_divergence_that_stopped_it():
    state = SMALL.init(TWO, rng())
    after, metrics = replace(SMALL, kl_limit=1e-6, epochs=3).update(state, logged(32, probability=0.9), rng())
    ratio = 0.5 / 0.9
    assert metrics["kl"] == pytest.approx(ratio - 1 - np.log(ratio), rel=0.05)
    assert metrics["entropy"] == pytest.approx(np.log(2), rel=0.01)
    assert int(after.moments.steps) == 0


@pytest.mark.parametrize(
    ("learner", "rows"),
    [
        (replace(SMALL, memory=4, learning_rate=0.0), 17 * 16),  # sequences of 16, one for each minibatch
        (ActorCritic(hidden=(8,), minibatch=1, passes=1, learning_rate=0.0), 17),
    ],
    ids=["ppo", "actor_critic"],
)
def test_minibatches_of_padding_alone_are_no_steps_and_count_in_no_metric(learner, rows):
    features = 3 + getattr(learner, "memory", 0)
    state = learner.init(Spec(Box(-1.0, 1.0, (features,), np.float32), Discrete(2)), rng())
    after, metrics = learner.update(state, logged(rows, features), rng())  # 17 minibatches are padded to 20 or more
    assert int(after.moments.steps) == 17
    assert metrics["entropy"] == pytest.approx(np.log(2), rel=0.01)


# ------------------------------------------------------------------------------------------------ scaled observations


def test_nothing_has_changed_before_a_step_where_the_scale_of_observations_moves_on():
    learner = replace(SMALL, normalise_observations=True, learning_rate=0.0)
    state, told = learner.init(TWO, rng()), []
    head = state.parameters.actor.head
    decided = replace(state.parameters.actor, head=replace(head, weight=200 * head.weight))
    state = replace(state, parameters=replace(state.parameters, actor=decided))
    for away in (1.0, 5.0, 20.0):  # the first are played as they are, and learned from in their own deviations
        batch = logged(12)
        seen = np.float32(away) * batch.observation
        drawn = learner.policy(state, explore=True).sample(seen, batch.allowed, rng())
        batch = replace(batch, observation=seen, action=drawn.action, probability=drawn.probability)
        state, metrics = learner.update(state, batch, rng())
        told.append(metrics["kl"])
    assert told[1:] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert float(state.known.scale.rows) == 36.0


def test_policy_gradients_see_observations_as_the_policy_that_played_did():
    learner, first, second = A2C(hidden=(8,), normalise_observations=True), logged(12), logged(10)
    known, rows = _policy_gradients.read(learner, learner.init(TWO, rng()).known, first)
    np.testing.assert_allclose(rows["observation"][:12].mean(axis=0), 0.0, atol=1e-6)
    after, rows = _policy_gradients.read(learner, known, replace(second, observation=5 * second.observation))
    np.testing.assert_allclose(rows["observation"][:10], _actors.sight(known)(5 * second.observation))
    assert float(after.scale.rows) == 22.0
