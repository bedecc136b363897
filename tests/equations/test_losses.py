"""Losses worked by hand, and the gradients that must and must not flow."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bondhu.equations import losses

clipped_policy, clipped_value = jax.jit(losses.clipped_policy), jax.jit(losses.clipped_value)
huber, policy_gradient = jax.jit(losses.huber), jax.jit(losses.policy_gradient)
kl_k1, kl_k3 = jax.jit(losses.kl_k1), jax.jit(losses.kl_k3)
mean, standardised = jax.jit(losses.mean), jax.jit(losses.standardised)


def slope(function, argument, *rest):
    """The gradient of the summed loss with respect to one argument."""
    return jax.jit(jax.grad(lambda x: function(x, *rest).sum()))(argument)


def test_the_clipped_policy_takes_the_worse_of_both():
    ratio = np.array([1.5, 1.5, 0.5, 0.5])
    found = clipped_policy(np.log(ratio), np.array([2.0, -2.0, 2.0, -2.0]), 0.2)
    assert found.tolist() == pytest.approx([-2.4, 3.0, -1.0, 1.6])


def test_the_clipped_policy_pushes_only_where_it_is_not_past_the_clip():
    ratio = np.array([1.5, 1.5, 0.5, 0.5])
    found = slope(clipped_policy, np.log(ratio), np.array([2.0, -2.0, 2.0, -2.0]), 0.2)
    assert found.tolist() == pytest.approx([0.0, 3.0, -1.0, 0.0])


def test_a_ratio_that_would_overflow_leaves_a_finite_loss_and_gradient():
    extreme, advantage = np.array([200.0, -200.0, 200.0, 0.0]), np.array([0.0, 1.0, -1.0, 0.0])
    assert np.isfinite(clipped_policy(extreme, advantage, 0.2)).all()
    assert np.isfinite(slope(clipped_policy, extreme, advantage, 0.2)).all()


def test_the_clipped_value_takes_the_larger_error():
    found = clipped_value(np.array([2.0, 1.2, 2.0]), np.ones(3), np.array([3.0, 3.0, 1.0]), 0.5)
    assert found.tolist() == pytest.approx([0.5 * 1.5**2, 0.5 * 1.8**2, 0.5])


def test_the_policy_gradient_weighs_log_probabilities():
    found = policy_gradient(np.array([-1.0, -2.0]), np.array([3.0, -0.5]))
    assert found.tolist() == [3.0, -1.0]
    assert slope(policy_gradient, np.array([-1.0, -2.0]), np.array([3.0, -0.5])).tolist() == [-3.0, 0.5]


def test_no_gradient_flows_through_advantages_targets_and_old_values():
    here, other = np.array([0.1, 0.2]), np.array([1.0, -1.0])
    assert slope(lambda a: clipped_policy(here, a, 0.2), other).tolist() == [0.0, 0.0]
    assert slope(lambda a: policy_gradient(here, a), other).tolist() == [0.0, 0.0]
    assert slope(lambda a: clipped_value(here, a, other, 0.2), other).tolist() == [0.0, 0.0]
    assert slope(lambda a: clipped_value(here, other, a, 0.2), other).tolist() == [0.0, 0.0]


def test_huber_is_square_inside_and_straight_outside():
    assert huber(np.array([-3.0, -0.5, 0.0, 1.0, 4.0])).tolist() == [2.5, 0.125, 0.0, 0.5, 3.5]
    assert huber(np.array([3.0, 1.0]), 2.0).tolist() == [4.0, 0.5]
    assert slope(huber, np.array([-3.0, -0.5, 0.0, 1.0, 4.0])).tolist() == [-1.0, -0.5, 0.0, 1.0, 1.0]


def test_both_estimators_have_the_divergence_as_their_mean():
    old, new = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    log_ratio = np.log(new / old)
    divergence = float(old @ np.log(old / new))
    assert float(old @ np.asarray(kl_k1(log_ratio))) == pytest.approx(divergence, rel=1e-5)
    assert float(old @ np.asarray(kl_k3(log_ratio))) == pytest.approx(divergence, rel=1e-5)


def test_single_rows_of_the_estimators():
    log_ratio = np.log(np.array([2.0, 1.0, 0.5]))
    assert kl_k1(log_ratio).tolist() == pytest.approx([-np.log(2), 0.0, np.log(2)])
    assert kl_k3(log_ratio).tolist() == pytest.approx([1 - np.log(2), 0.0, np.log(2) - 0.5])


def test_a_huge_log_ratio_leaves_the_divergence_and_its_slope_finite():
    far = np.array([90.0, 1e4, -90.0])
    assert kl_k3(far).tolist() == pytest.approx([np.expm1(20.0) - 20.0] * 2 + [19.0], rel=1e-6)
    assert slope(kl_k3, far).tolist() == [0.0, 0.0, 0.0]


def test_the_mean_leaves_out_rows_without_weight():
    assert mean(np.array([1.0, 2.0, 99.0]), np.array([3.0, 1.0, 0.0])) == 1.25
    assert mean(np.array([1.0, 2.0, 99.0]), np.zeros(3)) == 0.0


def test_standardised_rows_leave_out_rows_without_weight():
    found = standardised(np.array([1.0, 3.0, 99.0]), np.array([1.0, 1.0, 0.0]))
    assert found.tolist()[:2] == pytest.approx([-1.0, 1.0], abs=1e-6)


def test_equal_values_standardise_to_nothing():
    found = standardised(np.full(3, 0.1), np.array([1.0, 1.0, 0.0]))
    assert np.asarray(found) == pytest.approx(np.zeros(3), abs=1e-3)
    assert np.isfinite(slope(standardised, np.full(3, 0.1), np.ones(3))).all()


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.float32, 16, elements=st.floats(-100, 100, width=32)),
    arrays(np.float32, 16, elements=st.sampled_from([0.0, 0.5, 1.0])),
)
def test_standardised_values_have_mean_zero_and_variance_at_most_one(values, weight):
    weight[0] = 1.0
    found = np.asarray(standardised(values, weight), np.float64)
    share = weight / weight.sum()
    assert float(share @ found) == pytest.approx(0.0, abs=1e-3)
    assert float(share @ found**2) <= 1.0 + 1e-3
