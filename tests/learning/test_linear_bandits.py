"""LinUCB and Thompson sampling with linear and logistic rewards, against batch solutions and hand-computed figures."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains.probes.contextual import clicks, described_actions, planes
from bondhu.errors import InvalidInput
from bondhu.learners import carried, pack
from bondhu.learners.bandit.lin_ucb import LinUcb
from bondhu.learners.bandit.linear_thompson import LinearThompson
from bondhu.learners.bandit.logistic_thompson import LogisticThompson
from bondhu.policies.exploring.thompson import Thompson
from bondhu.types import Batch, Spec

LEARNERS = [LinUcb(), LinearThompson(), LogisticThompson(), LogisticThompson(diagonal=True)]
every_learner = pytest.mark.parametrize("learner", LEARNERS, ids=["ucb", "thompson", "logistic", "diagonal"])


def rng(seed=0):
    return np.random.default_rng(seed)


def spec(features, actions, described=None):
    return Spec(Box(-np.inf, np.inf, (features,)), Discrete(actions), described)


def batch_of(observation, action, reward):
    rows = len(action)
    allowed = np.ones((rows, int(np.max(action, initial=0)) + 1), bool)
    return Batch.single(np.asarray(observation, float), allowed, np.asarray(action), np.ones(rows), np.asarray(reward))


def rows_of(count, features=3, actions=2, seed=0):
    """Contexts in odd units, actions, and rewards in [0, 1]."""
    source = rng(seed)
    observation = source.normal(size=(count, features)) * 10.0 ** np.arange(features) + 7.0
    action = source.integers(0, actions, count)
    odds = (observation[:, 0] - 7.0) * (1 - 2 * action) + source.normal(size=count)
    return observation, action, 1 / (1 + np.exp(-odds))


def learn(learner, batch, features=3, actions=2, state=None):
    state = learner.init(spec(features, actions), rng()) if state is None else state
    return learner.update(state, batch, rng())[0]


def live(learner, probe, rounds, sessions, seed=0):
    source = rng(seed)
    state = learner.init(probe.spec, source)
    for _ in range(rounds):
        state, _ = learner.update(state, probe.play(learner.policy(state, explore=True), sessions, source), source)
    return (probe.best - probe.worth(learner.policy(state))) / (probe.best - probe.worth(probe.uniform))


@every_learner
def test_rows_one_by_one_teach_what_they_teach_together(learner):
    data = rows_of(70)
    together = learn(learner, batch_of(*data))
    state = learner.init(spec(3, 2), rng())
    for t in range(70):
        state = learn(learner, batch_of(*(each[t : t + 1] for each in data)), state=state)
    for name, array in pack(together).items():
        np.testing.assert_allclose(pack(state)[name], array, rtol=1e-9, atol=1e-9, err_msg=name)


@every_learner
def test_units_of_features_do_not_matter(learner):
    observation, action, reward = rows_of(100)
    unit = np.array([1e-3, 60.0, 1e4])
    origin = np.zeros(3) if isinstance(learner, LogisticThompson) else np.array([0, 5.0, -2e4])
    seen, moved = observation[:20], observation[:20] * unit + origin
    ours = learn(learner, batch_of(observation, action, reward))
    theirs = learn(learner, batch_of(observation * unit + origin, action, reward))
    for one, other in zip(learner.beliefs(ours)(seen)[:3], learner.beliefs(theirs)(moved)[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("learner", LEARNERS[:2], ids=["ucb", "thompson"])
def test_units_of_rewards_do_not_matter(learner):
    observation, action, reward = rows_of(100)
    ours = learner.beliefs(learn(learner, batch_of(observation, action, reward)))(observation)
    theirs = learner.beliefs(learn(learner, batch_of(observation, action, 1000 - 50 * reward)))(observation)
    np.testing.assert_allclose(theirs.value, 1000 - 50 * ours.value, rtol=1e-9)
    np.testing.assert_allclose(theirs.error, 50 * ours.error, rtol=1e-7)


@pytest.mark.parametrize("learner", LEARNERS[:2], ids=["ucb", "thompson"])
def test_what_is_believed_is_the_ridge_regression_on_standard_columns_of_all_rows(learner):
    observation, action, reward = rows_of(64)  # a power of two: the frame is that of all of them
    belief = learner.beliefs(learn(learner, batch_of(observation, action, reward)))(observation[:5])
    z = np.column_stack([np.ones(64), (observation - observation.mean(0)) / observation.std(0)])
    r, left = (reward - reward.mean()) / reward.std(), 0.0
    models = []
    for a in range(2):
        mine = action == a
        inverse = np.linalg.inv(z[mine].T @ z[mine] + np.eye(4))
        theta = inverse @ z[mine].T @ r[mine]
        left += ((r[mine] - z[mine] @ theta) ** 2).sum() + theta @ theta
        models.append((inverse, theta))
    for a, (inverse, theta) in enumerate(models):
        assert belief.value[:, a] == pytest.approx(reward.mean() + reward.std() * z[:5] @ theta)
        deviation = reward.std() * math.sqrt(left / 64)
        assert belief.error[:, a] == pytest.approx(deviation * np.sqrt(np.einsum("ti,ij,tj->t", z[:5], inverse, z[:5])))
        assert belief.tries[:, a] == pytest.approx((action == a).sum())


def test_lin_ucb_takes_the_largest_value_plus_error_and_greedily_the_largest_value():
    observation, action, reward = rows_of(50)
    learner = LinUcb()
    state = learn(learner, batch_of(observation, action, reward))
    belief, allowed = learner.beliefs(state)(observation), np.ones((50, 2), bool)
    explored = learner.policy(state, explore=True).distribution(observation, allowed)
    assert explored.argmax(1).tolist() == (belief.value + belief.error).argmax(1).tolist()
    greedy = learner.policy(state).distribution(observation, allowed)
    assert greedy.argmax(1).tolist() == belief.value.argmax(1).tolist()


def test_linear_thompson_takes_an_action_as_often_as_it_may_be_the_best():
    observation, action, reward = rows_of(30)
    learner = LinearThompson(noise=2.0, exploration=Thompson(0.5))
    state = learn(learner, batch_of(observation, action, reward))
    belief = learner.beliefs(state)(observation)
    gap, width = belief.value[:, 0] - belief.value[:, 1], 0.5 * np.sqrt((belief.error**2).sum(1))
    expected = [NormalDist().cdf(each) for each in gap / width]
    found = learner.policy(state, explore=True).distribution(observation, np.ones((30, 2), bool))
    assert found[:, 0] == pytest.approx(expected, abs=1e-8)


def test_the_noise_that_linear_thompson_finds_is_that_of_the_rewards():
    source = rng()
    observation, action = source.normal(size=(4000, 2)), source.integers(0, 2, 4000)
    reward = 300 + observation[:, 0] * (1 + action) + 0.3 * source.normal(size=4000)
    data = batch_of(observation, action, reward)
    beliefs = [each.beliefs(learn(each, data, 2)) for each in (LinearThompson(), LinearThompson(noise=0.3))]
    estimated, given_ = (each(observation[:10]).error for each in beliefs)
    np.testing.assert_allclose(estimated, given_, rtol=0.04)


def test_an_action_never_tried_is_worth_the_mean_of_all_rewards_and_hardly_known():
    observation, _, reward = rows_of(200)
    learner = LinUcb()
    state = learn(learner, batch_of(observation, np.zeros(200, int), 500 + reward))
    belief = learner.beliefs(state)(observation[:1])
    assert belief.value[0, 1] == pytest.approx(500 + reward[:128].mean())  # the frame is that of the first 128 rows
    assert belief.error[0, 1] > 5 * belief.error[0, 0]
    assert belief.tries[0].tolist() == pytest.approx([200, 0])


def test_equal_rewards_and_constant_or_repeated_features_leave_finite_beliefs():
    observation = np.column_stack([np.full(40, 3.0), np.zeros(40), *[np.arange(40.0)] * 2])
    for learner in LEARNERS:
        state = learn(learner, batch_of(observation, np.arange(40) % 2, np.ones(40)), 4)
        for array in pack(state).values():
            assert np.isfinite(array).all()
        new = learner.beliefs(state)(np.array([[4.0, 1.0, 5.0, 9.0]]))
        assert np.isfinite(new.value).all()
        assert (new.error > 0).all()


def test_a_million_updates_end_where_one_batch_solution_does():
    count, source = 2**20, rng()
    observation = source.normal(size=(count, 4)) * [1e-3, 1, 1e3, 1] + [0, 50, 0, 1]
    observation[:, 3] = observation[:, 1] * (1 + 1e-4 * observation[:, 3])  # nearly the same
    reward = observation @ [300.0, 0.2, 1e-3, 0.1] + source.normal(size=count)
    learner = LinearThompson()
    state = learn(learner, batch_of(observation, np.zeros(count, int), reward), 4, 1)
    z = np.column_stack([np.ones(count), (observation - state.frame[0, :-1]) / state.frame[1, :-1]])
    r = (reward - state.frame[0, -1]) / state.frame[1, -1]
    inverse = np.linalg.inv(z.T @ z + np.eye(5))
    np.testing.assert_allclose(state.posterior[0, :-1, :-1], inverse, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(state.posterior[0, -1, :-1], inverse @ (z.T @ r), rtol=1e-6, atol=1e-9)
    assert (state.posterior == state.posterior.swapaxes(1, 2)).all()


@pytest.mark.parametrize("learner", [replace(each, forgetting=0.98) for each in LEARNERS])
def test_a_learner_that_forgets_follows_a_world_that_turned_over(learner):
    observation, action, reward = rows_of(3000)
    reward = np.where(np.arange(3000) < 2000, reward, 1 - reward)
    seen, allowed = observation[:200], np.ones((200, 2), bool)
    right = (seen[:, 0] > 7.0).astype(int)  # in the new world

    def share_right(each):
        policy = each.policy(learn(each, batch_of(observation, action, reward)))
        return policy.probability(seen, allowed, right).mean()

    assert share_right(learner) > 0.85
    assert share_right(replace(learner, forgetting=1.0)) < 0.4


@pytest.mark.parametrize("learner", [replace(each, forgetting=0.9) for each in LEARNERS])
def test_forgetting_while_nothing_new_is_seen_neither_blows_up_nor_goes_below_the_prior(learner):
    observation = np.tile(rows_of(2)[0], (1500, 1))
    state = learn(learner, batch_of(observation, np.zeros(3000, int), np.tile([0.2, 0.8], 1500)))
    belief = learner.beliefs(state)(observation[:1])
    assert belief.tries[0] == pytest.approx([10, 0], abs=3)  # 1 / (1 - 0.9)
    far = learner.beliefs(state)(observation[:1] + 1e6)
    assert np.isfinite(far.error).all()
    np.testing.assert_array_less(np.linalg.eigvalsh(state.posterior[:, :-1, :-1]) if not flat(state) else 0, 1 + 1e-9)


def flat(state):
    return state.posterior.shape[1] != state.posterior.shape[2]


def test_what_was_forgotten_of_an_action_that_is_not_taken_any_more_leaves_the_prior():
    observation, action, reward = rows_of(400)
    action[100:] = 0
    learner = LinUcb(forgetting=0.9)
    state = learn(learner, batch_of(observation, action, reward))
    np.testing.assert_allclose(state.posterior[1, :-1, :-1], np.eye(4), atol=1e-9)
    assert state.evidence[1, 0, 0] < 1e-9


def test_a_shared_model_needs_fewer_rows_where_features_of_actions_tell_their_worth():
    probe = described_actions()
    single, shared = (
        np.mean([live(LinUcb(shared=each), probe, 10, 10, s) for s in range(3)]) for each in (False, True)
    )
    assert shared < 0.05
    assert shared < single / 4


def test_a_shared_model_knows_an_action_that_comes_later_and_units_of_its_features_do_not_matter():
    probe, learner = described_actions(), LinUcb(shared=True)
    described = probe.action_features * [1e3, 1.0, 1e-3]
    first, both = (replace(probe.spec, action=Discrete(n), action_features=described[:n]) for n in (11, 12))
    source = rng()
    context = source.integers(0, 64, 3000)
    action = source.integers(0, 11, 3000)
    data = batch_of(probe.observation[context], action, probe.mean[context, action])
    learned, _ = learner.update(learner.init(first, rng()), data, rng())
    moved = carried(learner.init(both, rng()), learned, np.append(np.arange(11), -1))
    belief = learner.beliefs(moved)(probe.observation)
    assert np.corrcoef(belief.value[:, 11], probe.mean[:, 11])[0, 1] > 0.95
    values = learner.policy(moved).values(probe.observation)
    np.testing.assert_allclose(values, belief.value, rtol=1e-9, atol=1e-9)
    after, _ = learner.update(moved, batch_of(probe.observation, np.full(64, 11), probe.mean[:, 11]), rng())
    error = np.abs(learner.beliefs(after)(probe.observation).value[:, 11] - probe.mean[:, 11])
    assert error.mean() < 0.05


def test_a_shared_model_without_features_of_actions_is_refused():
    with pytest.raises(InvalidInput, match="Give features of the actions") as raised:
        LinUcb(shared=True).init(spec(3, 2), rng())
    assert raised.value.field == "action_features"
    with pytest.raises(InvalidInput, match=r"need the shape \[2, G\]"):
        LinUcb(shared=True).init(spec(3, 2, np.ones((3, 2))), rng())


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_logistic_thompson_finds_the_coefficients_of_its_world(seed):
    source = rng(seed)
    observation = source.normal(size=(6000, 2)) * [2.0, 0.1]
    chance = 1 / (1 + np.exp(-(0.5 * observation[:, 0] - 8.0 * observation[:, 1] - 1.0)))
    learner = LogisticThompson()
    state = learn(learner, batch_of(observation, np.zeros(6000, int), source.random(6000) < chance), 2, 1)
    belief = learner.beliefs(state)(observation)
    assert np.abs(belief.value[:, 0] - chance).mean() < 0.02
    assert belief.error.max() < 0.1
    assert belief.tries[0, 0] == 6000


def test_logistic_thompson_acts_on_log_odds_as_often_as_an_action_may_be_the_best():
    observation, action, reward = rows_of(40)
    learner = LogisticThompson()
    state = learn(learner, batch_of(observation, action, reward))
    policy = learner.policy(state, explore=True)
    odds, chance = policy.beliefs(observation), learner.beliefs(state)(observation)
    best = odds.value.argmax(1)
    gap = np.abs(odds.value[:, 0] - odds.value[:, 1]) / np.sqrt((odds.error**2).sum(1))
    found = policy.probability(observation, np.ones((40, 2), bool), best)
    assert found == pytest.approx([NormalDist().cdf(each) for each in gap], abs=1e-8)
    assert ((chance.value > 0) & (chance.value < 1)).all()
    assert chance.value == pytest.approx(1 / (1 + np.exp(-odds.value / np.sqrt(1 + math.pi * odds.error**2 / 8))))


def test_before_any_click_a_new_action_is_worth_what_all_are():
    learner = LogisticThompson()
    observation = rows_of(128)[0]
    state = learn(learner, batch_of(observation, np.zeros(128, int), np.arange(128) < 4))
    value = learner.beliefs(state)(observation.mean(0)[None]).value[0, 1]
    assert value == pytest.approx(4.5 / 129, abs=0.03)


def test_the_diagonal_model_keeps_two_numbers_a_coefficient_and_still_learns():
    learner = LogisticThompson(diagonal=True)
    state = learner.init(clicks().spec, rng())
    assert state.evidence.shape == state.posterior.shape == (3, 2, 6)
    assert live(learner, clicks(), 30, 100) < 0.1


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_logistic_thompson_refuses_rewards_that_are_no_chances(wrong):
    data = rows_of(5)
    data[2][2] = wrong
    with pytest.raises(InvalidInput, match="Row 2 needs a chance or success"):
        learn(LogisticThompson(), batch_of(*data))


@every_learner
def test_features_that_are_no_numbers_or_of_another_width_are_refused_before_anything_is_learned(learner):
    state = learn(learner, batch_of(*rows_of(10)))
    before = pack(state)
    for wrong in (np.nan, np.inf, 1e200):
        data = rows_of(5)
        data[0][3, 1] = wrong
        with pytest.raises(InvalidInput, match="Row 3 needs numbers") as raised:
            learner.update(state, batch_of(*data), rng())
        assert raised.value.field == "observation"
    for observation in (np.zeros((5, 2)), np.zeros((5, 4)), np.zeros(5)):
        with pytest.raises(InvalidInput, match=r"needs the shape \[T, 3\]"):
            learner.beliefs(state)(observation)
        with pytest.raises(InvalidInput, match=r"needs the shape \[T, 3\]"):
            learner.policy(state).distribution(observation, np.ones((5, 2), bool))
    for name, array in pack(state).items():
        np.testing.assert_array_equal(array, before[name])


@every_learner
def test_spaces_that_linear_models_cannot_take_are_refused(learner):
    box = Box(-1.0, 1.0, (3,))
    for space in (MultiDiscrete([3, 2]), Box(-1.0, 1.0, (2, 3)), Dict({"a": box})):
        with pytest.raises(InvalidInput, match="needs features"):
            learner.init(Spec(space, Discrete(2)), rng())
    with pytest.raises(InvalidInput, match="Discrete action space"):
        learner.init(Spec(box, MultiDiscrete([2, 2])), rng())


@pytest.mark.parametrize(("key", "value"), [("ridge", 0.0), ("forgetting", 0.0), ("forgetting", 1.1)])
def test_hyper_parameters_out_of_range_are_refused(key, value):
    for kind in (LinUcb, LinearThompson, LogisticThompson):
        with pytest.raises(InvalidInput) as raised:
            kind(**{key: value})
        assert raised.value.field == key


@every_learner
def test_a_stored_state_stays_as_it_is(learner):
    state = learn(learner, batch_of(*rows_of(20)))
    stored = type(state)(**pack(state))
    before = pack(stored)
    learner.update(stored, batch_of(*rows_of(20, seed=1)), rng())
    for name, array in pack(stored).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_any_kind_of_number_will_do(kind):
    observation, action, reward = rows_of(40)
    observation = (10 * observation).astype(kind)
    data = batch_of(observation, action, reward)
    for learner in LEARNERS[:2]:
        ours = learn(learner, replace(data, observation=observation))
        np.testing.assert_allclose(ours.posterior, learn(learner, data).posterior, rtol=1e-9, atol=1e-12)


def test_planes_are_learned_from_few_rows():
    for learner in LEARNERS[:2]:
        assert live(learner, planes(), 30, 10) < 0.02
