"""Adaptive steps by hand, against plain Python and against the differential equation that they solve."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.compiled import compiled
from bondhu.equations.adaptive import descend, running_moments, standardised


def zeros(common, own, actions):
    return np.zeros(common), np.zeros((actions, own))


def problem(seed, events=12, common=3, own=2, actions=4):
    rng = np.random.default_rng(seed)
    features, target = rng.normal(size=(events, common + own)), rng.normal(size=events)
    return features, rng.integers(actions, size=events), target, rng.integers(0, 3, events).astype(float)


def by_hand(events, step, common=3, own=2, actions=4):
    """The steps with one flat vector of weights, the shared ones and then those of each action."""
    weights, evidence = np.zeros((2, common + actions * own))
    values = []
    for features, a, target, h in zip(*events, strict=True):
        x = np.zeros(len(weights))
        x[:common] = features[:common]
        x[common + a * own : common + a * own + own] = features[common:]
        values.append(weights @ x)
        if h > 0:
            evidence += h * x**2
            rate = (1.0 + evidence) ** -step[1]
            reach = (x * x * rate).sum()
            weights += (target - values[-1]) * (1.0 - math.exp(-step[0] * h * reach)) / reach * x * rate
    return weights[:common], weights[common:].reshape(actions, own), values


def test_running_moments_are_the_mean_and_the_squares_of_all_rows_so_far():
    rows = np.random.default_rng(0).normal(1e8, 1.0, (50, 2))
    means, squares = running_moments(rows, np.zeros(2), np.zeros(2), 0)
    for t in range(50):
        np.testing.assert_allclose(means[t], rows[: t + 1].mean(axis=0), rtol=1e-15)
        np.testing.assert_allclose(squares[t], ((rows[: t + 1] - means[t]) ** 2).sum(axis=0), rtol=1e-6, atol=1e-6)


@given(st.integers(1, 29))
def test_running_moments_go_on_from_those_of_the_rows_before(cut):
    rows = np.random.default_rng(1).normal(3.0, 2.0, (30, 2))
    whole = np.stack(running_moments(rows, np.zeros(2), np.zeros(2), 0))
    first = np.stack(running_moments(rows[:cut], np.zeros(2), np.zeros(2), 0))
    rest = np.stack(running_moments(rows[cut:], *first[:, -1], cut))
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, rtol=1e-12, atol=1e-12)


def test_standardised_counts_in_deviations_from_the_mean_and_knows_nothing_of_what_never_varied():
    scaled = standardised(np.array([[7.0, 9.0], [1.0, 5.0]]), np.array([3.0, 5.0]), np.array([16.0, 0.0]), 4)
    assert scaled.tolist() == [[2.0, 0.0], [-1.0, 0.0]]
    assert standardised(np.array([[7.0]]), np.zeros(1), np.zeros(1), 0).tolist() == [[0.0]]


def test_a_step_worked_by_hand():
    weights, evidence = zeros(1, 2, 2), zeros(1, 2, 2)
    events = np.array([[1.0, 1.0, 2.0]]), np.array([1]), np.array([3.0]), np.array([2.0])
    assert descend(weights, evidence, events, (0.5, 1.0)).tolist() == [0.0]
    # evidence h·x²: 2, 2 and 8; rates 1/3, 1/3 and 1/9
    reach = 1 / 3 + 1 / 3 + 4 / 9
    move = 3.0 * (1 - math.exp(-0.5 * 2.0 * reach)) / reach
    assert weights[0] == pytest.approx([move / 3])
    assert weights[1][1] == pytest.approx([move / 3, 2 * move / 9])
    assert weights[1][0].tolist() == [0.0, 0.0]
    assert evidence[0].tolist() == [2.0]
    assert evidence[1].tolist() == [[0.0, 0.0], [2.0, 8.0]]


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.75, 1.0]))
@settings(max_examples=30, deadline=None)
def test_descend_agrees_with_one_flat_vector_of_weights_and_with_its_compiled_self(seed, power):
    events = problem(seed)
    expected = by_hand(events, (0.5, power))
    for run in (descend, compiled(descend)):
        weights = zeros(3, 2, 4)
        values = run(weights, zeros(3, 2, 4), events, (0.5, power))
        for ours, theirs in zip((*weights, values), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_descend_solves_the_flow_that_many_small_steps_follow():
    """dw/dh = η·rate·x·error, by Euler's method with 100,000 steps; rates are those that hold with the event."""
    x, target, eta, h = np.array([1.0, 1.0, 0.5]), 2.0, 0.5, 3.0
    weights = zeros(1, 2, 1)
    descend(weights, zeros(1, 2, 1), (x[None], np.array([0]), np.array([target]), np.array([h])), (eta, 0.75))
    rate, flow = (1.0 + h * x**2) ** -0.75, np.zeros(3)
    for _ in range(100_000):
        flow += h / 100_000 * eta * rate * x * (target - flow @ x)
    np.testing.assert_allclose(np.concatenate([weights[0], weights[1][0]]), flow, rtol=1e-4)


@given(st.floats(1e-3, 1e9), st.floats(-5.0, 5.0))
def test_a_step_goes_towards_its_target_and_never_past_it(importance, target):
    features, step = np.array([[1.0, 3.0, -400.0, 1e-3]] * 2), (0.5, 0.75)
    events = features, np.array([0, 0]), np.array([target, target]), np.array([importance, 0.0])
    before, after = descend(zeros(1, 3, 1), zeros(1, 3, 1), events, step).tolist()
    assert before == 0.0
    assert min(target, 0.0) - 1e-9 <= after <= max(target, 0.0) + 1e-9


def test_an_event_without_importance_or_without_features_teaches_nothing():
    weights, evidence = zeros(1, 2, 2), zeros(1, 2, 2)
    events = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), np.array([0, 1]), np.ones(2), np.array([0.0, 1.0])
    descend(weights, evidence, events, (0.5, 0.75))
    assert not any(part.any() for part in (*weights, *evidence))


def test_rewards_in_other_units_give_weights_in_other_units():
    features, action, target, importance = problem(3)
    plain, scaled = zeros(3, 2, 4), zeros(3, 2, 4)
    descend(plain, zeros(3, 2, 4), (features, action, target, importance), (0.5, 0.75))
    descend(scaled, zeros(3, 2, 4), (features, action, 1024.0 * target, importance), (0.5, 0.75))
    for ours, theirs in zip(plain, scaled, strict=True):
        np.testing.assert_array_equal(1024.0 * ours, theirs)


def test_what_is_linear_is_learned():
    rng = np.random.default_rng(0)
    x, truth, action = rng.normal(size=(4_000, 3)), rng.normal(size=(2, 3)), rng.integers(2, size=4_000)
    features = np.hstack([np.ones((4_000, 1)), x])
    weights, target = zeros(1, 3, 2), 0.3 + (x * truth[action]).sum(axis=1)
    compiled(descend)(weights, zeros(1, 3, 2), (features, action, target, np.ones(4_000)), (0.5, 0.75))
    np.testing.assert_allclose(weights[1], truth, atol=0.01)
    assert weights[0] == pytest.approx([0.3], abs=0.01)
