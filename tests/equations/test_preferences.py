"""Weights from choices: closed forms by hand, the slopes against differences, and what cannot be learned."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bondhu.equations.preferences import Choices, Normal, chance, log_chances, pairs, posterior, prior, sure


def some(rows: int = 40, things: int = 4, features: int = 3, seed: int = 0) -> Choices:
    rng = np.random.default_rng(seed)
    seen, allowed = rng.standard_normal((rows, things, features)), rng.random((rows, things)) < 0.7
    action = rng.integers(things, size=rows)
    allowed[np.arange(rows), action] = True
    return Choices(seen, allowed, action, rng.random(rows))


def density(choices: Choices, before: Normal, weights: np.ndarray) -> float:
    chosen = log_chances(choices, weights)[np.arange(len(choices.action)), choices.action]
    return float(choices.worth @ chosen - 0.5 * (weights - before.mean) @ before.precision @ (weights - before.mean))


def test_nothing_is_known_beforehand_but_how_large_weights_may_be() -> None:
    nothing = prior(2, 4.0)
    np.testing.assert_array_equal(nothing.mean, [0, 0])
    np.testing.assert_allclose(nothing.covariance, [[16, 0], [0, 16]])


def test_a_choice_is_e_times_likelier_for_one_more() -> None:
    choices = Choices(np.array([[[1.0], [0.0], [5.0]]]), np.array([[True, True, False]]), np.array([0]), np.ones(1))
    np.testing.assert_allclose(
        np.exp(log_chances(choices, np.array([1.0]))), [[math.e / (1 + math.e), 1 / (1 + math.e), 0]]
    )
    huge = log_chances(choices, np.array([1e4]))
    assert huge[0, 0] == 0.0
    assert huge[0, 1] == -1e4


def test_two_pairs_of_one_feature_by_hand() -> None:
    # w / s² = 2·σ(-w): with s² = 2·ln 3 it is w = ln 3, where σ(-w) = 1/4 and the curvature 1/s² + 2·(3/4)(1/4).
    spread = math.sqrt(2 * math.log(3))
    known = posterior(pairs(np.ones((2, 1)), np.zeros((2, 1))), prior(1, spread))
    assert known.mean[0] == pytest.approx(math.log(3), abs=1e-9)
    assert known.precision[0, 0] == pytest.approx(1 / (2 * math.log(3)) + 3 / 8, abs=1e-9)


def test_the_likeliest_weights_have_no_slope_and_the_curvature_is_that_of_the_density() -> None:
    choices, before, step = some(), Normal(np.array([0.3, -0.2, 0.0]), np.diag([0.5, 1.0, 2.0])), 1e-4
    known = posterior(choices, before)
    for one in np.eye(3):
        up, down = (density(choices, before, known.mean + way * step * one) for way in (1, -1))
        assert (up - down) / (2 * step) == pytest.approx(0.0, abs=1e-6)
        curved = (up + down - 2 * density(choices, before, known.mean)) / step**2
        assert -curved == pytest.approx(one @ known.precision @ one, rel=1e-4)


def test_a_choice_that_counts_twice_is_as_good_as_two() -> None:
    once = some()
    doubled = Choices(*(np.concatenate([part, part]) for part in once))
    twice = once._replace(worth=2 * once.worth)
    np.testing.assert_allclose(posterior(twice, prior(3, 2.0)).mean, posterior(doubled, prior(3, 2.0)).mean)
    nothing = posterior(once._replace(worth=0 * once.worth), prior(3, 2.0))
    np.testing.assert_array_equal(nothing.mean, np.zeros(3))


def test_of_no_choices_the_prior_is_left() -> None:
    before = prior(2, 3.0)
    assert posterior(pairs(np.empty((0, 2)), np.empty((0, 2))), before) is before


def test_choices_that_one_feature_explains_without_error_have_finite_weights() -> None:
    known = posterior(pairs(np.full((1000, 1), 100.0), np.zeros((1000, 1))), prior(1, 1000.0))
    assert 0.0 < known.mean[0] < 1.0
    assert np.isfinite(known.precision).all()


def test_how_sure_it_is_that_more_is_preferred() -> None:
    known = Normal(np.array([1.0, 0.0]), np.diag([1.0, 4.0]))
    found = sure(known, np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 2.0]]))
    # Φ(1), Φ(-1), Φ(0), nothing differs, Φ(1/√2)
    np.testing.assert_allclose(found, [0.841345, 0.158655, 0.5, 0.5, 0.760250], atol=1e-6)


def test_the_chance_of_being_chosen_is_nearer_to_a_half_the_less_is_known() -> None:
    differing = np.array([1.0])
    known = [
        float(chance(Normal(np.array([2.0]), np.array([[precision]])), differing)) for precision in (1e9, 1.0, 0.01)
    ]
    assert known[0] == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-6)
    assert known[1] == pytest.approx(1 / (1 + math.exp(-2 / math.sqrt(1 + math.pi / 8))), abs=1e-9)
    assert known[0] > known[1] > known[2] > 0.5
    rng = np.random.default_rng(0)
    drawn = 1 / (1 + np.exp(-(2.0 + rng.standard_normal(200_000))))
    assert known[1] == pytest.approx(drawn.mean(), abs=0.005)  # MacKay's is an approximation
