"""The reward regression against numbers worked by hand and a plain solver of the same objective."""

import numpy as np
import pytest

from bondhu.equations import regression
from bondhu.equations.regression import Moments


def problem(rows=400, actions=5, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (rows, 3))
    action = rng.integers(0, actions, rows)
    reward = 0.3 * codes[:, 0] - 0.2 * (codes[:, 1] == 2) + 0.1 * action + rng.normal(0, 0.1, rows)
    return codes, action, reward


def test_codes_become_indicators_behind_a_constant():
    design = regression.features(np.array([[0, 2], [1, 0], [0, 2]], np.int32), 3)
    assert design[:2, :6].tolist() == [[1, 1, 0, 0, 0, 1], [1, 0, 1, 1, 0, 0]]
    assert design[:, 6:].sum(axis=1).tolist() == [1, 1, 1]  # the one pair of codes each row has
    assert design[0].tolist() == design[2].tolist() != design[1].tolist()


def test_floats_are_standardised_and_constant_columns_vanish():
    design = regression.features(np.array([[1.0, 7.0], [3.0, 7.0]], np.float32), 3)
    assert design.tolist() == [[1, -1, 0], [1, 1, 0]]


@pytest.mark.parametrize("actions", [3, 1_000, 100_000])
def test_width_is_bounded_however_many_codes_or_floats_there_are(actions):
    limit = max(int((regression.ENTRIES / actions) ** 0.5), 9)
    codes = regression.features(np.arange(4_000).reshape(-1, 2), actions)
    floats = regression.features(np.random.default_rng(0).normal(size=(5, 3_000)), actions)
    assert codes.shape[1] <= limit
    assert floats.shape[1] <= limit
    assert np.isfinite(floats).all()
    assert set(np.unique(codes)) == {0.0, 1.0}


def test_moments_by_hand():
    design = np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 5.0]])
    sums = regression.moments(design, np.array([1, 0, 1]), np.array([10.0, 20.0, 30.0]), 3)
    assert sums.gram[1].tolist() == [[2, 7], [7, 29]]
    assert sums.cross.tolist() == [[20, 60], [40, 170], [0, 0]]
    assert not sums.gram[2].any()


def test_one_action_by_hand():
    # one feature x = 2 and reward 6 in 3 rows without a constant: gram 12, cross 36, penalty 4, ridge 5.
    # theta: D P^-1 G + ridge = 4 * 12 / 16 + 5 = 8, D P^-1 b = 4 * 36 / 16 = 9: 9 / 8. gamma = (36 - 12 * 9 / 8) / 16.
    sums = Moments(np.diag([0.0, 12.0])[None], np.array([[0.0, 36.0]]))
    assert regression.solve(sums, 4.0, 5.0) == pytest.approx(np.array([[0.0, 1.125 + 1.40625]]))


def test_solution_is_the_minimum_of_the_stated_objective():
    codes, action, reward = problem()
    design = regression.features(codes, 5)
    width = design.shape[1]
    stacked = np.zeros((len(reward), 6 * width))  # [theta, gamma_0 ... gamma_4]
    stacked[:, :width] = design
    for row, each in enumerate(action):
        stacked[row, (1 + each) * width : (2 + each) * width] = design[row]
    penalty = np.full(6 * width, 7.0)
    penalty[:width] = 2.0
    penalty[0], penalty[width::width] = 1e-6, 1.0
    best = np.linalg.solve(stacked.T @ stacked + np.diag(penalty), stacked.T @ reward)
    expected = best[:width] + best[width:].reshape(5, width)
    found = regression.solve(regression.moments(design, action, reward, 5), 7.0, 2.0)
    assert found == pytest.approx(expected, abs=1e-8)


def test_an_action_never_seen_is_predicted_like_the_others():
    codes, action, reward = problem()
    design = regression.features(codes, 6)
    coefficients = regression.solve(regression.moments(design, action, reward, 6), 10.0)
    shared = design @ coefficients[5]
    others = (design @ coefficients[:5].T).mean(1)
    assert np.abs(shared - others).max() < 0.02


def test_squared_error_of_a_model_by_hand():
    sums = regression.moments(np.array([[1.0], [1.0]]), np.array([0, 1]), np.array([3.0, 5.0]), 2)
    error = regression.squared_error(np.array([[2.0], [2.0]]), sums)
    assert error + (9 + 25) == pytest.approx((3 - 2) ** 2 + (5 - 2) ** 2)


