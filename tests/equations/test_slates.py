"""The pseudo-inverse estimator against all slates, one by one."""

from itertools import product

import numpy as np
import pytest

from bondhu.equations.slates import pseudo_inverse_weights, repeats
from bondhu.equations.weights import importance

SIZES = (2, 3, 2)


def drawn_at_random(rng):
    """A probability for every action of every slot."""
    return [rng.dirichlet(np.ones(size)) for size in SIZES]


def slates_and(policy):
    """All slates `[S, K]`, their probabilities slot by slot `[S, K]`."""
    slates = np.array(list(product(*map(range, SIZES))))
    return slates, np.stack([policy[k][slates[:, k]] for k in range(len(SIZES))], axis=1)


def indicators(slates):
    return np.hstack([np.eye(size)[slates[:, k]] for k, size in enumerate(SIZES)])


def test_weights_by_hand():
    target = np.array([[0.5, 0.0, 1.0], [1.0, 0.3, 0.2]])
    logged = np.array([[0.25, 0.5, 0.5], [1.0, 0.3, 0.2]])
    assert pseudo_inverse_weights(target, logged).tolist() == [2.0 + 0.0 + 2.0 - 2.0, 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_is_exactly_the_worth_of_the_other_policy_where_slots_add_up(seed):
    rng = np.random.default_rng(seed)
    logging, other = drawn_at_random(rng), drawn_at_random(rng)
    slates, logged = slates_and(logging)
    _, target = slates_and(other)
    reward = indicators(slates) @ rng.normal(1.0, 2.0, sum(SIZES))
    expected = (logged.prod(axis=1) * pseudo_inverse_weights(target, logged) * reward).sum()
    assert expected == pytest.approx(target.prod(axis=1) @ reward, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_the_pseudo_inverse(seed):
    """Swaminathan et al. 2017: w(s) = q' Γ⁺ 1_s with Γ = E_μ[1_s 1_s'] and q = E_π[1_s]."""
    rng = np.random.default_rng(seed)
    logging, other = drawn_at_random(rng), drawn_at_random(rng)
    slates, logged = slates_and(logging)
    _, target = slates_and(other)
    ones = indicators(slates)
    gamma = (ones * logged.prod(axis=1)[:, None]).T @ ones
    by_definition = ones @ np.linalg.pinv(gamma) @ (target.prod(axis=1) @ ones)
    np.testing.assert_allclose(pseudo_inverse_weights(target, logged), by_definition, rtol=0, atol=1e-9)


def test_with_one_slot_it_is_importance_weighting():
    target, logged = np.array([[0.2], [0.9]]), np.array([[0.4], [0.3]])
    np.testing.assert_allclose(pseudo_inverse_weights(target, logged), importance(target, logged)[:, 0])


def test_weights_grow_with_the_slots_and_not_with_the_slates():
    target, logged = np.ones((1, 10)), np.full((1, 10), 0.25)
    assert pseudo_inverse_weights(target, logged) == pytest.approx(31.0)
    assert importance(target, logged).prod() == pytest.approx(4.0**10)


def test_an_interaction_of_slots_makes_it_wrong():
    """What the estimate assumes is assumed in earnest."""
    rng = np.random.default_rng(0)
    logging, other = drawn_at_random(rng), drawn_at_random(rng)
    slates, logged = slates_and(logging)
    _, target = slates_and(other)
    both = (slates[:, 0] == 0) & (slates[:, 1] == 0)
    expected = (logged.prod(axis=1) * pseudo_inverse_weights(target, logged) * both).sum()
    assert abs(expected - target.prod(axis=1) @ both) > 0.01


def test_repeats_by_hand():
    """Slot 0 holds 5, 5, 7; slot 1 holds 5, 7, 9; slot 2 holds 7, 7, 7."""
    found, expected = repeats(np.array([[5, 5, 7], [5, 7, 7], [7, 9, 7]]))
    assert found == 3  # in each slate one pair
    assert expected == pytest.approx((2 * 1 + 1 * 1) / 3 + (1 * 3) / 3 + (1 * 3) / 3)


def test_slots_drawn_independently_repeat_as_often_as_expected():
    slates = np.random.default_rng(0).integers(6, size=(20_000, 3))
    found, expected = repeats(slates)
    assert found == pytest.approx(expected, rel=0.05)
