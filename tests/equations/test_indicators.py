"""Matrices of ones that are never written out, against the same matrices written out."""

from itertools import combinations

import numpy as np
import pytest

from bondhu.equations import indicators as places
from bondhu.equations.indicators import HASH, Indicators, dense, grouped, indicators, of_action, predictions, pulled


def rows_of(codes, width):
    """The ones of each row as plain Python finds them."""
    sizes = [int(column.max()) + 1 for column in codes.T]
    single = min(sum(sizes), width)
    pairs = list(combinations(range(len(sizes)), 2))

    def number(row, pair):
        before = sum(sizes[i] * sizes[j] for i, j in pairs[: pairs.index(pair)])
        return before + int(row[pair[0]]) * sizes[pair[1]] + int(row[pair[1]])

    def below(size, number):
        return (number * HASH % 2**32) * size >> 32

    highest = max((number(row, pairs[-1]) for row in codes), default=-1) if pairs else -1
    left = min(width - single, highest + 1)
    for row in codes:
        ones = [sum(sizes[:field]) + int(code) for field, code in enumerate(row)]
        ones = [below(width, each) for each in ones] if sum(sizes) > width else ones
        hashed = [single + below(left, number(row, pair)) for pair in pairs] if left else []
        yield {0, *(1 + each for each in ones + hashed)}


CASES = {
    "pairs with room": ((3, 4), 60),
    "pairs hashed": ((5, 5, 5, 5, 5, 3, 8, 4), 138),
    "codes hashed": ((40, 50, 60), 20),
    "one field": ((7,), 30),
    "no room for pairs": ((3, 4), 7),
}


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request):
    sizes, width = CASES[request.param]
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, size, 500) for size in sizes], axis=1)
    design = indicators(codes, width)
    return codes, width, design, dense(design), rng


def test_ones_are_where_plain_python_finds_them(case):
    codes, width, design, matrix, _ = case
    assert [set(np.flatnonzero(row)) for row in matrix] == list(rows_of(codes, width))
    assert matrix.shape == design.shape
    assert matrix.max() == 1


def test_moments_of_groups_are_those_of_the_matrix(case):
    *_, design, matrix, rng = case
    group, target, weight = rng.integers(0, 4, 500), rng.normal(size=500), rng.random(500)
    order, bounds = np.argsort(group, kind="stable"), np.cumsum([0, *np.bincount(group, minlength=4)])
    gram, cross = grouped(design, target, order, bounds)
    heavy, across = grouped(design, target, order, bounds, weight)
    for each in range(4):
        own = matrix[group == each]
        assert (gram[each] == own.T @ own).all()  # counts, to the last one
        assert cross[each] == pytest.approx(own.T @ target[group == each])
        assert heavy[each] == pytest.approx(own.T @ (weight[group == each, None] * own))
        assert across[each] == pytest.approx(own.T @ (weight * target)[group == each])


def test_products_are_those_of_the_matrix(case):
    *_, design, matrix, rng = case
    models, which = rng.normal(size=(3, 6, matrix.shape[1])), rng.integers(0, 3, 500)
    expected = np.einsum("tf,taf->ta", matrix, models[which])
    assert predictions(design, models, which) == pytest.approx(expected, abs=1e-12)
    action, target = rng.integers(0, 6, 500), rng.random((500, 6))
    taken = (matrix * models[0][action]).sum(1)
    assert of_action(design, models[0], action) == pytest.approx(taken, abs=1e-12)
    assert pulled(design, target) == pytest.approx(target.T @ matrix)


def test_threads_change_nothing():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (places.FEW + 100, 3))
    design = indicators(codes, 40)
    assert (design.columns[-200:] == indicators(codes, 40).columns[-200:]).all()
    alone = Indicators(design.columns[-200:], design.width)
    models = rng.normal(size=(1, 2, design.width))
    both = [predictions(each, models, np.zeros(len(each.columns), np.int64)) for each in (design, alone)]
    assert (both[0][-200:] == both[1]).all()
    target = np.ones((len(codes), 2))
    assert pulled(design, target)[0] == pytest.approx(dense(design).sum(0))


def test_work_is_shared_out_without_gaps():
    for items, size in ((7, 1), (7, places.FEW + 1), (1, places.FEW + 1), (0, 0)):
        seen = []
        places.in_threads(items, size, lambda part: seen.extend(range(items)[part]))  # noqa: B023  called at once
        assert sorted(seen) == list(range(items))


def test_no_rows_have_no_ones():
    empty = indicators(np.zeros((0, 3), np.int64), 20)
    assert dense(empty).shape == (0, 4)
