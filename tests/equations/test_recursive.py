"""Learning row by row against solving all rows at once, and against the papers' own formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.equations.recursive import (
    believe,
    believe_diagonal,
    believe_pooled,
    deviation_of,
    direction,
    logistic_step,
    moderated,
    moved,
    moved_diagonal,
    pooled,
    predict,
    rank_one,
    ready,
    regress,
    regress_diagonal,
    regress_logistic,
    regress_pooled,
    share,
    standard_frame,
    standardise,
    swept,
)

seeds = st.integers(0, 2**32 - 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def frame_like(features, logistic=False):
    """A frame that is not the identity."""
    frame = np.stack([np.linspace(-1, 1, features + 1), np.linspace(0.5, 2, features + 1)])
    frame[1, -1] = 1.0 if logistic else frame[1, -1]
    return frame


def rows(count, features, actions, seed=0):
    source = rng(seed)
    observation, action = source.normal(size=(count, features)), source.integers(0, actions, count)
    return observation, action, observation.sum(1) * (action + 1) + source.normal(size=count)


def framed(observation, reward, frame):
    """Rows w = [1, z, r] in the frame."""
    both = (np.column_stack([observation, reward]) - frame[0]) / frame[1]
    return np.column_stack([np.ones(len(both)), both])


def evidence_of(w, action, actions):
    return np.stack([w[action == a].T @ w[action == a] for a in range(actions)])


def blank(actions, features, ridge):
    evidence = np.zeros((actions, features + 2, features + 2))
    return evidence, swept(evidence, ridge)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_swept_by_hand():
    rows_of_two = np.array([[1.0, 2.0], [1.0, 4.0]])  # a constant, and the rewards 2 and 4
    found = swept(rows_of_two.T @ rows_of_two, 1.0)
    assert found[0].tolist() == pytest.approx([1 / 3, 2.0])
    assert found[1, 1] == pytest.approx(-((2 - 2) ** 2 + (4 - 2) ** 2 + 1.0 * 2**2))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_swept_solves_the_normal_equations_and_knows_what_they_leave(seed):
    w = rng(seed).normal(size=(20, 5))
    z, r = w[:, :4], w[:, 4]
    found = swept(w.T @ w, 0.3)
    theta = np.linalg.solve(z.T @ z + 0.3 * np.eye(4), z.T @ r)
    assert found[4, :4] == pytest.approx(theta, abs=1e-9)
    assert found[:4, :4] @ (z.T @ z + 0.3 * np.eye(4)) == pytest.approx(np.eye(4), abs=1e-9)
    assert -found[4, 4] == pytest.approx(((r - z @ theta) ** 2).sum() + 0.3 * theta @ theta, abs=1e-9)


def test_direction_and_rank_one_by_hand():
    posterior, step = np.array([[2.0, 1.0, 3.0], [1.0, 4.0, 5.0], [3.0, 5.0, -1.0]]), np.empty(3)
    assert direction(posterior, np.array([1.0, 2.0, 10.0]), step) == 1 * 4 + 2 * 9
    assert step.tolist() == [4.0, 9.0, 3.0]  # the prediction is 13, the reward 10
    matrix = np.zeros((2, 2))
    rank_one(matrix, np.array([1.0, 3.0]), 2.0)
    assert matrix.tolist() == [[2.0, 6.0], [6.0, 18.0]]


@given(seeds, st.floats(0.01, 10.0))
@settings(max_examples=20, deadline=None)
def test_one_weighted_row_moves_the_posterior_to_where_all_evidence_puts_it(seed, weight):
    w, step = rng(seed).normal(size=(6, 5)), np.empty(5)
    evidence = w[:5].T @ w[:5]
    posterior = swept(evidence, 0.5)
    variance = direction(posterior, w[5], step)
    rank_one(posterior, step, -1.0 / (1.0 / weight + variance))
    assert posterior == pytest.approx(swept(evidence + weight * np.outer(w[5], w[5]), 0.5), abs=1e-9)
    assert (posterior == posterior.T).all()


def test_standardise_centres_and_scales():
    row = np.zeros(4)
    standardise(np.array([3.0, 5.0]), np.array([[1.0, 1.0, 0.0], [2.0, 4.0, 1.0]]), row)
    assert row.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_a_standard_frame_has_mean_0_and_variance_1_and_keeps_what_never_changes_in_its_own_size():
    frame = np.array([[10.0, 0.0, -5.0], [2.0, 1.0, 1.0]])
    found = standard_frame(np.array([3.0, 0.0, 0.0]), np.array([4.0, 0.0, 0.0]), frame)
    assert found.tolist() == [[16.0, 0.0, -5.0], [4.0, 1.0, 5.0]]


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_moved_evidence_is_that_of_the_rows_in_the_other_frame(seed):
    observation, action, reward = rows(30, 3, 2, seed)
    first, second = frame_like(3), np.stack([rng(seed).normal(size=4), rng(seed).uniform(0.1, 9, 4)])
    before = evidence_of(framed(observation, reward, first), action, 2)
    after = evidence_of(framed(observation, reward, second), action, 2)
    np.testing.assert_allclose(moved(before, first, second), after, rtol=1e-9, atol=1e-6)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_regress_ends_where_solving_at_once_would_compiled_or_not(seed):
    data, frame = rows(40, 3, 2, seed), frame_like(3)
    ours, plain = blank(2, 3, 0.7), blank(2, 3, 0.7)
    missed = ready(regress)(*data, frame, *ours)
    assert regress(*data, frame, *plain) == pytest.approx(missed)
    expected = evidence_of(framed(data[0], data[2], frame), data[1], 2)
    for evidence, posterior in (ours, plain):
        np.testing.assert_allclose(evidence, expected, atol=1e-9)
        np.testing.assert_allclose(posterior, swept(expected, 0.7), atol=1e-9)


def test_regress_counts_the_errors_made_before_learning():
    evidence, posterior = blank(1, 0, 1.0)
    frame = np.array([[0.0], [1.0]])
    data = np.empty((2, 0)), np.zeros(2, np.int64), np.array([4.0, 4.0])
    assert ready(regress)(*data, frame, evidence, posterior) == pytest.approx(4 + 2)  # then it says 4 / (1 + ridge)


def test_a_million_rank_one_updates_drift_less_than_a_millionth():
    observation, action, reward = rows(1_000_000, 3, 1)
    observation[:, 2] = observation[:, 1] + 1e-3 * observation[:, 2]  # nearly the same
    evidence, posterior = blank(1, 3, 1.0)
    ready(regress)(observation, action, reward, frame_like(3), evidence, posterior)
    exact = swept(evidence, 1.0)
    np.testing.assert_allclose(posterior[0, :-1, :-1], exact[0, :-1, :-1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(posterior[0, -1, :-1], exact[0, -1, :-1], rtol=1e-6)


def test_share_is_ridge_times_the_outer_product():
    wide = np.zeros(5)
    share(np.array([1.0, 3.0]), np.array([2.0, 5.0, 99.0]), 0.5, wide)
    assert wide.tolist() == [1.0, 2.5, 3.0, 7.5, 0.0]


def joint(w, action, described, ridge):
    """The hybrid model as a single ridge regression on [u_a ⊗ z, and z in the block of a]: posterior of all of it."""
    actions, size = len(described), w.shape[1] - 1
    design = np.zeros((len(w), described.shape[1] * size + actions * size))
    for t, a in enumerate(action):
        design[t] = wide_row(w[t, :-1], a, described)
    return swept(np.column_stack([design, w[:, -1]]).T @ np.column_stack([design, w[:, -1]]), ridge)


def wide_row(z, a, described):
    blocks = np.zeros((len(described), len(z)))
    blocks[a] = z
    return np.concatenate([np.kron(described[a], z), blocks.ravel()])


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_pooled_is_the_shared_part_of_the_joint_regression_row_by_row_and_at_once(seed):
    data, frame, described = rows(25, 2, 4, seed), frame_like(2), rng(seed).normal(size=(4, 2))
    evidence, posterior = blank(4, 2, 0.8)
    shared = pooled(posterior, described, 0.8)
    ready(regress_pooled)(data, (frame, evidence, posterior, shared), described, 0.8)
    np.testing.assert_allclose(shared, pooled(posterior, described, 0.8), atol=1e-9)
    expected = joint(framed(data[0], data[2], frame), data[1], described, 0.8)
    np.testing.assert_allclose(shared[:-1, :-1], expected[:6, :6], atol=1e-9)
    np.testing.assert_allclose(shared[-1], np.append(expected[-1, :6], expected[-1, -1]), atol=1e-8)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_pooled_is_algorithm_2_of_li_et_al(seed):
    source = rng(seed)
    described, size, frame = source.normal(size=(3, 2)), 2, np.array([[0.0, 0.0], [1.0, 1.0]])
    observation, action, reward = rows(20, 1, 3, seed)
    a0, b0 = np.eye(4), np.zeros(4)
    single = [(np.eye(size), np.zeros((size, 4)), np.zeros(size)) for _ in range(3)]
    for t, a in enumerate(action):
        x, r = np.append(1.0, observation[t]), reward[t]
        z, (aa, ba, b) = np.kron(described[a], x), single[a]
        a0 += ba.T @ np.linalg.solve(aa, ba)
        b0 += ba.T @ np.linalg.solve(aa, b)
        aa, ba, b = aa + np.outer(x, x), ba + np.outer(x, z), b + r * x
        a0 += np.outer(z, z) - ba.T @ np.linalg.solve(aa, ba)
        b0 += r * z - ba.T @ np.linalg.solve(aa, b)
        single[a] = aa, ba, b
    evidence, posterior = blank(3, 1, 1.0)
    shared = pooled(posterior, described, 1.0)
    ready(regress_pooled)((observation, action, reward), (frame, evidence, posterior, shared), described, 1.0)
    np.testing.assert_allclose(shared[:-1, :-1], np.linalg.inv(a0), atol=1e-9)
    np.testing.assert_allclose(shared[-1, :-1], np.linalg.solve(a0, b0), atol=1e-8)


def test_believe_gives_the_mean_the_standard_error_and_the_tries_of_a_ridge_regression():
    data, frame = rows(50, 3, 2), frame_like(3)
    evidence, posterior = blank(2, 3, 0.7)
    ready(regress)(*data, frame, evidence, posterior)
    value, error, tries = ready(believe)(data[0][:4], frame, evidence, posterior, 0.0)
    w = framed(data[0], data[2], frame)
    left = 0.0
    for a in range(2):
        z, r = w[data[1] == a, :-1], w[data[1] == a, -1]
        theta = np.linalg.solve(z.T @ z + 0.7 * np.eye(4), z.T @ r)
        left += ((r - z @ theta) ** 2).sum() + 0.7 * theta @ theta
        assert value[:, a] == pytest.approx(frame[0, -1] + frame[1, -1] * w[:4, :-1] @ theta)
        assert tries[:, a] == pytest.approx(np.count_nonzero(data[1] == a))
    for a in range(2):
        z = w[data[1] == a, :-1]
        variance = np.einsum("ti,ij,tj->t", w[:4, :-1], np.linalg.inv(z.T @ z + 0.7 * np.eye(4)), w[:4, :-1])
        assert error[:, a] == pytest.approx(frame[1, -1] * np.sqrt(left / 50 * variance))
        fixed = ready(believe)(data[0][:4], frame, evidence, posterior, 0.25)[1]
        assert fixed[:, a] == pytest.approx(0.25 * np.sqrt(variance))


def test_the_deviation_of_a_reward_is_1_until_two_rewards_differ():
    evidence = np.zeros((2, 3, 3))
    assert deviation_of(0.0, evidence) == 1.0
    evidence[:, 0, 0], evidence[:, 2, 2] = 4.0, 5.0
    assert deviation_of(2.0, evidence) == math.sqrt(2.0 / 8.0)
    assert deviation_of(-1e-20, evidence) == 0.0  # rounding of a perfect fit


def test_believe_pooled_is_the_joint_regression():
    data, frame, described, ridge = rows(30, 2, 3), frame_like(2), rng(1).normal(size=(3, 2)), 0.8
    evidence, posterior = blank(3, 2, ridge)
    shared = pooled(posterior, described, ridge)
    models = frame, evidence, posterior, shared
    ready(regress_pooled)(data, models, described, ridge)
    value, error, tries = ready(believe_pooled)(data[0][:3], models, described, ridge)
    w = framed(data[0], data[2], frame)
    expected = joint(w, data[1], described, ridge)
    for t in range(3):
        for a in range(3):
            z = wide_row(w[t, :-1], a, described)
            assert value[t, a] == pytest.approx(frame[0, -1] + frame[1, -1] * z @ expected[-1, :-1])
            deviation = math.sqrt(-expected[-1, -1] / 30 * z @ expected[:-1, :-1] @ z)
            assert error[t, a] == pytest.approx(frame[1, -1] * deviation)
    assert tries[0].tolist() == np.bincount(data[1]).tolist()


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_predict_is_believes_value_for_any_kind_of_number(kind):
    data, frame = rows(50, 3, 2), frame_like(3)
    evidence, posterior = blank(2, 3, 0.7)
    ready(regress)(*data, frame, evidence, posterior)
    seen = (10 * data[0]).astype(kind)
    expected = believe(seen, frame, evidence, posterior, 0.0)[0]
    np.testing.assert_allclose(ready(predict)(seen, frame, posterior[:, -1, :-1]), expected, rtol=1e-12)


@given(st.floats(-20, 20), st.floats(0.0, 50.0), st.floats(0.0, 1.0))
@settings(max_examples=200, deadline=None)
def test_a_logistic_step_stands_for_a_row_with_the_same_mode_and_curvature(mean, variance, reward):
    weight, target = logistic_step(mean, variance, reward)
    mode = mean + variance / (1.0 / weight + variance) * (target - mean)  # of the linear model, after this row
    assert mode == pytest.approx(mean + variance * (reward - sigmoid(mode)), abs=1e-7)
    assert weight == pytest.approx(max(sigmoid(mode) * sigmoid(-mode), 1e-9), rel=1e-5)


def test_a_logistic_step_survives_log_odds_beyond_all_measure():
    for mean in (-1e6, 1e6):
        assert all(math.isfinite(each) for each in logistic_step(mean, 1e4, 0.5))


def test_a_moderated_chance_is_the_mean_over_log_odds():
    nodes, weights = np.polynomial.hermite_e.hermegauss(81)
    for mean, variance in [(0.0, 4.0), (1.0, 0.5), (-2.0, 1.0), (3.0, 9.0)]:
        chances = sigmoid(mean + math.sqrt(variance) * nodes)
        exact = (weights * chances).sum() / weights.sum()
        deviation = math.sqrt((weights * (chances - exact) ** 2).sum() / weights.sum())
        chance, error = moderated(np.array([mean]), np.array([variance]))
        assert chance[0] == pytest.approx(exact, abs=0.02)
        assert error[0] == pytest.approx(deviation, abs=0.06)
    chance, error = moderated(np.array([1.0]), np.array([0.0]))
    assert (chance[0], error[0]) == (pytest.approx(sigmoid(1.0)), 0.0)


def test_one_logistic_row_is_laplaces_approximation():
    evidence, posterior = blank(1, 2, 0.5)
    frame, x = frame_like(2, logistic=True), np.array([[0.7, -1.2]])
    ready(regress_logistic)(x, np.array([0]), np.array([1.0]), frame, evidence, posterior)
    z, theta = framed(x, [0.0], frame)[0, :-1], np.zeros(3)
    for _ in range(50):  # Newton on the log posterior in all its dimensions
        chance = sigmoid(frame[0, -1] + z @ theta)
        curvature = 0.5 * np.eye(3) + chance * (1 - chance) * np.outer(z, z)
        theta += np.linalg.solve(curvature, z * (1.0 - chance) - 0.5 * theta)
    assert posterior[0, -1, :-1] == pytest.approx(theta)
    assert posterior[0, :-1, :-1] == pytest.approx(np.linalg.inv(curvature))


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_logistic_rows_leave_a_posterior_that_their_evidence_explains(seed):
    observation, action, reward = rows(40, 2, 2, seed)
    data, frame = (observation, action, sigmoid(reward)), frame_like(2, logistic=True)
    evidence, posterior = blank(2, 2, 0.5)
    missed = ready(regress_logistic)(*data, frame, evidence, posterior)
    np.testing.assert_allclose(posterior[:, :-1], swept(evidence, 0.5)[:, :-1], atol=1e-7)
    plain = blank(2, 2, 0.5)
    assert regress_logistic(*data, frame, *plain) == pytest.approx(missed)
    np.testing.assert_allclose(plain[1][:, :-1], posterior[:, :-1], atol=1e-7)


def test_a_diagonal_model_is_the_full_one_where_there_is_one_coefficient():
    data = np.empty((20, 0)), np.zeros(20, np.int64), rng(3).random(20)
    frame = np.array([[0.4], [1.0]])
    full, diagonal = blank(1, 0, 0.5), (np.zeros((1, 2, 1)), np.array([[[2.0], [0.0]]]))
    assert ready(regress_diagonal)(*data, frame, *diagonal) == pytest.approx(
        ready(regress_logistic)(*data, frame, *full)
    )
    assert diagonal[1][0, :, 0] == pytest.approx([full[1][0, 0, 0], full[1][0, 1, 0]])
    assert diagonal[0][0, :, 0] == pytest.approx(full[0][0, 0, 0])


def test_believe_diagonal_by_hand():
    posterior = np.array([[[4.0, 1.0], [0.5, 2.0]]])  # variances, coefficients
    frame = np.array([[1.0, 0.25], [2.0, 1.0]])
    mean, deviation = ready(believe_diagonal)(np.array([[5.0]]), frame, posterior)
    assert mean.tolist() == [[0.25 + 0.5 + 2.0 * 2.0]]
    assert deviation.tolist() == [[math.sqrt(4.0 + 4.0 * 1.0)]]


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_moving_a_diagonal_model_changes_no_log_odds_and_keeps_its_sums(seed):
    source = rng(seed)
    first, second = frame_like(3, logistic=True), frame_like(3, logistic=True)
    second[0], second[1, :3] = source.normal(size=4), source.uniform(0.1, 9, 3)
    weights, observation, coefficients = source.random(30), source.normal(size=(30, 3)), source.normal(size=(2, 4))

    def sums(frame):
        z = framed(observation, np.zeros(30), frame)[:, :-1]
        return np.broadcast_to(np.stack([weights @ z**2, weights @ z]), (2, 2, 4))

    evidence, others = moved_diagonal(sums(first), coefficients, first, second)
    np.testing.assert_allclose(evidence, sums(second), rtol=1e-7, atol=1e-7)
    means = [ready(predict)(observation, *each) for each in ((first, coefficients), (second, others))]
    np.testing.assert_allclose(*means, rtol=1e-7, atol=1e-7)
