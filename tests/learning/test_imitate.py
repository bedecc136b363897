"""Apprentices: what they are shown, and that they come to choose what the application would choose."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.equations.intervals import student
from bondhu.errors import InvalidInput
from bondhu.learners import build
from bondhu.policies.by_value import ByValue
from bondhu.train.imitate import agreement, imitation
from bondhu.types import Batch, Spec

ROWS, ACTIONS = 3_000, 3
LINEAR = np.array([[1.0, -0.5, -0.5], [0.0, 0.87, -0.87], [0.3, 0.3, -0.6]])
TABLE = np.random.default_rng(1).integers(0, ACTIONS, (5, 4))


def on_features(seen):
    """A rule on three numbers."""
    return (seen @ LINEAR).argmax(1)


def on_codes(codes):
    """A rule on two codes."""
    return TABLE[codes[:, 0], codes[:, 1]]


def logged(rule, rng, noise=0.0, rows=ROWS):
    """What an application did that follows a rule but with a chance of `noise` takes any allowed action."""
    codes = rule is on_codes
    seen = rng.integers(0, [5, 4], (rows, 2)) if codes else rng.standard_normal((rows, 3))
    ruled = rule(seen)
    allowed = rng.random((rows, ACTIONS)) < 0.8
    allowed[np.arange(rows), ruled] = True
    anything = (allowed * rng.random((rows, ACTIONS))).argmax(1)
    action = np.where(rng.random(rows) < noise, anything, ruled)
    return Batch.single(seen, allowed, action, np.ones(rows), rng.random(rows))


def spec(rule):
    return Spec(MultiDiscrete([5, 4]) if rule is on_codes else Box(-np.inf, np.inf, (3,)), Discrete(ACTIONS))


def apprentice(learner, rule, noise, contrasts=1):
    """The share of held-out decisions in which it does what the application did."""
    rng = np.random.default_rng(2)
    shown = imitation(logged(rule, rng, noise), rng, contrasts)
    state, _ = learner.update(learner.init(spec(rule), rng), shown, rng)
    return agreement(learner.policy(state), logged(rule, rng, noise))


LEARNERS = [
    ("bandit.fourier_ridge", on_features),
    ("bandit.lin_ucb", on_features),
    ("tabular.q_learning", on_codes),
    ("bandit.gaussian_thompson", on_codes),
]
each = pytest.mark.parametrize(("name", "rule"), LEARNERS, ids=[name for name, _ in LEARNERS])


@each
def test_an_apprentice_agrees_with_a_rule_of_the_context(name, rule):
    found = apprentice(build(name, {}), rule, noise=0.0)
    assert found.share > 0.95
    assert found.low <= found.share <= found.high


@each
def test_an_apprentice_of_one_who_is_not_consistent_comes_close_to_what_can_be_agreed_with(name, rule):
    """Of decisions that follow no rule in 30 %, the rule itself agrees with .7 and the share that chance leaves it."""
    noise, rng = 0.3, np.random.default_rng(3)
    ceiling = agreement(ruled(rule), logged(rule, rng, noise, rows=20_000))
    assert ceiling.share == pytest.approx(0.7 + 0.3 * 0.4, abs=0.02)
    found = apprentice(build(name, {}), rule, noise, contrasts=2)
    assert found.share > ceiling.share - 0.06
    assert found.share < ceiling.share + 0.02


def ruled(rule):
    return ByValue(lambda seen: np.eye(ACTIONS)[rule(seen)], lambda chances, _: chances)


def test_each_decision_is_shown_as_taken_and_beside_others_that_were_allowed():
    rng = np.random.default_rng(4)
    batch = logged(on_codes, rng, noise=0.5, rows=400)
    shown = imitation(batch, rng, contrasts=3)
    several = int((batch.allowed.sum(1) > 1).sum())
    assert len(shown) == 400 + 3 * several
    assert shown.reward.sum() == 400
    assert shown.allowed[np.arange(len(shown)), shown.action].all()
    assert shown.probability == pytest.approx(1 / shown.allowed.sum(1))
    assert not shown.has_next.any()
    assert not shown.discount.any()
    taken = np.hstack([batch.observation, batch.action[:, None]])
    as_taken = np.hstack([shown.observation, shown.action[:, None]])[shown.reward == 1]
    assert sorted(map(tuple, as_taken.tolist())) == sorted(map(tuple, taken.tolist()))
    assert 0 < shown.reward[:200].mean() < 1  # in no order


def test_contrasts_are_the_other_actions_with_equal_chances():
    allowed = np.tile([True, True, False, True], (30_000, 1))  # the second was taken
    batch = Batch.single(np.zeros((30_000, 1)), allowed, np.ones(30_000, int), np.ones(30_000), np.zeros(30_000))
    shown = imitation(batch, np.random.default_rng(5))
    share = np.bincount(shown.action[shown.reward == 0], minlength=4) / 30_000
    assert share == pytest.approx([0.5, 0, 0, 0.5], abs=0.01)
    forced = np.tile([False, True, False, False], (3, 1))
    batch = Batch.single(np.zeros((3, 1)), forced, np.ones(3, int), np.ones(3), np.zeros(3))
    alone = imitation(batch, np.random.default_rng(6))
    assert alone.reward.tolist() == [1.0, 1.0, 1.0]


def test_agreement_is_the_mean_chance_with_an_interval_over_sessions():
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])
    policy = ByValue(lambda seen: chances[seen[:, 0]], lambda values, _: values)
    rows = np.array([0, 1, 2, 3])
    batch = Batch.single(rows[:, None], np.ones((4, 2), bool), np.array([0, 0, 1, 0]), np.ones(4), np.zeros(4))
    found = agreement(policy, batch)
    expected = np.array([0.9, 0.2, 0.5, 1.0])
    assert found.share == pytest.approx(expected.mean())
    low, high = student(expected, 0.95)
    assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)))
    twice = agreement(policy, batch.take(np.repeat(rows, 2)))
    assert twice == pytest.approx(found)


def test_what_cannot_be_imitated_is_named():
    batch = logged(on_features, np.random.default_rng(7), rows=5)
    with pytest.raises(InvalidInput, match="There are 0 contrasts"):
        imitation(batch, np.random.default_rng(0), contrasts=0)
    slots = Batch.single(batch.observation, batch.allowed, np.zeros((5, 2), int), batch.probability, batch.reward)
    dial = Batch.single(batch.observation, batch.allowed, np.zeros(5), batch.probability, batch.reward)
    for odd in (slots, dial):
        with pytest.raises(InvalidInput, match="Only single actions"):
            imitation(odd, np.random.default_rng(0))
    with pytest.raises(InvalidInput, match="no decision to agree with"):
        agreement(ruled(on_features), batch.take(np.zeros(0, int)))
