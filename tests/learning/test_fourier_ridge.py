"""The default contextual learner: blind to units, curved where the world is, and as good as new after being stored."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains.probes.contextual import crossing, planes
from bondhu.errors import InvalidInput
from bondhu.learners import carried, pack, unpack
from bondhu.learners.bandit.fourier_ridge import FourierRidge, learn
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch, Spec


def rng(seed=0):
    return np.random.default_rng(seed)


def learned(learner, spec, batch):
    return learner.update(learner.init(spec, rng()), batch, rng())[0]


def log(count=300, features=3, actions=3, seed=1):
    source = rng(seed)
    observation = source.standard_normal((count, features))
    action = source.integers(0, actions, count)
    reward = np.sin(2 * observation[:, 0] + action) + 0.1 * source.standard_normal(count)
    return Batch.single(observation, np.ones((count, actions), bool), action, np.full(count, 1 / actions), reward)


SPEC = Spec(Box(-np.inf, np.inf, (3,)), Discrete(3))
HERE, ALLOWED = rng(2).standard_normal((20, 3)), np.ones((20, 3), bool)


@pytest.mark.parametrize(("shift", "scale"), [(100.0, 1.0), (0.0, 1e6), (-3.0, 1e-3)])
def test_probabilities_do_not_depend_on_the_units_of_rewards(shift, scale):
    batch, learner = log(), FourierRidge()
    plain = learner.policy(learned(learner, SPEC, batch), explore=True).distribution(HERE, ALLOWED)
    moved = replace(batch, reward=shift + scale * batch.reward)
    again = learner.policy(learned(learner, SPEC, moved), explore=True).distribution(HERE, ALLOWED)
    np.testing.assert_allclose(again, plain, rtol=1e-5)


def test_probabilities_do_not_depend_on_the_units_of_features():
    batch, learner, units = log(), FourierRidge(), np.array([1e-6, 1.0, 1e6])
    plain = learner.policy(learned(learner, SPEC, batch), explore=True).distribution(HERE, ALLOWED)
    other = replace(batch, observation=5.0 + units * batch.observation)
    again = learner.policy(learned(learner, SPEC, other), explore=True).distribution(5.0 + units * HERE, ALLOWED)
    np.testing.assert_allclose(again, plain, rtol=1e-4)


def test_curves_are_followed_where_straight_lines_cannot():
    probe = crossing()
    batch = probe.play(Uniform(), 600, rng())
    curved, straight = (learned(each, probe.spec, batch) for each in (FourierRidge(), FourierRidge(fourier=0)))
    assert probe.worth(FourierRidge().policy(curved)) >= probe.best - 0.02
    assert probe.worth(FourierRidge(fourier=0).policy(straight)) <= probe.worth(Uniform()) + 0.25


def test_the_greedy_values_are_those_of_the_belief():
    learner = FourierRidge()
    state = learned(learner, SPEC, log())
    np.testing.assert_allclose(learner.policy(state).values(HERE), learner.beliefs(state)(HERE).value, atol=1e-10)


def test_the_error_shrinks_with_evidence_and_tells_how_far_off_values_are():
    probe, learner = planes(), FourierRidge()
    few, many = (learned(learner, probe.spec, probe.play(Uniform(), count, rng())) for count in (60, 3_000))
    before, after = (learner.beliefs(state)(probe.observation) for state in (few, many))
    assert after.error.mean() < 0.5 * before.error.mean()
    off = (after.value - probe.mean) / after.error
    assert (np.abs(off) < 1.96).mean() > 0.85
    assert after.tries[0].sum() == 3_000


def test_what_was_seen_in_the_wrong_scale_is_learned_again_in_the_right_one():
    batch = log(64)
    learner = FourierRidge()
    replayed, kept = learned(learner, SPEC, batch), learned(FourierRidge(remembered=0), SPEC, batch)
    assert replayed.first_action.tolist() == batch.action.tolist()
    assert kept.first_action.size == 0
    moments, rewards = replayed.moments, replayed.rewards
    fresh = learner.init(SPEC, rng())
    fresh.moments[:], fresh.rewards[:] = moments, rewards
    at_once = np.linalg.norm(replayed.coefficients - kept.coefficients)
    assert at_once > 0.05  # the first rows told something else with the scales of hardly any rows


def test_one_row_at_a_time_is_all_rows_at_once():
    batch, learner = log(100), FourierRidge()
    whole, state = learned(learner, SPEC, batch), learner.init(SPEC, rng())
    for row in range(100):
        state, _ = learner.update(state, batch.take(np.array([row])), rng())
    for key, array in pack(whole).items():
        np.testing.assert_array_equal(array, pack(state)[key])


def test_the_compiled_loop_is_its_own_plain_python():
    batch, learner = log(40), FourierRidge(fourier=8)
    state = learned(learner, SPEC, batch)
    plain = learner.init(SPEC, rng())
    models = plain.covariance, plain.coefficients, plain.tries, plain.moments, plain.rewards, plain.rounds
    first = plain.first_observation, plain.first_action, plain.first_reward
    learn((batch.observation, batch.action, batch.reward), models, first, learner._lens(plain))
    for key, array in pack(state).items():
        np.testing.assert_allclose(array, pack(plain)[key], atol=1e-9)


def test_a_stored_state_stays_as_it_is_when_learning_goes_on():
    learner = FourierRidge()
    stored = pack(learned(learner, SPEC, log()))
    kept = {key: array.copy() for key, array in stored.items()}
    learner.update(unpack(learner, stored), log(seed=9), rng())
    for key, array in stored.items():
        np.testing.assert_array_equal(array, kept[key])


def test_remembered_rows_follow_their_actions_to_new_places():
    learner = FourierRidge()
    state = learned(learner, SPEC, log(10))
    moved = carried(learner.init(replace(SPEC, action=Discrete(2)), rng()), state, np.array([2, -1]))
    expected = [{2: 0}.get(action, -1) for action in state.first_action[:10].tolist()]
    assert moved.first_action[:10].tolist() == expected
    later, _ = learner.update(moved, log(60, actions=2), rng())  # the first rows are learned again without the others
    assert np.isfinite(later.coefficients).all()


def test_the_state_has_the_size_that_the_documentation_says():
    state = FourierRidge().init(Spec(Box(-np.inf, np.inf, (32,)), Discrete(10)), rng())
    size = sum(array.nbytes for array in pack(state).values())
    assert pytest.approx(size, rel=0.15) == 4 * 10 * (2 + 32 + 64) ** 2
    wide = FourierRidge().init(Spec(Box(-np.inf, np.inf, (5_000,)), Discrete(10)), rng())
    assert wide.coefficients.shape == (10, 1 + 128 + 64)


@pytest.mark.parametrize(
    ("spec", "field"),
    [(Spec(MultiDiscrete([3]), Discrete(2)), "observation"), (Spec(Box(0, 1, (3,)), Box(0, 1)), "action")],
)
def test_spaces_that_do_not_fit_are_refused(spec, field):
    with pytest.raises(InvalidInput) as raised:
        FourierRidge().init(spec, rng())
    assert raised.value.field == field


def test_a_feature_that_is_no_number_is_refused_with_its_row():
    batch = log(10)
    batch.observation[4, 1] = np.inf
    with pytest.raises(InvalidInput, match="Row 4"):
        learned(FourierRidge(), SPEC, batch)


def test_learning_goes_on_from_a_stored_state_whose_actions_changed_places():
    learner = FourierRidge()
    stored = pack(learned(learner, SPEC, log()))
    kept = {name: array.copy() for name, array in stored.items()}
    moved = carried(learner.init(SPEC, rng()), unpack(learner, stored), np.array([2, 0, 1]))
    after, metrics = learner.update(moved, log(count=10), rng())
    assert metrics["rounds"] == 310.0
    assert after.tries.tolist() == (kept["tries"][[2, 0, 1]] + np.bincount(log(count=10).action)).tolist()
    for name, array in stored.items():
        np.testing.assert_array_equal(array, kept[name])
