"""Products that give a row the same bits alone as among others, and the right ones."""

from __future__ import annotations

import numpy as np
import pytest

from bondhu.equations.rows import product, quadratic

SHAPES = [(1, 1, 1), (3, 5, 2), (64, 37, 9), (7, 300, 4), (2, 4, 130)]  # rows, width, columns


@pytest.mark.parametrize(("rows", "width", "columns"), SHAPES)
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_is_that_of_the_matrices_and_a_row_does_not_see_the_others(
    rows: int, width: int, columns: int, turned: bool
) -> None:
    rng = np.random.default_rng(rows)
    left = rng.normal(size=(rows, width))
    right = rng.normal(size=(columns, width)).T if turned else rng.normal(size=(width, columns))
    found = product(left, right)
    np.testing.assert_allclose(found, left @ right, rtol=1e-12, atol=1e-12)
    alone = np.concatenate([product(left[[row]], right) for row in range(rows)])
    np.testing.assert_array_equal(found, alone)


def test_rows_may_lie_in_more_than_one_dimension() -> None:
    left, right = np.arange(12.0).reshape(2, 3, 2), np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    assert product(left, right)[1, 2].tolist() == [10 * 1 + 11 * 10, 10 * 2 + 11 * 20, 10 * 3 + 11 * 30]
    assert product(left[:0], right).shape == (0, 3, 3)


@pytest.mark.parametrize(("rows", "width", "count"), SHAPES)
def test_a_quadratic_form_of_each_matrix_does_not_see_other_rows(rows: int, width: int, count: int) -> None:
    rng = np.random.default_rng(width)
    left, matrices = rng.normal(size=(rows, width)), rng.normal(size=(count, width, width))
    found = quadratic(left, matrices)
    np.testing.assert_allclose(found, np.einsum("td,ade,te->ta", left, matrices, left), rtol=1e-9, atol=1e-9)
    alone = np.concatenate([quadratic(left[[row]], matrices) for row in range(rows)])
    np.testing.assert_array_equal(found, alone)


def test_a_quadratic_form_has_the_number_that_it_has_by_hand() -> None:
    assert quadratic(np.array([[1.0, 2.0]]), np.array([[[2.0, 1.0], [0.0, 3.0]]])).tolist() == [[2 + 2 + 12]]
