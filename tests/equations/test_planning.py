"""Bellman's equations on dense and sparse models, against values by hand, by recursion and from linear algebra."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.compiled import compiled
from bondhu.domains.probes.markov import corridor, random_problem
from bondhu.equations.planning import (
    Outcomes,
    action_values,
    best_cells,
    best_within,
    cell_values,
    lowest_return,
    policy_values,
    sweep_best,
    sweep_policy,
    values_within,
)

MOVES = np.array([[[0.5, 0.5], [0.0, 0.0]], [[0.0, 1.0], [0.9, 0.0]]])  # state, action, next; 1 action of state 0 ends
GAINS = np.array([[1.0, 3.0], [0.0, 2.0]])
seeds = st.integers(0, 2**32 - 1)


def dense(problem):
    """What goes on, and the mean reward, of the states that are not ends."""
    on = ~problem.ends
    gains = np.einsum("sap,sap->sa", problem.transition, problem.reward)
    return problem.transition[on][:, :, on], gains[on]


def sparse(moves, gains, allowed=None, tries=None, penalty=None):
    """The same as outcomes; every cell of every state."""
    states, actions = gains.shape
    cell, following = np.nonzero(moves.reshape(states * actions, states))
    return Outcomes(
        state=np.arange(states),
        cells=np.arange(states + 1) * actions,
        allowed=np.ones(gains.size, np.bool_) if allowed is None else allowed.ravel(),
        rest=np.full(states, -np.inf),
        tries=np.ones(gains.size) if tries is None else tries.ravel(),
        reward=gains.ravel(),
        penalty=np.zeros(gains.size) if penalty is None else penalty.ravel(),
        first=np.searchsorted(cell, np.arange(gains.size + 1)),
        following=following,
        chance=moves.reshape(states * actions, states)[cell, following],
    )


def swept(outcomes, factor, floor=-np.inf, sharing=0.0):
    """Sweeps until nothing changes: values of states and cells."""
    best, values = np.zeros(len(outcomes.state)), np.empty(len(outcomes.reward))
    for turn in range(2_000):
        if compiled(sweep_best)(best, values, outcomes, (factor, floor, sharing), turn % 2 == 1) < 1e-13:
            break
    return best, values


def test_action_values_look_one_step_ahead():
    values = action_values(MOVES, GAINS, np.array([10.0, 20.0]), 0.5)
    np.testing.assert_allclose(values, [[1 + 0.5 * 15, 3.0], [0.5 * 20, 2 + 0.5 * 9]])


def test_policy_values_solve_their_own_equation_and_are_those_of_the_probe():
    first = np.array([[1.0, 0.0], [0.0, 1.0]])  # V0 = 1 + 0.25 V0 + 0.25 V1, V1 = 2 + 0.45 V0
    values = policy_values(MOVES, GAINS, first, 0.5)
    np.testing.assert_allclose(values, np.linalg.solve([[0.75, -0.25], [-0.45, 1.0]], [1.0, 2.0]))
    problem = random_problem(6, 3, np.random.default_rng(0))
    even = np.full((5, 3), 1 / 3)
    assert policy_values(*dense(problem), even, 0.9)[0] == pytest.approx(problem.value(problem.uniform, 0.9))


def test_values_within_a_limit_count_its_decisions():
    always_forth = np.tile([0.0, 1.0], (8, 1))
    moves, gains = dense(corridor())
    for limit in (0, 3, 8):
        assert values_within(moves, gains, always_forth, limit).tolist() == [float(8 - s <= limit) for s in range(8)]
    np.testing.assert_allclose(values_within(moves, gains, always_forth, 50, 0.9), 0.9 ** np.arange(7, -1, -1))
    even = np.full((2, 2), 0.5)
    long = values_within(MOVES, GAINS, even, 500, 0.9)
    np.testing.assert_allclose(long, policy_values(MOVES, GAINS, even, 0.9), rtol=1e-12)


def test_the_best_within_a_limit_is_the_best_of_all_plans_that_count():
    rules = [np.eye(2)[list(rule)] for rule in product((0, 1), repeat=2)]
    for limit in (1, 2, 3):
        plans = []
        for plan in product(rules, repeat=limit):
            values = np.zeros(2)
            for rule in reversed(plan):
                values = values_within(MOVES, GAINS, rule, 1) + (rule * (MOVES @ values)).sum(axis=1)
            plans.append(values)
        np.testing.assert_allclose(best_within(MOVES, GAINS, limit), np.max(plans, axis=0))


def test_no_return_is_lower_than_the_lowest():
    assert lowest_return(-1.0, 500, 0.9) == pytest.approx(-10.0)
    assert lowest_return(-1.0, 5, 0.999) == -5.0
    assert lowest_return(-2.0, 30, 1.0) == -60.0
    assert lowest_return(0.5, 30, 1.0) == 0.0


def test_cell_values_are_action_values():
    values = np.array([10.0, 20.0])
    cells = cell_values(sparse(MOVES, GAINS), values, 0.5, -np.inf)
    np.testing.assert_allclose(cells, action_values(MOVES, GAINS, values, 0.5).ravel())
    assert cell_values(sparse(MOVES, GAINS), values, 0.5, 6.7)[1:].tolist() == [6.7, 10.0, 6.7]


def test_sharing_moves_a_value_to_the_mean_of_the_tries_and_the_penalty_comes_after():
    tries, penalty = np.array([[3.0, 1.0], [1.0, 1.0]]), np.array([[0.0, 0.5], [0.0, 0.0]])
    outcomes = sparse(np.zeros((2, 2, 2)), GAINS, tries=tries, penalty=penalty)
    mean = (3 * 1.0 + 3.0) / 4
    shared = [(3 * 1.0 + 2 * mean) / 5, (3.0 + 2 * mean) / 3 - 0.5, 2 / 3, 4 / 3]
    np.testing.assert_allclose(cell_values(outcomes, np.zeros(2), 1.0, -np.inf, sharing=2.0), shared)
    best, values = swept(outcomes, 1.0, sharing=2.0)
    np.testing.assert_allclose(values, shared)
    np.testing.assert_allclose(best, [max(shared[:2]), max(shared[2:])])


def test_the_best_cell_is_the_first_of_the_highest_that_is_allowed():
    allowed = np.array([[True, True], [True, False]])
    outcomes = sparse(MOVES, GAINS, allowed)
    assert best_cells(outcomes, np.array([2.0, 2.0, 1.0, 5.0])).tolist() == [0, 2]
    better = outcomes._replace(rest=np.array([3.0, 0.0]))
    assert best_cells(better, np.array([2.0, 2.0, 1.0, 5.0])).tolist() == [-1, 2]
    none = outcomes._replace(allowed=np.zeros(4, np.bool_), rest=np.zeros(2))
    assert best_cells(none, np.arange(4.0)).tolist() == [-1, -1]
    empty = [np.empty(0, np.int64), np.zeros(1, np.int64), np.empty(0, np.bool_)]
    nothing = Outcomes(*empty, *[np.empty(0)] * 4, np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0))
    assert best_cells(nothing, np.empty(0)).tolist() == []
    assert cell_values(nothing, np.zeros(3), 0.9, 0.0, sharing=1.0).tolist() == []


@given(seeds, st.floats(0.0, 0.95), st.booleans())
@settings(max_examples=25, deadline=None)
def test_sweeps_end_at_the_optimum_forwards_or_backwards(seed, factor, masked):
    rng = np.random.default_rng(seed)
    problem = random_problem(6, 3, rng)
    allowed = rng.random((5, 3)) < (0.5 if masked else 1.1)
    allowed[:, 0] = True
    moves, gains = dense(problem)
    best, values = swept(sparse(moves, gains, allowed), factor)
    assert best == pytest.approx(np.where(allowed, values.reshape(5, 3), -np.inf).max(axis=1))
    np.testing.assert_allclose(values.reshape(5, 3), action_values(moves, gains, best, factor), rtol=0, atol=1e-9)
    if not masked:
        np.testing.assert_allclose(values.reshape(5, 3), problem.optimum(factor)[:5], rtol=0, atol=1e-9)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_policy_sweeps_end_at_the_values_of_the_policy(seed):
    rng = np.random.default_rng(seed)
    moves, gains = dense(random_problem(6, 3, rng))
    action, best = rng.integers(3, size=5), np.zeros(5)
    for turn in range(2_000):
        chosen = np.arange(5) * 3 + action
        if compiled(sweep_policy)(best, sparse(moves, gains), chosen, (0.9, -np.inf), turn % 2 == 1) < 1e-13:
            break
    np.testing.assert_allclose(best, policy_values(moves, gains, np.eye(3)[action], 0.9), rtol=0, atol=1e-9)


@given(seeds, st.booleans())
@settings(max_examples=15, deadline=None)
def test_compiled_sweeps_are_the_plain_ones(seed, backwards):
    rng = np.random.default_rng(seed)
    problem = random_problem(5, 2, rng)
    tries, penalty = rng.integers(1, 9, (4, 2)).astype(float), rng.random((4, 2))
    outcomes = sparse(*dense(problem), rng.random((4, 2)) < 0.7, tries, penalty)._replace(rest=rng.random(4))
    best, step = rng.random(4), (0.9, 0.1, 2.0)
    (one, values), (other, others) = ((best.copy(), np.zeros(8)) for _ in range(2))
    changed = sweep_best(one, values, outcomes, step, backwards)
    assert changed == pytest.approx(compiled(sweep_best)(other, others, outcomes, step, backwards), rel=1e-12)
    assert changed == pytest.approx(np.abs(one - best).max())
    np.testing.assert_allclose([*one, *values], [*other, *others], rtol=1e-12)
    chosen = np.array([0, -1, 5, 6])
    one, other = best.copy(), best.copy()
    changed = sweep_policy(one, outcomes, chosen, step[:2], backwards)
    assert changed == compiled(sweep_policy)(other, outcomes, chosen, step[:2], backwards)
    assert one[1] == outcomes.rest[1]
    np.testing.assert_allclose(one, other, rtol=1e-12)
