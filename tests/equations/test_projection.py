"""Bellman's equation on linear features: with one indicator for each state it is the table's, in closed form."""

import numpy as np
import pytest

from bondhu.equations.projection import Sums, action_sums, added, narrowed, solve_both, state_sums, unseen

# States 0 and 1 as indicators; four decisions in two sessions; the last row is beyond a cut.
FEATURES = np.eye(2)[[0, 1, 0, 0, 1]]
TARGET = np.array([[0.75, 0.25]] * 5)
FOLLOWING = np.array([1, -1, 3, 4])
ACTION, REWARD = np.array([0, 1, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0])
EVERY, FIRST = np.arange(4), np.array([0, 2])


def direct(factor):
    """Row by row, as the definition says."""
    here = np.array([np.kron(np.eye(2)[ACTION[t]], FEATURES[t]) for t in range(4)])
    next_ = np.array([np.kron(TARGET[f], FEATURES[f]) if f >= 0 else np.zeros(4) for f in FOLLOWING])
    return here.T @ (here - factor * next_), here.T @ REWARD, sum(np.kron(TARGET[f], FEATURES[f]) for f in FIRST)


@pytest.mark.parametrize("factor", [0.9, 1.0])
def test_sums_are_those_of_the_definition(factor):
    found = action_sums((FEATURES, TARGET), FOLLOWING, (ACTION, REWARD), (EVERY, FIRST), factor)
    for ours, theirs in zip(found, direct(factor), strict=True):
        assert ours == pytest.approx(theirs)


def test_sums_of_parts_add_up():
    parts = [
        action_sums((FEATURES, TARGET), FOLLOWING, (ACTION, REWARD), (np.array(rows), np.array([rows[0]])), 0.9)
        for rows in ([0, 1], [2, 3])
    ]
    for ours, theirs in zip(added(parts), direct(0.9), strict=True):
        assert ours == pytest.approx(theirs)


def test_values_and_visits_give_the_same_return():
    sums = Sums(*direct(0.9))
    theta, eta = solve_both(sums, ridge=1e-9)
    assert sums.start @ theta == pytest.approx(sums.right @ eta)
    nothing = solve_both(Sums(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones(2), np.ones(2)), ridge=0.0)
    assert np.isnan(nothing[0]).all()


def test_sums_of_states_weigh_what_was_done():
    weights = np.array([2.0, 0.5, 1.0, 0.0])
    found = state_sums(FEATURES, FOLLOWING, (weights, REWARD), FIRST, 0.5)
    # state 0: rows 0 (to 1), 2 (to 0), 3 (no weight); state 1: row 1, an end
    assert found.matrix == pytest.approx(np.array([[2 + 1 - 0.5, -1.0], [0, 0.5]]))
    assert found.right == pytest.approx([2 * 1 + 1 * 3, 0.5 * 2])
    assert found.start == pytest.approx([2, 0])


def test_a_narrow_design_gains_products_and_a_wide_one_keeps_what_varies_most():
    rng = np.random.default_rng(0)
    design = np.hstack([np.ones((200, 1)), rng.normal(size=(200, 2))])
    wide = narrowed(design, 10)
    assert wide.shape == (200, 1 + 2 + 3)
    product = design[:, 1] * design[:, 2]
    assert wide[:, 4] == pytest.approx((product - product.mean()) / product.std())
    many = np.hstack([np.ones((200, 1)), rng.normal(size=(200, 30)) * np.append(np.full(3, 50.0), np.full(27, 0.01))])
    few = narrowed(many, 4)
    assert few.shape == (200, 4)
    left = many - few @ np.linalg.lstsq(few, many, rcond=None)[0]
    assert np.abs(left).max() < 0.1
    indicators = np.hstack([np.ones((200, 1)), np.eye(4)[rng.integers(4, size=200)]])
    assert narrowed(indicators, 50).shape == (200, 5)


def test_what_rows_do_not_tell_is_named():
    """Three rows of state 0, two of state 1, none of state 2: also where all share a constant."""
    state = np.eye(3)
    known = state[[0, 0, 0, 1, 1]]
    assert unseen(state, known, np.ones(5)).tolist() == [False, False, True]
    assert unseen(state, known, np.array([0.0, 0.5, 0.25, 0.75, 0.5])).tolist() == [True, False, True]  # 1 / 1.75
    constant = np.ones((5, 1))
    both = unseen(np.hstack([constant[:3], state]), np.hstack([constant, known]), np.ones(5))
    assert both.tolist() == [False, False, True]
