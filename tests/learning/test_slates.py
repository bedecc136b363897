"""Slates against ridge regression in closed form, and what their logs are good for."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains import probes
from bondhu.equations.slates import pseudo_inverse_weights
from bondhu.errors import InvalidInput
from bondhu.learners import pack
from bondhu.learners.bandit.slates import WIDEST, Slates
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.policies.by_value import ByValue
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.policies.ranking import Ranking
from bondhu.policies.slots import Slots, side_by_side
from bondhu.policies.uniform import Uniform
from bondhu.types import Spec

PAGE = probes.find("page")
STARTS = np.array([part.start for part in side_by_side(PAGE.sizes)])


def logged(rows, seed=0, probe=PAGE):
    return probe.play(probe.uniform, rows, np.random.default_rng(seed))


def learned(batch, learner=None, spec=PAGE.spec):
    learner, rng = learner or Slates(), np.random.default_rng(0)
    return learner.update(learner.init(spec, rng), batch, rng)[0]


def closed_form(batch, ridge):
    """The regression as one reads it: columns, centre, scale, and the normal equations."""
    centre, spread = batch.observation.mean(axis=0), batch.observation.std(axis=0)
    constant = spread == 0
    spread = np.where(constant, np.abs(centre), spread)
    standard = np.column_stack([np.ones(len(batch)), (batch.observation - centre) / spread])
    reward, size = (batch.reward - batch.reward.mean()) / batch.reward.std(), standard.shape[1]
    columns = np.zeros((len(batch), 13 * size))
    for row, action in enumerate(batch.action + STARTS):
        columns[row, :size] = standard[row]
        for place in action:
            columns[row, (1 + place) * size : (2 + place) * size] = standard[row]
    covariance = np.linalg.inv(columns.T @ columns + ridge * np.eye(13 * size))
    coefficients = covariance @ columns.T @ reward
    left = ((reward - columns @ coefficients) ** 2).sum() + ridge * coefficients @ coefficients
    return standard, coefficients, covariance * left / len(batch) * batch.reward.var()


def test_expected_rewards_and_errors_are_those_of_the_normal_equations():
    batch, learner = logged(200), Slates(ridge=0.7)
    standard, coefficients, covariance = closed_form(batch, 0.7)
    belief = learner.beliefs(learned(batch, learner))(batch.observation)
    size = standard.shape[1]
    for row in (0, 7, 50):
        places = batch.action[row] + STARTS
        expected = standard[row] @ (coefficients[:size] + coefficients.reshape(13, size)[1 + places].sum(axis=0))
        assert belief.value[row, places].sum() == pytest.approx(expected * batch.reward.std() + batch.reward.mean())
        for part in side_by_side(PAGE.sizes):
            for place in range(part.start, part.stop):
                contrast = np.zeros((13, size))
                contrast[1 + part.start : 1 + part.stop] -= standard[row] / (part.stop - part.start)
                contrast[1 + place] += standard[row]
                error = np.sqrt(contrast.ravel() @ covariance @ contrast.ravel())
                assert belief.error[row, place] == pytest.approx(error, rel=1e-6)


def test_tries_count_the_slates_that_held_an_action():
    batch = logged(100)
    tries = Slates().beliefs(learned(batch))(batch.observation[:2]).tries
    places, counts = np.unique(batch.action + STARTS, return_counts=True)
    assert tries[1, places].tolist() == counts.tolist()
    assert tries[0].sum() == pytest.approx(300)


def test_errors_shrink_as_one_over_the_root_of_the_slates():
    few, many = (Slates().beliefs(learned(logged(n)))(PAGE.observation).error.mean() for n in (5_000, 20_000))
    assert few / many == pytest.approx(2.0, rel=0.1)


def test_contributions_are_learned_up_to_what_slots_have_in_common():
    value = Slates().beliefs(learned(logged(20_000)))(PAGE.observation).value
    for part in side_by_side(PAGE.sizes):
        ours, truth = (each[:, part] - each[:, part].mean(axis=1, keepdims=True) for each in (value, PAGE.mean))
        np.testing.assert_allclose(ours, truth, atol=0.05)


def test_units_of_features_and_rewards_do_not_matter():
    batch, units = logged(300), np.array([1e-3, 1e3, 30.0, 1.0])
    other = replace(batch, observation=batch.observation * units + [5.0, 0.0, -2.0, 0.0], reward=100 * batch.reward + 7)
    ours = Slates().beliefs(learned(batch))(batch.observation)
    theirs = Slates().beliefs(learned(other))(other.observation)
    np.testing.assert_allclose(theirs.value, 100 * ours.value + 7 / 3, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(theirs.error, 100 * ours.error, rtol=1e-6)


def test_two_batches_teach_what_one_does_and_a_stored_version_stays():
    learner, batch = Slates(), logged(300)
    first = np.arange(len(batch)) < 100
    stored = learned(batch.take(first))
    before = {name: array.copy() for name, array in pack(stored).items()}
    frozen = replace(stored, evidence=pack(stored)["evidence"])
    after, _ = learner.update(frozen, batch.take(~first), np.random.default_rng(0))
    for name, array in pack(frozen).items():
        np.testing.assert_array_equal(array, before[name])
    whole, _ = learner.update(
        replace(stored, rounds=100, evidence=0 * stored.evidence), batch, np.random.default_rng(0)
    )
    np.testing.assert_allclose(after.evidence, whole.evidence, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("explore", [False, True])
def test_slots_explore_by_themselves_and_the_memo_says_how_likely_each_was(explore):
    learner = Slates(exploration=EpsilonGreedy(0.3))
    policy = learner.policy(learned(logged(500)), explore=explore)
    each = policy.distribution(PAGE.observation, PAGE.allowed)
    for part in side_by_side(PAGE.sizes):
        assert each[:, part].sum(axis=1) == pytest.approx(1.0)
        if explore:
            count = PAGE.allowed[:, part].sum(axis=1)
            assert each[:, part].max(axis=1) == pytest.approx(0.7 + 0.3 / count)
    assert not each[~PAGE.allowed].any()
    choice = policy.sample(PAGE.observation, PAGE.allowed, np.random.default_rng(0))
    np.testing.assert_array_equal(choice.memo, np.take_along_axis(each, choice.action + STARTS, axis=1))
    np.testing.assert_array_equal(choice.probability, choice.memo.prod(axis=1))


def test_its_own_log_tells_the_worth_of_another_policy():
    """The pseudo-inverse estimate from the memo of what was played, against the known worth."""
    learner = Slates(exploration=EpsilonGreedy(0.5))
    state = learned(logged(300))
    batch = PAGE.play(learner.policy(state, explore=True), 20_000, np.random.default_rng(1))
    for target in (learner.policy(state), PAGE.uniform):
        marginal = target.marginals(batch.observation, batch.allowed, batch.action)
        terms = pseudo_inverse_weights(marginal, batch.memo) * batch.reward
        assert terms.mean() == pytest.approx(PAGE.worth(target), abs=4 * terms.std() / np.sqrt(len(batch)))


def test_300_random_slates_suffice_on_the_page():
    """One of 60 combinations, by a regression that shares what is learned of each slot."""
    worth = np.mean([PAGE.worth(Slates().policy(learned(logged(300, seed)))) for seed in range(5)])
    assert worth > PAGE.best - 0.02 * (PAGE.best - PAGE.worth(PAGE.uniform))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (Spec(MultiDiscrete([3]), MultiDiscrete([2, 2])), "observation"),
        (Spec(Box(-1, 1, (3, 2)), MultiDiscrete([2, 2])), "observation"),
        (Spec(Box(-1, 1, (3,)), Discrete(4)), "action"),
        (Spec(Box(-1, 1, (3,)), MultiDiscrete([[2, 2], [2, 2]])), "action"),
        (Spec(Box(-1, 1, (1000,)), MultiDiscrete([20, 20])), "observation"),
    ],
)
def test_spaces_that_are_not_slots_are_refused(spec, field):
    with pytest.raises(InvalidInput) as raised:
        Slates().init(spec, np.random.default_rng(0))
    assert raised.value.field == field


def test_the_refusal_of_too_wide_a_problem_says_how_wide():
    with pytest.raises(InvalidInput, match=f"1000 features of 40 actions make 41041 columns; {WIDEST} are possible"):
        Slates().init(Spec(Box(-1, 1, (1000,)), MultiDiscrete([20, 20])), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: {"action": b.action[:, :2]}, r"It needs the shape \[T, 3\]: one for each slot"),
        (lambda b: {"action": np.add(b.action, [0, 3, 0])}, "Row 0: slot 1 has the actions 0 to 2"),
        (lambda b: {"action": b.action * 0 - 1}, "Row 0: slot 0 has the actions 0 to 3"),
        (lambda b: {"reward": np.where(np.arange(10) == 4, np.inf, b.reward)}, "Row 4 needs a number"),
        (lambda b: {"observation": b.observation * np.nan}, "Row 0 needs numbers"),
        (lambda b: {"observation": b.observation[:, :2]}, r"It needs the shape \[T, 4\]"),
    ],
)
def test_a_batch_that_would_spoil_the_model_is_refused_and_changes_nothing(change, message):
    learner, batch = Slates(), logged(10)
    state = learned(batch)
    before = pack(state)
    with pytest.raises(InvalidInput, match=message):
        learner.update(state, replace(batch, **change(batch)), np.random.default_rng(0))
    for name, array in pack(state).items():
        np.testing.assert_array_equal(array, before[name])


def test_any_learner_learns_to_rank_from_the_rewards_of_slots():
    """A semi-bandit: five documents, three slots, and a table that never heard of slates."""
    worth, rng = np.array([[0.1, 0.9, 0.3, 0.7, 0.2], [0.8, 0.1, 0.6, 0.2, 0.9]]), np.random.default_rng(0)
    learner = QLearning(step_power=1.0, learning_rate=1.0, exploration=EpsilonGreedy(0.3))
    state = learner.init(Spec(MultiDiscrete([2]), Discrete(5)), rng)
    for _ in range(10):
        ranking = Ranking(learner.policy(state, explore=True), 3)
        observation, allowed = rng.integers(2, size=(60, 1)), np.ones((60, 5), bool)
        choice = ranking.sample(observation, allowed, rng)
        reward = (rng.random((60, 3)) < worth[observation, choice.action]).astype(float)
        batch = ranking.slots_as_rows(observation, allowed, choice.action, choice.memo, reward)
        state, _ = learner.update(state, batch, rng)
    best = Ranking(learner.policy(state), 3)
    slates = best.sample(np.array([[0], [1]]), np.ones((2, 5), bool), rng).action
    assert slates.tolist() == [[1, 3, 2], [4, 0, 2]]


def test_ranking_by_known_worth_is_the_best_of_all_slates():
    worth = np.array([[0.1, 0.9, 0.3, 0.7, 0.2]])
    ranked = Ranking(ByValue(lambda _: worth, greedy), 3).sample(
        np.zeros((1, 1), int), worth > 0, np.random.default_rng(0)
    )
    best = max(permutations(range(5), 3), key=lambda slate: worth[0, list(slate)] @ [1.0, 0.5, 0.25])
    assert tuple(ranked.action[0]) == best


def test_slots_of_one_action_each_leave_nothing_to_choose():
    learner, rng = Slates(), np.random.default_rng(0)
    state = learner.init(Spec(Box(-1, 1, (2,)), MultiDiscrete([1, 1])), rng)
    policy = learner.policy(state, explore=True)
    assert policy.distribution(np.zeros((1, 2)), np.ones((1, 2), bool)).tolist() == [[1.0, 1.0]]
    assert isinstance(policy, Slots)
    assert learner.beliefs(state)(np.ones((1, 2))).error == pytest.approx(0.0)
    assert Slots((Uniform(),), (1,)).probability(np.zeros((1, 2)), np.ones((1, 1), bool), np.array([[0]])) == [1.0]
