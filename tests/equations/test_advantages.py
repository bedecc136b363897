"""Three trajectories in five flat rows, worked by hand: one ends truly, one is cut in the middle, one is one row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bondhu.equations import advantages
from bondhu.equations.returns import returns_to_go

REWARD = np.array([1.0, 4.0, 3.0, 4.0, 5.0])
CONTINUING = np.array([0.5, 0.0, 0.5, 0.5, 0.5])  # γ = ½; the first trajectory ends at row 1
LINKED = np.array([1.0, 0.0, 1.0, 0.0, 0.0])  # the second is cut at row 3, the third at row 4
VALUE = np.array([1.0, 2.0, 4.0, 2.0, 1.0])
NEXT_VALUE = np.array([2.0, 99.0, 2.0, 8.0, 6.0])  # nobody may look at the 99 after the end
RATIO = np.array([2.0, 0.5, 0.5, 2.0, 0.25])

gae = jax.jit(advantages.generalized_advantages)
returns = jax.jit(advantages.lambda_returns)
trace = jax.jit(advantages.v_trace)
recurrence = jax.jit(advantages.recurrence)
explained_variance = jax.jit(advantages.explained_variance)
numbers = arrays(np.float32, 5, elements=st.floats(-10, 10, width=32))
flags = arrays(np.bool_, 5)


def test_a_recurrence_runs_backwards_and_starts_from_nothing():
    found = recurrence(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.5, 0.25, 0.0, 0.5, 7.0]))
    assert found.tolist() == [1 + 0.5 * 2.75, 2 + 0.25 * 3, 3.0, 6.5, 5.0]


@pytest.mark.parametrize("way", [advantages._looped, advantages._doubled])
def test_both_ways_to_run_a_recurrence_are_the_plain_loop(way):
    start, keep = np.random.default_rng(1).normal(size=(2, 37, 2)).astype(np.float32)
    expected = np.zeros((38, 2))
    for t in range(36, -1, -1):
        expected[t] = start[t] + keep[t] * expected[t + 1]
    assert np.asarray(jax.jit(way)(start, keep)) == pytest.approx(expected[:37], rel=1e-4, abs=1e-4)


def test_a_gradient_flows_back_through_a_recurrence():
    slope = jax.jit(jax.grad(lambda start: recurrence(start, np.array([0.5, 0.25, 0.0, 0.5, 7.0]))[0]))(np.ones(5))
    assert slope.tolist() == [1.0, 0.5, 0.125, 0.0, 0.0]


def test_advantages_bootstrap_at_a_cut_and_not_after_an_end():
    found = gae(REWARD, CONTINUING, LINKED, VALUE, NEXT_VALUE, 0.5)
    assert found.tolist() == [1.5, 2.0, 1.5, 6.0, 7.0]
    assert found.dtype == jnp.float32


def test_returns_mix_the_value_with_what_followed():
    found = returns(REWARD, CONTINUING, LINKED, NEXT_VALUE, 0.5)
    assert found.tolist() == [2.5, 4.0, 5.5, 8.0, 8.0]


def test_returns_without_decay_are_one_step_targets():
    found = returns(REWARD, CONTINUING, LINKED, NEXT_VALUE, 0.0)
    assert found.tolist() == [2.0, 4.0, 4.0, 8.0, 8.0]


def test_v_trace_clips_its_ratios_and_bootstraps_at_a_cut():
    target, advantage = trace(np.log(RATIO), REWARD, CONTINUING, LINKED, VALUE, NEXT_VALUE, 1.0, 1.0)
    assert target.tolist() == pytest.approx([2.5, 3.0, 5.5, 8.0, 2.75])
    assert advantage.tolist() == pytest.approx([1.5, 1.0, 1.5, 6.0, 1.75])


def test_v_trace_of_the_policy_that_acted_is_the_lambda_return():
    target, _ = trace(np.zeros(5), REWARD, CONTINUING, LINKED, VALUE, NEXT_VALUE, 1.0, 0.5)
    assert target.tolist() == pytest.approx(returns(REWARD, CONTINUING, LINKED, NEXT_VALUE, 0.5).tolist())


def test_v_trace_survives_a_ratio_that_overflows():
    target, advantage = trace(np.full(5, 1000.0), REWARD, CONTINUING, LINKED, VALUE, NEXT_VALUE, 1.0, 1.0)
    assert np.isfinite(target).all()
    assert np.isfinite(advantage).all()


def test_nothing_crosses_a_boundary():
    louder = REWARD + np.array([0.0, 0.0, 1e3, 1e3, 1e3])
    for found, again in (
        (
            gae(REWARD, CONTINUING, LINKED, VALUE, NEXT_VALUE, 0.5),
            gae(louder, CONTINUING, LINKED, VALUE, NEXT_VALUE, 0.5),
        ),
        (returns(REWARD, CONTINUING, LINKED, NEXT_VALUE, 0.5), returns(louder, CONTINUING, LINKED, NEXT_VALUE, 0.5)),
    ):
        assert found.tolist()[:2] == again.tolist()[:2]


@settings(max_examples=25, deadline=None)
@given(numbers, numbers, numbers, flags, flags, st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_advantages_are_those_of_a_plain_loop(reward, value, next_value, ended, linked, decay):
    linked = linked & ~ended
    linked[-1] = False
    continuing = (0.9 * ~ended).astype(np.float32)
    expected = np.zeros(6)
    for t in range(4, -1, -1):
        error = reward[t] + continuing[t] * next_value[t] - value[t]
        expected[t] = error + (decay * continuing[t] * expected[t + 1] if linked[t] else 0.0)
    found = gae(reward, continuing, linked.astype(np.float32), value, next_value, decay)
    assert np.asarray(found) == pytest.approx(expected[:5], abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(numbers, numbers, flags, flags)
def test_undecayed_returns_are_the_returns_to_go(reward, next_value, ended, linked):
    linked = linked & ~ended
    linked[-1] = False
    discount = (~ended).astype(np.float32)
    found = returns(reward, np.float32(0.9) * discount, linked.astype(np.float32), next_value, 1.0)
    assert np.asarray(found) == pytest.approx(returns_to_go(reward, discount, linked, 0.9, next_value), abs=1e-4)


def test_explained_variance_counts_only_rows_with_weight():
    actual = np.array([1.0, 2.0, 3.0, 99.0])
    weight = np.array([1.0, 1.0, 1.0, 0.0])
    assert explained_variance(np.array([1.0, 2.0, 2.0, 0.0]), actual, weight) == pytest.approx(2 / 3)
    assert explained_variance(actual, actual, weight) == 1.0
    assert explained_variance(np.full(4, 7.0), actual, weight) == pytest.approx(0.0, abs=1e-6)
    assert explained_variance(-actual, actual, weight) == pytest.approx(-3.0)


def test_nothing_is_explained_where_nothing_varies():
    assert explained_variance(np.arange(4.0), np.full(4, 3.0), np.ones(4)) == 0.0


def test_the_rounding_of_a_constant_is_nothing_to_explain():
    rows, weight = np.linspace(-2.0, 2.0, 50, dtype=np.float32), np.ones(50)
    for constant in (0.1, 1e3, -1e-4):
        assert explained_variance(rows, np.full(50, constant, np.float32), weight) == 0.0


def test_small_returns_are_explained_as_large_ones_are():
    actual = 1e-6 * np.arange(4.0)
    assert explained_variance(0.5 * actual, actual, np.ones(4)) == pytest.approx(0.75)