def test_penalty_is_large_where_actions_are_alike_and_small_where_they_are_not():
    rng = np.random.default_rng(0)
    x = regression.features(rng.normal(size=(4_000, 6)), 10)
    action = rng.integers(0, 10, 4_000)
    noise = rng.normal(size=4_000)
    alike = x @ rng.normal(size=7) + noise
    apart = (x * rng.normal(size=(10, 7))[action]).sum(1) + noise
    chosen = []
    for reward in (alike, apart):
        halves = [regression.moments(x[half::2], action[half::2], reward[half::2], 10) for half in (0, 1)]
        chosen.append(regression.choose_penalty(*halves))
    assert chosen == [1000.0, 1.0]


def test_folds_keep_sessions_whole():
    session = np.array([3, 3, 7, 8, 8, 8, 20, 21, 22])
    assert regression.folds(session).tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 0]


def test_total_of_the_parts_is_the_whole():
    codes, action, reward = problem()
    design = regression.features(codes, 5)
    fold = regression.folds(np.arange(len(reward)) // 3)
    parts = regression.by_fold(design, action, reward, fold, 5)
    whole = regression.moments(design, action, reward, 5)
    assert regression.total(parts).gram == pytest.approx(whole.gram)
    rest = regression.moments(design[fold != 2], action[fold != 2], reward[fold != 2], 5)
    assert regression.total(parts, 2).cross == pytest.approx(rest.cross)


def test_a_prediction_never_depends_on_the_rewards_of_its_own_session():
    codes, action, reward = problem()
    session = np.arange(len(reward)) // 4
    design = regression.features(codes, 5)
    fold = regression.folds(session)

    def predictions(rewards):
        return regression.cross_fit(design, regression.by_fold(design, action, rewards, fold, 5), fold)

    changed = reward.copy()
    changed[session == 11] += 100
    before, after = predictions(reward), predictions(changed)
    assert before[session == 11] == pytest.approx(after[session == 11], abs=1e-12)
    assert np.abs(before - after).max() > 0.1


def test_cross_fit_predictions_find_the_rewards():
    codes, action, reward = problem(rows=5_000)
    design = regression.features(codes, 5)
    fold = regression.folds(np.arange(5_000))
    predicted = regression.cross_fit(design, regression.by_fold(design, action, reward, fold, 5), fold)
    truth = 0.3 * codes[:, :1] - 0.2 * (codes[:, 1:2] == 2) + 0.1 * np.arange(5)
    assert np.sqrt(np.mean((predicted - truth) ** 2)) < 0.02  # noise 0.1, about 50 coefficients, 4,000 rows


def test_a_prediction_of_codes_is_that_of_their_matrix():
    codes, action, reward = problem(rows=3_000)
    places, matrix = regression.design(codes, 5), regression.features(codes, 5)
    assert places.shape == matrix.shape
    fold = regression.folds(np.arange(3_000) // 2)
    weight = np.random.default_rng(1).random(3_000)
    for weights in (None, weight):
        counted = regression.by_fold(places, action, reward, fold, 5, weights)
        multiplied = regression.by_fold(matrix, action, reward, fold, 5, weights)
        assert counted[3].gram == pytest.approx(multiplied[3].gram, abs=1e-9)
        assert counted[3].cross == pytest.approx(multiplied[3].cross, abs=1e-9)
        found = regression.cross_fit(places, counted, fold)
        assert found == pytest.approx(regression.cross_fit(matrix, multiplied, fold), abs=1e-9)
    model = regression.solve(regression.moments(places, action, reward, 5), 10.0)
    expected = matrix @ model.T
    for design in (places, matrix):
        assert regression.predict(design, model) == pytest.approx(expected, abs=1e-12)
        taken = regression.predict_taken(design, model, action)
        assert taken == pytest.approx(expected[np.arange(3_000), action], abs=1e-12)
        assert regression.moved_by(design, expected) == pytest.approx(expected.T @ matrix, rel=1e-9)


def test_a_row_of_weight_two_counts_like_two_rows():
    codes, action, reward = problem(rows=60)
    twice = np.concatenate([np.arange(60), np.arange(20)])
    weight = np.where(np.arange(60) < 20, 2.0, 1.0)
    for design in (regression.design(codes, 5), regression.features(codes, 5)):
        weighted = regression.moments(design, action, reward, 5, weight)
        repeated = regression.moments(regression.features(codes, 5)[twice], action[twice], reward[twice], 5)
        assert weighted.gram == pytest.approx(repeated.gram)
        assert weighted.cross == pytest.approx(repeated.cross)


@pytest.mark.parametrize("size", [1, 7, 140, regression.LARGE + 1])
def test_inverses_undo_their_matrices(size):
    root = np.random.default_rng(size).normal(size=(2, size, size))
    matrices = root @ root.swapaxes(1, 2) + np.eye(size)
    found = regression.inverses(matrices)
    assert found @ matrices == pytest.approx(np.tile(np.eye(size), (2, 1, 1)), abs=1e-8)
    assert found == pytest.approx(found.swapaxes(1, 2), abs=1e-10)
