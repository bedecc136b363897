"""Ridge on random Fourier features: the kernel they stand for, the batch solution they reach, and the baseline."""

import numpy as np
import pytest

from bondhu.equations.fourier import (
    LARGEST,
    absorb,
    believe,
    expand,
    fitted,
    inner,
    lens_of,
    observe,
    pair,
    predict,
)


def standard(features):
    """Moments of columns that are standard already."""
    return np.array([np.zeros(features), np.ones(features)])


def rows_of(observation, lens, moments):
    size = 1 + lens.frequency.shape[1] + len(lens.phase)
    rows = np.empty((len(observation), size))
    for each, row in zip(observation, rows, strict=True):
        fitted(expand)(each, moments, lens, row)
    return rows


def packed(matrix):
    return matrix[np.tril_indices(len(matrix))]


def fresh(size, actions=1):
    return np.tile(packed(np.eye(size)), (actions, 1)), np.zeros((actions, size))


def test_a_row_is_the_constant_the_scaled_columns_and_the_waves():
    lens = lens_of(2, 3, 128, 0.5, np.random.default_rng(0))
    moments = np.array([[1.0, 0.0], [4.0, 9.0]])
    row = rows_of(np.array([[3.0, -3.0]]), lens, moments)[0]
    z = np.array([1.0, -1.0])
    assert row[:3] == pytest.approx([1.0, *(z / np.sqrt(0.5 * 2))])
    assert row[3:] == pytest.approx(np.sqrt(2 / 3) * np.cos(lens.frequency @ z + lens.phase))


def test_an_outlier_is_cut_and_a_column_that_never_changed_says_nothing():
    lens = lens_of(2, 4, 128, 1.0, np.random.default_rng(0))
    row = rows_of(np.array([[1e9, 7.0]]), lens, np.array([[0.0, 7.0], [1.0, 0.0]]))[0]
    assert row[1:3] == pytest.approx([LARGEST / np.sqrt(2), 0.0])


def test_inner_products_of_waves_are_a_gaussian_kernel():
    rng = np.random.default_rng(1)
    lens = lens_of(3, 6_000, 128, 1.0, rng)
    observation = rng.standard_normal((6, 3))
    waves = rows_of(observation, lens, standard(3))[:, 4:]
    squared = ((observation[:, None] - observation[None]) ** 2).sum(axis=2)
    assert waves @ waves.T == pytest.approx(np.exp(-squared / (2 * 3)), abs=0.05)  # bandwidth √C


def test_more_columns_than_there_is_room_for_share_it_with_signs():
    lens = lens_of(10, 2, 4, 1.0, np.random.default_rng(2))
    assert lens.column.tolist() == [0, 1, 2, 3] * 2 + [0, 1]
    assert (lens.sign[:4] > 0).all()
    assert np.abs(lens.sign) == pytest.approx(1 / np.sqrt([3, 3, 2, 2, 3, 3, 2, 2, 3, 3]))
    row = rows_of(np.ones((1, 10)), lens, standard(10))[0]
    assert row[3] == pytest.approx((lens.sign[2] + lens.sign[6]) / 2)  # slope 1 / √4


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_row_after_row_ends_where_solving_at_once_does(baseline):
    rng = np.random.default_rng(3)
    lens = lens_of(3, 8, 128, 0.3, rng)
    observation, reward = rng.standard_normal((200, 3)), 1.0 + rng.standard_normal(200)
    rows = rows_of(observation, lens, standard(3))
    covariance, coefficients = fresh(12)
    for row, r in zip(rows, reward, strict=True):
        fitted(absorb)(row, r, baseline, covariance[0], coefficients[0])
    matrix = rows.T @ rows + np.eye(12)
    np.testing.assert_allclose(covariance[0], packed(np.linalg.inv(matrix)), atol=1e-10)
    value, error = fitted(believe)(
        observation, standard(3), lens, (covariance, coefficients), np.array([baseline, 2.0])
    )
    centred = np.linalg.solve(matrix, rows.T @ (reward - baseline))  # shrinks towards the baseline
    np.testing.assert_allclose(value[:, 0], baseline + rows @ centred, atol=1e-9)
    np.testing.assert_allclose(error[:, 0], 2 * np.sqrt((rows @ np.linalg.inv(matrix) * rows).sum(axis=1)), atol=1e-9)
    corner = np.linalg.inv(matrix)[0]
    alone = fitted(predict)(observation, standard(3), lens, coefficients + baseline * corner)
    np.testing.assert_allclose(alone, value, atol=1e-9)


def test_the_error_made_before_learning_is_returned_in_units_of_the_noise():
    row = np.array([1.0, 2.0])
    covariance, coefficients = packed(np.eye(2)), np.array([0.5, 0.0])
    missed = 3.0 - 0.5 - 0.25 * 1.0  # reward, θ'f, baseline·(P f)₀
    assert absorb(row, 3.0, 0.25, covariance, coefficients) == pytest.approx(missed**2 / (1 + 5.0))
    assert coefficients == pytest.approx([0.5 + 2.5 / 6, 5.0 / 6])


def test_rounding_does_not_build_up_over_a_hundred_thousand_rows():
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((1_000, 6))
    rows[:, 5] = rows[:, 4] + 1e-3 * rows[:, 5]  # nearly the same column twice
    covariance, coefficients = fresh(6)
    absorbing = fitted(absorb)
    for _ in range(100):
        for row in rows:
            absorbing(row, row[0], 0.0, covariance[0], coefficients[0])
    exact = np.linalg.inv(100 * rows.T @ rows + np.eye(6))
    np.testing.assert_allclose(covariance[0], packed(exact), rtol=1e-5, atol=1e-9)


def test_moments_are_those_of_all_rows_so_far():
    seen = np.random.default_rng(5).normal(3.0, 2.0, (50, 2))
    moments = np.zeros((2, 2))
    for count, row in enumerate(seen):
        observe(row, moments, float(count))
    assert moments[0] == pytest.approx(seen.mean(axis=0))
    assert moments[1] == pytest.approx(seen.var(axis=0))


def test_paired_products_turn_a_quadratic_form_into_an_inner_product():
    matrix = np.array([[2.0, 0.5, 0.1], [0.5, 3.0, 0.2], [0.1, 0.2, 4.0]])
    row, products = np.array([1.0, -2.0, 0.5]), np.empty(6)
    pair(row, products)
    assert inner(packed(matrix), products) == pytest.approx(row @ matrix @ row)
