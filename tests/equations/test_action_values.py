"""Targets and losses of action values, worked by hand."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bondhu.equations import action_values

REWARD = np.array([1.0, 2.0, 3.0])
CONTINUING = np.array([0.5, 0.0, 0.5])  # the second row ends truly
ONLINE = np.array([[1.0, 3.0], [5.0, 4.0], [2.0, -2.0]])
TARGET = np.array([[8.0, 6.0], [9.0, 9.0], [-4.0, 10.0]])
SECOND = np.array([[False, True], [False, False], [False, True]])  # only the second action; none after the end

taken, dueling = jax.jit(action_values.taken), jax.jit(action_values.dueling)
q_target, double_q_target = jax.jit(action_values.q_target), jax.jit(action_values.double_q_target)
project = jax.jit(action_values.categorical_projection)
categorical_loss = jax.jit(action_values.categorical_loss)
quantile_loss = jax.jit(action_values.quantile_loss, static_argnums=2)


def test_the_value_of_the_taken_action():
    assert taken(ONLINE, np.array([1, 0, 0])).tolist() == [3.0, 5.0, 2.0]
    atoms = np.arange(12.0).reshape(2, 3, 2)
    assert taken(atoms, np.array([2, 0])).tolist() == [[4.0, 5.0], [6.0, 7.0]]


def test_the_target_takes_the_best_next_value_and_none_after_an_end():
    assert q_target(REWARD, CONTINUING, TARGET).tolist() == [5.0, 2.0, 8.0]


def test_the_double_target_lets_one_choose_and_the_other_value():
    assert double_q_target(REWARD, CONTINUING, ONLINE, TARGET).tolist() == [4.0, 2.0, 1.0]


def test_a_disallowed_action_is_never_chosen():
    assert q_target(REWARD, CONTINUING, ONLINE, SECOND).tolist() == [2.5, 2.0, 2.0]
    assert double_q_target(REWARD, CONTINUING, ONLINE, TARGET, SECOND).tolist() == [4.0, 2.0, 8.0]


def test_a_state_without_an_allowed_action_is_worth_nothing():
    nowhere = np.zeros((3, 2), bool)
    assert q_target(REWARD, CONTINUING, TARGET, nowhere).tolist() == REWARD.tolist()
    assert double_q_target(REWARD, CONTINUING, ONLINE, TARGET, nowhere).tolist() == REWARD.tolist()


def test_the_gradient_through_a_target_with_all_but_one_action_masked_is_finite():
    found = jax.jit(jax.grad(lambda values: q_target(REWARD, CONTINUING, values, SECOND).sum()))(ONLINE)
    assert found.tolist() == [[0.0, 0.5], [0.0, 0.0], [0.0, 0.5]]


def test_dueling_advantages_have_mean_zero():
    found = dueling(np.array([[[10.0, 20.0]]]), np.array([[[1.0, 0.0], [2.0, 0.0], [6.0, 3.0]]]))
    assert found.tolist() == [[[8.0, 19.0], [9.0, 19.0], [13.0, 22.0]]]


def test_the_projection_shares_mass_between_neighbours_and_keeps_it_at_the_ends():
    probabilities = np.tile(np.array([0.2, 0.5, 0.3]), (4, 1))
    reward = np.array([0.5, 1.25, 9.0, -9.0])
    found = project(probabilities, reward, np.array([0.5, 0.0, 0.5, 0.5]), np.array([0.0, 1.0, 2.0]))
    expected = [[0.1, 0.75, 0.15], [0.0, 0.75, 0.25], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert np.asarray(found) == pytest.approx(np.array(expected), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.float32, (4, 3), elements=st.floats(0.125, 1, width=32)),
    arrays(np.float32, 4, elements=st.floats(-3, 3, width=32)),
    arrays(np.float32, 4, elements=st.floats(0, 1, width=32)),
)
def test_the_projection_keeps_all_mass_and_inside_the_support_the_mean(weights, reward, continuing):
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    support = np.array([-1.0, 0.0, 1.0], np.float32)
    found = np.asarray(project(probabilities, reward, continuing, support))
    moved = np.clip(reward[:, None] + continuing[:, None] * support, -1, 1)
    assert found.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert found @ support == pytest.approx((probabilities * moved).sum(axis=1), abs=1e-5)


def test_the_categorical_loss_is_a_cross_entropy_that_holds_its_target():
    logits, target = np.log(np.array([[0.5, 0.25, 0.25]])), np.array([[0.5, 0.5, 0.0]])
    assert categorical_loss(logits, target).tolist() == pytest.approx([1.5 * np.log(2)])
    slope = jax.jit(jax.grad(lambda both: categorical_loss(both[0], both[1])[0]))((logits, target))
    assert slope[0][0].tolist() == pytest.approx([0.0, -0.25, 0.25], abs=1e-6)
    assert slope[1].tolist() == [[0.0, 0.0, 0.0]]


def test_the_quantile_loss_tilts_by_the_level():
    assert quantile_loss(np.array([[0.0, 2.0]]), np.array([[1.0]])).tolist() == [0.25]
    assert quantile_loss(np.array([[0.0, 2.0]]), np.array([[1.0]]), 0.0).tolist() == [0.5]
    assert quantile_loss(np.array([[3.0, -4.0]]), np.array([[0.0, 0.0]])).tolist() == [0.75 * 2.5 + 0.75 * 3.5]


def test_the_quantile_loss_rests_at_the_quantiles_and_holds_its_targets():
    quantiles, targets = np.array([[0.5, 2.5]]), np.array([[0.0, 1.0, 2.0, 3.0]])
    slope = jax.jit(jax.grad(lambda both: quantile_loss(both[0], both[1], 0.0)[0]))((quantiles, targets))
    assert slope[0].tolist() == [[0.0, 0.0]]
    assert slope[1].tolist() == [[0.0, 0.0, 0.0, 0.0]]
