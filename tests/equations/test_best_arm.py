"""When the best action is known, against values worked out by hand and published ones."""

import math

import numpy as np
import pytest

from bondhu.equations.bernoulli import divergence
from bondhu.equations.best_arm import allocation, lead, needed, ready, regret, shared_out, tries_beside


def test_the_lead_of_four_of_four_over_none_of_four_is_eight_bits():
    # Under one mean of 1/2 all eight rewards have a likelihood of 2^-8, under their own means of 1.
    assert lead(1.0, 4.0, 0.0, 4.0) == pytest.approx(8 * math.log(2))
    assert lead(0.5, 10.0, 0.5, 3.0) == 0.0
    assert lead(0.5, 0.0, 0.2, 0.0) == 0.0


def test_the_lead_is_the_smallest_sum_of_divergences_to_one_mean():
    grid = np.linspace(0.001, 0.999, 9_981)
    sums = [30 * divergence(0.6, q) + 20 * divergence(0.35, q) for q in grid]
    assert lead(0.6, 30.0, 0.35, 20.0) == pytest.approx(min(sums), abs=1e-6)


def test_regret_is_the_best_likelihood_over_the_beta_mixture():
    # One of two: (1/2)^2 over B(3/2, 3/2) / B(1/2, 1/2) = 1/8. None of one: 1 over 1/2. Nothing seen: 1 over 1.
    assert regret(1.0, 2.0) == pytest.approx(math.log(2))
    assert regret(0.0, 1.0) == pytest.approx(math.log(2))
    assert regret(0.0, 0.0) == 0.0


@pytest.mark.parametrize(("won", "tries"), [(3.0, 10.0), (50.0, 100.0), (700.0, 1_000.0), (2.5, 9.0)])
def test_regret_is_at_most_what_krichevsky_and_trofimov_bound_it_by(won, tries):
    assert 0.0 < regret(won, tries) <= math.log(2) + math.log(tries) / 2


def test_what_is_needed_is_the_logarithm_of_pairs_over_risk_and_both_regrets():
    assert needed(0.05, 5, 1.25, 0.5) == pytest.approx(math.log(80) + 1.75)
    assert needed(0.1, 2, 0.0, 0.0) == pytest.approx(math.log(10))


@pytest.mark.parametrize(
    ("means", "published"),
    [
        ([0.5, 0.45, 0.43, 0.4], [0.417, 0.390, 0.136, 0.057]),
        ([0.3, 0.21, 0.2, 0.19, 0.18], [0.336, 0.251, 0.177, 0.132, 0.104]),
    ],
)
def test_shares_are_those_that_garivier_and_kaufmann_print(means, published):
    shares, _ = allocation(np.array(means), np.ones(len(means), bool))
    np.testing.assert_allclose(shares, published, atol=6e-4)


def test_hardness_is_one_over_the_smallest_lead_of_these_shares_which_all_pairs_have():
    means = np.array([0.6, 0.4, 0.3])
    shares, hardness = allocation(means, np.ones(3, bool))
    leads = [lead(0.6, shares[0], means[a], shares[a]) for a in (1, 2)]
    np.testing.assert_allclose(leads, 1 / hardness, rtol=1e-6)
    others = np.random.default_rng(0).dirichlet(np.ones(3), 500)
    assert max(min(lead(0.6, w[0], means[a], w[a]) for a in (1, 2)) for w in others) <= 1 / hardness + 1e-9


def test_what_is_not_there_gets_nothing_and_equals_share_evenly():
    shares, hardness = allocation(np.array([0.9, 0.6, 0.4]), np.array([False, True, True]))
    alone, same = allocation(np.array([0.6, 0.4]), np.ones(2, bool))
    np.testing.assert_allclose(shares, [0.0, *alone], atol=1e-9)
    assert hardness == pytest.approx(same)
    shares, hardness = allocation(np.array([0.5, 0.5, 0.1]), np.ones(3, bool))
    assert shares.tolist() == [0.5, 0.5, 0.0]
    assert hardness == math.inf


def test_tries_beside_solve_their_equation():
    x = tries_beside(0.6, 0.4, 0.01)
    middle = (0.6 + x * 0.4) / (1 + x)
    assert divergence(0.6, middle) + x * divergence(0.4, middle) == pytest.approx(0.01)


def test_compiled_and_plain_agree():
    means, there = np.array([0.7, 0.2, 0.65]), np.ones(3, bool)
    ours, theirs = ready(shared_out)(means, there), shared_out(means, there)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9)
    assert ours[1] == pytest.approx(theirs[1])
