"""Weights that know only the past: by hand, against sums written out, and on experiments that learn while they run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.adaptive_weights import (
    RECENCY,
    arm_effect,
    arm_scores,
    earlier_mean,
    effect,
    heaviness,
    linearised,
    stabilisers,
)
from bondhu.equations.intervals import standard_error, student
from bondhu.equations.sequences import radius


def test_earlier_mean_leaves_out_the_term_itself():
    assert earlier_mean(np.array([2.0, 4.0, 9.0, 1.0])).tolist() == [0.0, 2.0, 3.0, 5.0]
    assert earlier_mean(np.empty(0)).tolist() == []


def test_heaviness_of_one_action_with_constant_propensity_is_one_over_it_from_the_first_try_on():
    taken = np.array([0, 0, 1, 0, 1, 1, 0, 0, 0, 1])
    found = heaviness(taken / 0.2, start=3.0)
    assert found[:3].tolist() == [3.0, 3.0, 3.0]
    assert found[3:] == pytest.approx(5.0)


def test_heaviness_weighs_recent_rows_more_and_never_looks_at_its_own():
    weights = np.array([2.0, 0.0, 4.0, 1.0])
    kernel = np.arange(1, 4) ** RECENCY
    expected = (kernel * weights[:3] ** 2).sum() / (kernel * weights[:3]).sum()
    assert heaviness(weights)[3] == pytest.approx(expected)
    assert heaviness(np.append(weights[:3], 99.0))[3] == pytest.approx(expected)


def test_an_action_that_stays_away_has_become_rarer_than_it_was():
    weights = np.append(np.full(5, 1 / 0.9), np.zeros(60))
    found = heaviness(weights)
    assert found[5] == pytest.approx(1 / 0.9)
    assert found[-1] == pytest.approx(60 / 3)  # the rows since it was last seen, this one included, over three
    assert heaviness(weights, share=0.5)[-1] == pytest.approx(30 / 3)


def test_the_two_sides_of_a_difference_are_looked_at_apart():
    taken = np.array([0, 1, 0, 0, 1, 0])
    weights = np.where(taken == 0, 1 / 0.8, -1 / 0.2)
    assert heaviness(weights, 2.0, 2.0)[2:] == pytest.approx((1 / 0.8 + 1 / 0.2) / 2)


def test_the_policy_that_acted_needs_no_weighting():
    ones, some = np.ones(20), np.random.default_rng(0).random(20)
    assert heaviness(ones).tolist() == ones.tolist()
    assert stabilisers(ones, some, 1 - some) == pytest.approx(ones, abs=1e-15)


def test_stabilisers_are_one_over_the_deviation():
    found = stabilisers(np.array([4.0, 4.0, 9.0]), np.array([1.0, 1.0, 0.0]), np.array([0.0, 2.0, 0.0]))
    assert found == pytest.approx([0.5, np.sqrt(3 / 6), 1 / 3])


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0.1, 5)), min_size=3, max_size=30))
def test_linearised_terms_have_the_weighted_mean_and_the_martingales_error(rows):
    scores, weights = np.array(rows).T
    terms = linearised(scores, weights)
    value = (weights * scores).sum() / weights.sum()
    assert terms.mean() == pytest.approx(value, abs=1e-9)
    exact = np.sqrt((weights**2 * (scores - value) ** 2).sum()) / weights.sum()
    assert standard_error(terms)[0] == pytest.approx(exact * np.sqrt(len(rows) / (len(rows) - 1)), abs=1e-9)
    assert linearised(scores, 7 * weights) == pytest.approx(terms, abs=1e-9)


def test_effect_is_students_interval_or_one_that_holds_at_every_look():
    rng = np.random.default_rng(1)
    differences, weights = rng.normal(0.3, 1, 400), 0.5 + rng.random(400)
    terms = linearised(differences, weights)
    once, always = effect(differences, weights, 0.95), effect(differences, weights, 0.95, anytime=True)
    assert once == pytest.approx((terms.mean(), *student(terms, 0.95)))
    half = radius(400, 0.95) * standard_error(terms)[0]
    assert always == pytest.approx((terms.mean(), terms.mean() - half, terms.mean() + half))
    assert half > 1.3 * (once.high - once.low) / 2
    paired = effect(np.repeat(differences, 2), np.repeat(weights, 2), 0.95, np.repeat(np.arange(400), 2))
    assert paired == pytest.approx(once)


def test_arm_scores_by_hand():
    action, probability, reward = np.array([0, 1, 0, 0]), np.array([0.5, 0.5, 0.8, 0.4]), np.array([1.0, 3.0, 2.0, 5.0])
    assert arm_scores(action, probability, reward, 2) == pytest.approx(
        np.array([
            [0 + 1 / 0.5, 0.0],  # nothing is known before the first reward
            [1.0, 1 + (3 - 1) / 0.5],  # the second action was not tried: all rewards so far average 1
            [1 + (2 - 1) / 0.8, 3.0],
            [1.5 + (5 - 1.5) / 0.4, 3.0],
        ])
    )  # fmt: skip


def test_scores_are_unbiased_over_every_course_of_an_experiment_that_learns():
    """Two actions with rewards 0 or 1, three rows that favour what has earned more so far: all 4^3 courses."""
    chance, expected, total = np.array([0.3, 0.6]), np.zeros((3, 2)), 0.0
    for course in np.ndindex(2, 2, 2, 2, 2, 2):
        action, reward = np.array(course[::2]), np.array(course[1::2], float)
        probability, likely = np.empty(3), 1.0
        for t in range(3):
            earned = [reward[:t][action[:t] == arm].sum() for arm in (0, 1)]
            first = 0.5 if earned[0] == earned[1] else 0.8 if earned[0] > earned[1] else 0.2
            probability[t] = first if action[t] == 0 else 1 - first
            likely *= probability[t] * (chance[action[t]] if reward[t] else 1 - chance[action[t]])
        expected += likely * arm_scores(action, probability, reward, 2)
        total += likely
    assert total == pytest.approx(1)
    assert expected == pytest.approx(np.tile(chance, (3, 1)))


def experiments(logs, rows, means, rng):
    """Each row's chance of the first of two actions follows which has the higher mean so far: `[rows, logs]` each."""
    total, tries, every = np.zeros((2, logs)), np.zeros((2, logs)), np.arange(logs)
    action, probability, reward = np.empty((rows, logs), int), np.empty((rows, logs)), np.empty((rows, logs))
    for t in range(rows):
        rare = 0.5 * (1 + t) ** -0.4  # share of decisions that explore; they fade
        ahead = total[0] / np.maximum(tries[0], 1) > total[1] / np.maximum(tries[1], 1)
        first = np.where(ahead, 1 - rare, rare)
        action[t] = rng.random(logs) >= first
        probability[t] = np.where(action[t] == 0, first, 1 - first)
        reward[t] = np.take(means, action[t]) + rng.standard_normal(logs)
        total[action[t], every] += reward[t]
        tries[action[t], every] += 1
    return action, probability, reward


def test_the_effect_covers_where_means_of_the_actions_are_biased():
    logs, rows = 400, 600
    action, probability, reward = experiments(logs, rows, [0.0, 0.0], np.random.default_rng(2))
    found = [arm_effect((action[:, i], probability[:, i], reward[:, i]), (0, 1), 0.95) for i in range(logs)]
    value, low, high = np.array(found).T
    covered = ((low <= 0) & (high >= 0)).mean()
    assert 0.92 <= covered <= 0.98, covered
    scores = [arm_scores(action[:, i], probability[:, i], reward[:, i], 2) for i in range(logs)]
    plain = np.array([student(each[:, 0] - each[:, 1], 0.95) for each in scores])
    assert (high - low).mean() < 0.98 * (plain[:, 1] - plain[:, 0]).mean()
    means = (reward * (action == 0)).sum(0) / (action == 0).sum(0)
    assert means.mean() < -5 * means.std() / np.sqrt(logs)  # what was unlucky early is not tried again
    assert value.mean() == pytest.approx(0, abs=4 * value.std() / np.sqrt(logs))
