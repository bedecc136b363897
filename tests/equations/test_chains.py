"""Bellman's equation of what was seen, both ways, against dense algebra."""

import numpy as np
import pytest

from bondhu.equations.chains import (
    Falls,
    Rows,
    ahead,
    blind,
    chain,
    chain_values,
    chain_visits,
    falling,
    gmres,
    moves,
    summed,
)

# Two views, 0 and 1, with two actions each: cells 0, 1 and 2, 3. Three sessions.
ROWS = Rows(
    view=np.array([0, 1, 0, 0, 1]),
    cell=np.array([0, 2, 1, 0, 3]),
    following=np.array([1, -1, 0, 1, -1]),
    reward=np.array([1.0, 2.0, 3.0, 5.0, 7.0]),
    first=np.array([0, 2, 4]),
)
FALLS = Falls(np.array([0, 0, 1, 1]), np.arange(4), np.array([0.8, 0.2, 0.4, 0.6]), 2, 4)


def model(weight=(1.0,) * 5, rows=ROWS, falls=FALLS):
    return chain(rows, falls, moves(rows, 2), np.array(weight))


def test_moves_are_counted_once_each():
    keys, made = moves(ROWS, 2)
    assert keys.tolist() == [0 * 2 + 1, 1 * 2 + 0]
    assert made.tolist() == [0, 2, 1, 0, 2]
    assert summed(made, np.ones(5), 3).tolist() == [2, 1, 2]


def test_the_chain_averages_what_was_seen():
    found = model()
    assert found.reward.tolist() == [3, 3, 2, 7]
    assert found.weight.tolist() == [2, 1, 1, 1]
    assert (found.cell.tolist(), found.following.tolist(), found.chance.tolist()) == ([0, 1], [1, 0], [1, 1])
    assert ahead(found, np.array([10.0, 20.0])).tolist() == [20, 10, 0, 0]
    assert falling(found, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx([1.2, 3.6])
    assert not blind(found).any()


def test_values_and_visits_solve_bellmans_equation():
    views, cells = chain_values(model(), 0.9)
    last = 0.4 * 2 + 0.6 * 7
    first = (3 + 0.8 * 0.9 * last) / (1 - 0.2 * 0.9)  # both actions earn 3; one stays
    assert views == pytest.approx([first, last])
    assert cells == pytest.approx([3 + 0.9 * last, 3 + 0.9 * first, 2, 7])
    visits, into = chain_visits(model(), np.array([1.0, 0.0]), 0.9)
    stay = 1 / (1 - 0.18)
    assert visits == pytest.approx([stay, 0.72 * stay])
    assert into @ model().reward == pytest.approx(first)


def test_rows_without_weight_are_not_seen_and_their_chance_is_shared_out():
    found = model((1.0, 1.0, 0.0, 1.0, 1.0))
    assert found.seen == pytest.approx([0.8, 1.0])
    assert chain_values(found, 1.0)[0] == pytest.approx([3 + 5.0, 5.0])


def test_what_leads_to_a_view_of_which_nothing_is_known_says_nothing_of_what_follows():
    rows = ROWS._replace(following=np.array([1, -1, 0, -1, -1]))
    found = model((1.0, 0.0, 1.0, 1.0, 0.0), rows)
    assert blind(found).tolist() == [False, True]
    assert found.lost == pytest.approx([0.5, 0, 0, 0])
    assert chain_values(found, 1.0)[0][0] == pytest.approx(3 / 0.8)  # cell 0 ends, cell 1 stays


@pytest.mark.parametrize("size", [3, 40, 300])
def test_gmres_solves_what_numpy_solves(size):
    rng = np.random.default_rng(size)
    moved = 0.99 * rng.dirichlet(np.full(size, 0.2), size)
    right = rng.normal(size=size)
    found = gmres(lambda v: v - moved @ v, right)
    assert found == pytest.approx(np.linalg.solve(np.eye(size) - moved, right), rel=1e-7, abs=1e-8)


def test_gmres_says_where_there_is_no_solution():
    assert gmres(lambda v: v - np.array([v[1], v[0]]), np.array([1.0, 1.0]), limit=200).tolist() == pytest.approx(
        [np.nan, np.nan], nan_ok=True
    )
    assert gmres(lambda v: v, np.zeros(3)).tolist() == [0, 0, 0]
