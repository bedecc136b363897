"""The best action with a bound on the error: how often it is wrong, and how many tries it takes."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiDiscrete

from bondhu.equations.bernoulli import divergence
from bondhu.equations.best_arm import allocation
from bondhu.errors import InvalidInput
from bondhu.learners import build, carried
from bondhu.learners.bandit.best_arm import in_proportion
from bondhu.types import Batch, Spec

STEP = 10  # decisions of a run between two looks


def looked(learner, means, runs, seed, uniform=False, most=300):
    """Runs side by side, each a segment, until all have settled: the state, and the tries of each run."""
    rng, tries = np.random.default_rng(seed), np.zeros(runs)
    state = learner.init(Spec(MultiDiscrete([runs]), Discrete(len(means))), rng)
    for _ in range(most):
        going = np.flatnonzero(learner.settled(state).best < 0)
        if not len(going):
            break
        state, _ = learner.update(state, played(learner, state, means, np.repeat(going, STEP), rng, uniform), rng)
        tries[going] += STEP
    return state, tries


def played(learner, state, means, rows, rng, uniform=False):
    allowed = np.ones((len(rows), len(means)), bool)
    choice = learner.policy(state, explore=True).sample(rows[:, None], allowed, rng)
    action = rng.integers(len(means), size=len(rows)) if uniform else choice.action
    probability = np.full(len(rows), 1 / len(means)) if uniform else choice.probability
    return Batch.single(rows[:, None], allowed, action, probability, (rng.random(len(rows)) < means[action]) + 0.0)


def test_it_is_wrong_at_most_as_often_as_it_says_and_needs_fewer_tries_than_sharing_evenly():
    means, risk = np.array([0.9, 0.6, 0.5, 0.4]), 0.1
    learner = build("bandit.best_arm", {"risk": risk})
    state, tries = looked(learner, means, 600, seed=1)
    assert (learner.settled(state).best >= 0).all()
    assert (learner.settled(state).best != 0).mean() <= risk
    _, evenly = looked(learner, means, 600, seed=2, uniform=True)
    assert tries.mean() < 0.9 * evenly.mean()
    _, hardness = allocation(means, np.ones(4, bool))
    assert hardness * divergence(risk, 1 - risk) <= tries.mean() <= 8 * hardness * divergence(risk, 1 - risk)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_that_luck_could_mislead_is_still_right(seed):
    means, risk = np.array([0.5, 0.85]), 0.3
    learner = build("bandit.best_arm", {"risk": risk})
    state, _ = looked(learner, means, 500, seed)
    assert (learner.settled(state).best == 0).mean() <= risk


def test_where_equals_lead_it_does_not_settle():
    learner = build("bandit.best_arm", {"risk": 0.1})
    state, _ = looked(learner, np.array([0.5, 0.5, 0.1]), 200, seed=0, most=30)
    assert (learner.settled(state).best >= 0).mean() <= 0.1


def test_once_settled_it_takes_that_action_says_so_and_a_new_action_opens_it_again():
    learner, means = build("bandit.best_arm", {}), np.array([0.1, 0.9, 0.2])
    state, _ = looked(learner, means, 1, seed=0)
    allowed = np.ones((1, 3), bool)
    for explore in (False, True):
        chances = learner.policy(state, explore=explore).distribution(np.zeros((1, 1), int), allowed)
        assert chances.tolist() == [[0.0, 1.0, 0.0]]
    rng = np.random.default_rng(0)
    state, metrics = learner.update(state, played(learner, state, means, np.zeros(20, int), rng), rng)
    assert (metrics["settled"], metrics["risk"], metrics["arm"]) == (1.0, 0.05, 1.0)
    assert learner.settled(state).best.tolist() == [1]
    without = learner.policy(state, explore=True).distribution(np.zeros((1, 1), int), np.array([[True, False, True]]))
    assert without.tolist() == [[0.5, 0.0, 0.5]]
    fresh = learner.init(Spec(MultiDiscrete([1]), Discrete(4)), rng)
    wider = carried(fresh, state, np.array([2, 1, 0, -1]))
    assert learner.settled(wider).best.tolist() == [1]
    four = np.ones((1, 4), bool)
    row = Batch.single(np.zeros((1, 1), int), four, np.array([1]), np.ones(1), np.ones(1))
    opened, metrics = learner.update(wider, row, rng)
    assert (metrics["settled"], metrics["arm"]) == (0.0, -1.0)
    chances = learner.policy(opened, explore=True).distribution(np.zeros((1, 1), int), four)
    assert chances.tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_every_decision_before_that_has_a_probability_that_can_be_judged_from():
    learner, rng = build("bandit.best_arm", {}), np.random.default_rng(0)
    state, means = learner.init(Spec(MultiDiscrete([1]), Discrete(3)), rng), np.array([0.5, 0.45, 0.05])
    for _ in range(40):
        batch = played(learner, state, means, np.zeros(STEP, int), rng)
        state, _ = learner.update(state, batch, rng)
    assert learner.settled(state).best.tolist() == [-1]
    chances = learner.policy(state, explore=True).distribution(np.zeros((1, 1), int), np.ones((1, 3), bool))[0]
    assert chances.min() > 0.01
    assert chances[2] < 0.15  # what is surely worse is hardly tried
    assert chances.sum() == pytest.approx(1.0)


def test_shares_are_in_proportion_over_what_is_allowed():
    shares, allowed = np.array([[0.2, 0.6, 0.2], [0.0, 0.0, 1.0]]), np.array([[True, True, False], [True, True, False]])
    np.testing.assert_allclose(in_proportion(shares, allowed), [[0.25, 0.75, 0.0], [0.5, 0.5, 0.0]])


def test_a_reward_outside_0_to_1_is_refused():
    learner, rng = build("bandit.best_arm", {}), np.random.default_rng(0)
    state = learner.init(Spec(MultiDiscrete([1]), Discrete(2)), rng)
    batch = played(learner, state, np.array([0.5, 0.5]), np.zeros(3, int), rng)
    with pytest.raises(Exception, match="reward from 0 to 1"):
        learner.update(state, replace(batch, reward=np.array([0.0, 2.0, 1.0])), rng)


def test_rewards_of_any_range_settle_as_their_shares_of_it_do():
    """Rewards of -3 and 5 as those of 0 and 1: the same shares, the same end, and beliefs in the rewards' own unit."""
    plain, wide = build("bandit.best_arm", {}), build("bandit.best_arm", {"low": -3.0, "high": 5.0})
    means, rng, spec = np.array([0.2, 0.9, 0.3]), np.random.default_rng(0), Spec(MultiDiscrete([1]), Discrete(3))
    one, two = plain.init(spec, rng), wide.init(spec, rng)
    for _ in range(30):
        batch = played(plain, one, means, np.zeros(STEP, int), rng)
        one, _ = plain.update(one, batch, rng)
        two, metrics = wide.update(two, replace(batch, reward=8.0 * batch.reward - 3.0), rng)
        np.testing.assert_allclose(one.share, two.share)
    assert plain.settled(one).best.tolist() == wide.settled(two).best.tolist() == [1]
    assert metrics["clipped"] == 0.0
    seen, allowed = np.zeros((1, 1), int), np.ones((1, 3), bool)
    np.testing.assert_allclose(wide.beliefs(two)(seen).value, 8.0 * plain.beliefs(one)(seen).value - 3.0)
    assert wide.policy(two).distribution(seen, allowed).tolist() == [[0.0, 1.0, 0.0]]


