"""Random effects against conditioning done in full, and against numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.equations import regression
from bondhu.equations.hierarchy import (
    Prior,
    around_shared,
    covariance_between,
    deviation,
    nearest_covariance,
    noise_within,
)

seeds = st.integers(0, 2**32 - 1)


def people(covariance, noise, count, decisions, rng):
    """Who they are, and the totals, tries and squares of so many decisions of each at random."""
    own = rng.multivariate_normal(np.zeros(len(covariance)), covariance, count, method="eigh")
    person = np.repeat(np.arange(count), decisions)
    action = rng.integers(0, len(covariance), len(person))
    reward = own[person, action] + np.sqrt(noise) * rng.standard_normal(len(person))
    total, tries = np.zeros(own.shape), np.zeros(own.shape)
    np.add.at(total, (person, action), reward)
    np.add.at(tries, (person, action), 1.0)
    return own, total, tries, float((reward**2).sum())


def conditioned(prior, action, reward):
    """Mean and variance of the deviations given single rewards, by the joint normal of everything."""
    picked = np.eye(len(prior.covariance))[action]
    joint = picked @ prior.covariance @ picked.T + prior.noise * np.eye(len(action))
    gain = prior.covariance @ picked.T @ np.linalg.inv(joint)
    return gain @ reward, np.diag(prior.covariance - gain @ picked @ prior.covariance)


def test_a_deviation_of_one_action_by_hand():
    # variance 4, noise 1, two rewards that sum to 3: precision 1/4 + 2, mean 3 / (9/4), variance 4/9.
    mean, variance = deviation(Prior(np.array([[4.0]]), 1.0), np.array([[3.0]]), np.array([[2.0]]))
    assert (mean.item(), variance.item()) == pytest.approx((4 / 3, 4 / 9))


@given(seeds, st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_deviations_are_what_conditioning_on_every_single_reward_gives(seed, rows):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(4, 2))
    prior = Prior(factor @ factor.T, 0.3)  # singular
    action, reward = rng.integers(0, 4, (3, rows)), rng.normal(size=(3, rows))
    total, tries = (
        np.array([np.bincount(a, r, 4) for a, r in zip(action, w, strict=True)]) for w in (reward, np.ones((3, rows)))
    )
    mean, variance = deviation(prior, total, tries)
    for person in range(3):
        expected = conditioned(prior, action[person], reward[person])
        assert mean[person] == pytest.approx(expected[0], abs=1e-9)
        assert variance[person] == pytest.approx(expected[1], abs=1e-9)


def test_who_did_nothing_yet_has_the_prior_and_what_always_goes_together_is_learned_together():
    prior = Prior(np.array([[1.0, -1.0], [-1.0, 1.0]]), 0.5)
    mean, variance = deviation(prior, np.array([[0.0, 0.0], [6.0, 0.0]]), np.array([[0, 0], [4, 0]]))
    assert mean[0].tolist() == [0.0, 0.0]
    assert variance[0].tolist() == [1.0, 1.0]
    assert mean[1] == pytest.approx([6 / 4.5, -6 / 4.5])  # the second was never tried
    assert variance[1] == pytest.approx([1 / 9, 1 / 9])


def test_noise_within_cells_by_hand():
    # one person's rewards 1 and 3 of one action, 5 of another: 35 - 16/2 - 25 = 2 on 3 - 2 degrees of freedom.
    total, tries = np.array([[4.0, 5.0]]), np.array([[2.0, 1.0]])
    assert noise_within(total, tries, 35.0, 0.5) == pytest.approx((2.0 + 30 * 0.5) / (1 + 30))
    assert noise_within(np.zeros((0, 2)), np.zeros((0, 2)), 0.0, 0.5) == 0.5


def test_noise_within_cells_does_not_see_how_people_differ():
    rng = np.random.default_rng(0)
    _, total, tries, squares = people(9.0 * np.eye(3), 0.25, 400, 30, rng)
    assert noise_within(total, tries, squares, 1.0) == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("decisions", [4, 20])
def test_the_covariance_between_people_is_found_from_many_with_few_decisions_each(decisions):
    directions = np.array([[0.6, 0.3, -0.3, -0.6], [0.2, -0.4, -0.2, 0.4]])
    truth, rng = directions.T @ directions + 0.05 * np.eye(4), np.random.default_rng(1)
    errors = []
    for count in (100, 1_000, 8_000):
        _, total, tries, _ = people(truth, 0.3, count, decisions, rng)
        errors.append(np.linalg.norm(covariance_between(total, tries, 0.3, 0.1) - truth) / np.linalg.norm(truth))
    assert errors[2] < 0.06
    assert errors[2] < errors[0]


def test_estimates_of_the_covariance_scatter_around_the_truth():
    truth, rng = np.array([[0.5, 0.3], [0.3, 0.4]]), np.random.default_rng(2)
    found = []
    for _ in range(200):
        _, total, tries, _ = people(truth, 0.5, 200, 6, rng)
        found.append(covariance_between(total, tries, 0.5, 0.4))
    assert np.mean(found, axis=0) == pytest.approx(truth, abs=0.04)


def test_nobody_tells_more_than_the_guess():
    assert covariance_between(np.zeros((0, 3)), np.zeros((0, 3)), 1.0, 0.2) == pytest.approx(0.2 * np.eye(3))


def test_where_actions_are_alike_an_action_learns_from_the_others_how_people_differ():
    rng, alone, together = np.random.default_rng(3), [], []
    for _ in range(100):
        _, total, tries, _ = people(0.3 * np.eye(6), 1.0, 40, 10, rng)
        together.append(covariance_between(total, tries, 1.0, 0.2)[0, 0])
        alone.append(covariance_between(total[:, :1], tries[:, :1], 1.0, 0.2).item())
    off = np.square(np.array([together, alone]) - 0.3).mean(axis=1)
    assert off[0] < 0.7 * off[1]


def test_people_who_do_not_differ_get_next_to_no_covariance():
    _, total, tries, _ = people(np.zeros((5, 5)), 1.0, 2_000, 20, np.random.default_rng(4))
    assert np.abs(covariance_between(total, tries, 1.0, 0.1)).max() < 0.01


@given(seeds, st.integers(1, 30), st.integers(1, 8), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_a_covariance_is_symmetric_without_negative_eigenvalues_and_in_the_units_of_rewards(seed, count, size, unit):
    rng = np.random.default_rng(seed)
    _, total, tries, _ = people(np.eye(size), 1.0, count, 5, rng)
    found = covariance_between(total, tries, 1.0, 0.3)
    np.testing.assert_array_equal(np.isfinite(found), True)
    assert found == pytest.approx(found.T)
    assert np.linalg.eigvalsh(found).min() > 0
    scaled = covariance_between(unit * total, tries, unit**2, 0.3 * unit**2)
    np.testing.assert_allclose(scaled / unit**2, found, rtol=1e-6, atol=1e-9)


def test_the_nearest_covariance_of_the_same_trace_by_hand():
    # eigenvalues 3 and -1 along (1, 1) and (1, -1): 2 and 0 are the nearest that sum to 2
    assert nearest_covariance(np.array([[1.0, 2.0], [2.0, 1.0]]), 0.0) == pytest.approx(np.ones((2, 2)))
    assert nearest_covariance(np.diag([2.0, 1.0]), 0.0) == pytest.approx(np.diag([2.0, 1.0]))
    assert nearest_covariance(np.diag([3.0, 2.0, -1.0]), 0.0) == pytest.approx(np.diag([2.5, 1.5, 0.0]))
    assert nearest_covariance(np.diag([-2.0, -1.0]), 0.5) == pytest.approx(np.diag([0.5, 0.5]))


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_no_other_covariance_of_the_same_trace_is_nearer(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(4, 4))
    matrix += matrix.T + 2 * np.eye(4)
    found, trace = nearest_covariance(matrix, 0.0), max(np.trace(matrix), 0.0)
    assert np.trace(found) == pytest.approx(trace, abs=1e-9)
    factor = rng.normal(size=(4, 4))
    other = factor @ factor.T
    other *= trace / np.trace(other)
    for step in (0.01, 0.3, 1.0):
        between = found + step * (other - found)
        assert np.linalg.norm(between - matrix) >= np.linalg.norm(found - matrix) - 1e-9


def test_actions_around_what_they_share_have_the_joint_posterior():
    rng = np.random.default_rng(5)
    design, action, reward = rng.normal(size=(30, 3)), rng.integers(0, 3, 30), rng.normal(size=30)
    penalty, ridge = np.array([1.0, 4.0, 9.0]), np.array([0.1, 2.0, 3.0])
    sums = regression.moments(design, action, reward, 4)  # the last action was never taken
    shared = around_shared(sums.gram, sums.cross, penalty, ridge)
    blocks = np.concatenate([design[:, None], design[:, None] * np.eye(4)[action][:, :, None]], axis=1).reshape(30, -1)
    precision = blocks.T @ blocks + np.diag(np.concatenate([ridge, np.tile(penalty, 4)]))
    covariance = np.linalg.inv(precision)  # of [theta, gamma_0 ... gamma_3]
    joint = covariance @ blocks.T @ reward
    for each in range(4):
        pick = np.hstack([np.eye(3), np.kron(np.eye(4)[each], np.eye(3))])
        assert shared.mean[each] == pytest.approx(pick @ joint)
        assert shared.covariance[each] == pytest.approx(pick @ covariance @ pick.T)


def test_the_mean_is_that_of_the_reward_regression():
    rng = np.random.default_rng(6)
    design = np.hstack([np.ones((200, 1)), rng.normal(size=(200, 4))])
    sums = regression.moments(design, rng.integers(0, 5, 200), rng.normal(size=200), 5)
    penalty, ridge = np.array([1.0, 7.0, 7.0, 7.0, 7.0]), np.array([1e-6, 1.0, 1.0, 1.0, 1.0])
    mean = around_shared(sums.gram, sums.cross, penalty, ridge).mean
    assert mean == pytest.approx(regression.solve(sums, 7.0), abs=1e-9)