def test_what_was_not_tried_is_not_taken_for_better_than_what_earns_less_than_nothing():
    learner, rng = build("bandit.best_arm", {"low": -1.0, "high": 0.0}), np.random.default_rng(0)
    state = learner.init(Spec(MultiDiscrete([1]), Discrete(2)), rng)
    batch = Batch.single(np.zeros((4, 1), int), np.ones((4, 2), bool), np.zeros(4, int), np.ones(4), np.full(4, -0.5))
    state, _ = learner.update(state, batch, rng)
    chances = learner.policy(state).distribution(np.zeros((1, 1), int), np.ones((1, 2), bool))
    assert chances.tolist() == [[1.0, 0.0]]


def test_beyond_its_range_it_clips_only_where_it_is_told_to_and_says_how_often():
    rng, spec = np.random.default_rng(0), Spec(MultiDiscrete([1]), Discrete(2))
    rewards, half = np.array([-0.6, 0.0, 9.0, 0.5]), np.full(4, 0.5)
    batch = Batch.single(np.zeros((4, 1), int), np.ones((4, 2), bool), np.array([0, 0, 1, 1]), half, rewards)
    strict = build("bandit.best_arm", {"low": -0.5, "high": 1.0})
    with pytest.raises(Exception, match=r"Row 0 needs a reward from -0.5 to 1: set low and high, or clips = true"):
        strict.update(strict.init(spec, rng), batch, rng)
    clipping = build("bandit.best_arm", {"low": -0.5, "high": 1.0, "clips": True})
    state, metrics = clipping.update(clipping.init(spec, rng), batch, rng)
    assert metrics["clipped"] == 0.5
    assert state.arms.totals.tolist() == [[-0.5, 1.5]]
    with pytest.raises(InvalidInput, match="above low, which is 1"):
        build("bandit.best_arm", {"low": 1.0})
