"""Confidence sequences on numbers worked by hand, against their own inverses, and over whole simulated paths."""

from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.intervals import empirical_bernstein
from bondhu.equations.sequences import (
    always_valid_p,
    confidence_sequence,
    empirical_bernstein_path,
    empirical_bernstein_sequence,
    radius,
)

NARROWEST = 8.211968062  # solves v = ln((v + 1) / .05^2), where the derivative of the radius is 0


def test_the_narrowest_spread_solves_its_equation():
    assert log((NARROWEST + 1) / 0.05**2) == pytest.approx(NARROWEST)


def test_radius_by_hand():
    assert radius(1_000, 0.95) == pytest.approx(sqrt(NARROWEST + 1))  # there ln((v + 1) / alpha^2) is v
    assert radius(100, 0.95, tuned=100) == radius(1_000, 0.95)
    v = NARROWEST / 2
    assert radius(500, 0.9) == pytest.approx(sqrt((v + 1) / v * log((v + 1) / 0.1**2)))


def test_radius_takes_many_counts_at_once_and_is_infinite_before_the_first():
    counts = np.array([0.0, 10.0, 1_000.0])
    assert radius(counts, 0.95).tolist() == [np.inf, radius(10, 0.95), radius(1_000, 0.95)]
    assert isinstance(radius(10, 0.95), float)


@pytest.mark.parametrize("tuned", [50.0, 1_000.0, 200_000.0])
def test_nothing_is_narrower_at_the_tuned_count(tuned):
    others = tuned * np.exp(np.linspace(-3, 3, 61))
    assert radius(tuned, 0.95, tuned) == pytest.approx(min(radius(tuned, 0.95, other) for other in others), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.99, 0.999])
def test_one_mixture_is_near_the_narrowest_for_every_confidence(confidence):
    best = min(radius(1_000, confidence, tuned) for tuned in np.linspace(300, 3_000, 200))
    assert radius(1_000, confidence) < 1.01 * best


def test_always_valid_p_by_hand():
    v = NARROWEST  # one over the mixture likelihood ratio
    assert always_valid_p(3.0, 1_000) == pytest.approx(sqrt(v + 1) * exp(-9 * v / (v + 1) / 2))
    assert always_valid_p(0.0, 1_000) == 1.0
    assert always_valid_p(9.0, 0) == 1.0
    assert always_valid_p(np.array([0.0, 40.0]), np.array([10.0, 1e4])) == pytest.approx([1.0, 0.0], abs=1e-300)


def test_the_likelihood_ratio_is_that_of_a_normal_mixture():
    """Integrated by hand: N(sqrt(n) effect, 1) over effects of N(0, rho^2), against N(0, 1), at z."""
    v, z = NARROWEST * 0.3, 2.2
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    ratio = (weights * np.exp(z * sqrt(v) * nodes - v * nodes**2 / 2)).sum() / sqrt(2 * np.pi)
    assert always_valid_p(z, 300) == pytest.approx(min(1.0, 1 / ratio), rel=1e-9)


@given(st.floats(0.01, 0.5), st.floats(1, 1e6), st.floats(10, 1e5))
def test_the_p_value_is_the_inverse_of_the_radius(alpha, count, tuned):
    edge = radius(count, 1 - alpha, tuned)
    assert always_valid_p(edge, count, tuned) == pytest.approx(alpha)
    assert always_valid_p(-edge * 1.001, count, tuned) < alpha < always_valid_p(edge * 0.999, count, tuned)


def peeked(draws, first=100):
    """Mean over standard error of every path `[K, T]` at each look from `first` on: a variance has to be known."""
    n = np.arange(1.0, draws.shape[1] + 1)
    mean = draws.cumsum(1) / n
    variance = (draws**2).cumsum(1) / n - mean**2
    return mean[:, first:] / np.sqrt(variance[:, first:] / n[first:]), n[first:]


def test_peeking_at_every_observation_raises_hardly_any_false_alarm():
    rng = np.random.default_rng(0)
    z, n = peeked(rng.exponential(size=(600, 3_000)) - 1.0)  # skewed
    alarms = (always_valid_p(z, n) <= 0.05).any(1).mean()
    assert alarms <= 0.05
    assert (np.abs(z) > 1.96).any(1).mean() > 0.4  # what peeking at a fixed-sample interval does
    assert alarms == (np.abs(z) >= radius(n, 0.95)).any(1).mean()


def test_an_effect_is_found_within_few_times_the_fixed_sample():
    rng = np.random.default_rng(1)
    z, n = peeked(rng.normal(0.1, 1.0, (300, 4_000)))  # a fixed sample of 1,050 has a power of 90 %
    found = always_valid_p(z, n) <= 0.05
    assert found.any(1).mean() > 0.99
    assert np.median(n[found.argmax(1)]) < 1_000


def test_empirical_bernstein_path_by_hand():
    """Of 1, 0, on a scale of [-1, 3]: x = .5, .25."""
    length = log(2 / 0.05)
    first = min(sqrt(2 * length / (0.25 * log(2))), 0.5)
    variance = (0.25 + 0.0) / 2  # the mean after one term of .5 is (.5 + .5) / 2
    second = min(sqrt(2 * length / (variance * 2 * log(3))), 0.5)
    gains = (0.0, (0.25 - 0.5) ** 2 * (-log(1 - second) - second))
    halves = length / first, (length + sum(gains)) / (first + second)
    centres = 0.5, (0.5 * first + 0.25 * second) / (first + second)
    low, high = empirical_bernstein_path(np.array([1.0, 0.0]), 0.95, (-1.0, 3.0))
    expected = [-1 + 4 * max(0.0, centre - half) for centre, half in zip(centres, halves, strict=True)]
    assert low == pytest.approx(np.maximum.accumulate(expected))
    assert high == pytest.approx([3.0, 3.0])  # two observations say nothing yet


def test_empirical_bernstein_path_by_a_loop():
    terms, length = np.random.default_rng(2).beta(2, 5, 400), log(2 / 0.1)
    total = squares = stake = won = spent = 0.0
    bounds = [0.0, 1.0]
    for t, x in enumerate(terms, 1):
        variance, before = (0.25 + squares) / t, (0.5 + total) / t
        bet = min(sqrt(2 * length / (variance * t * log(1 + t))), 0.5)
        stake, won = stake + bet, won + bet * x
        spent += (x - before) ** 2 * (-log(1 - bet) - bet)
        total += x
        squares += (x - (0.5 + total) / (t + 1)) ** 2
        half = (length + spent) / stake
        bounds = [max(bounds[0], won / stake - half), min(bounds[1], won / stake + half)]
    assert empirical_bernstein_sequence(terms, 0.9, (0.0, 1.0)) == pytest.approx(tuple(bounds))


def test_empirical_bernstein_sequence_before_the_first_term_is_what_is_possible():
    assert empirical_bernstein_sequence(np.empty(0), 0.95, (-2.0, 5.0)) == (-2.0, 5.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(-5, 5), st.floats(0.1, 10))
def test_empirical_bernstein_sequence_moves_and_scales_with_its_terms(terms, shift, scale):
    terms = np.array(terms)
    low, high = empirical_bernstein_sequence(terms, 0.9, (0.0, 1.0))
    moved = empirical_bernstein_sequence(shift + scale * terms, 0.9, (shift, shift + scale))
    assert moved == pytest.approx((shift + scale * low, shift + scale * high), abs=1e-9)


def test_every_interval_of_the_path_holds_where_student_would_miss():
    rng = np.random.default_rng(3)
    held = []
    for _ in range(200):
        clicks = (rng.random(1_000) < 0.02).astype(float)
        low, high = empirical_bernstein_path(clicks, 0.95, (0.0, 1.0))
        held.append((low <= 0.02).all() and (high >= 0.02).all())
    assert np.mean(held) > 0.95
    assert high[-1] - low[-1] < 0.05


def test_to_hold_at_every_look_costs_little_more_than_to_hold_at_the_last():
    terms = (np.random.default_rng(4).random(20_000) < 0.3).astype(float)
    low, high = empirical_bernstein_sequence(terms, 0.95, (0.0, 1.0))
    once = empirical_bernstein(terms, 0.95, (0.0, 1.0))
    assert low < 0.3 < high
    assert high - low < 1.6 * (once[1] - once[0])


def test_a_confidence_sequence_is_the_radius_in_standard_errors_where_terms_are_even():
    terms = np.tile([0.0, 1.0], 200)
    half = radius(400, 0.9) * 0.5 / sqrt(399)
    assert confidence_sequence(terms, 0.9) == pytest.approx((0.5 - half, 0.5 + half))
    in_pairs = confidence_sequence(np.repeat(terms, 2), 0.9, np.repeat(np.arange(400), 2))
    assert in_pairs == pytest.approx((0.5 - half, 0.5 + half))
    other = radius(400, 0.9, tuned=50) * 0.5 / sqrt(399)
    assert confidence_sequence(terms, 0.9, tuned=50) == pytest.approx((0.5 - other, 0.5 + other))


def test_bent_by_skewness_it_holds_from_far_earlier_looks_on():
    """Rare terms of any size, as weighted clicks are, looked at every 25 rows from the fifth click on."""
    rng, truth = np.random.default_rng(5), 0.03
    straight, curved = [], []
    for _ in range(200):
        terms = (rng.random(2_000) < 0.03) * rng.exponential(size=2_000)
        looks = [terms[:end] for end in range(25, 2_001, 25) if (terms[:end] > 0).sum() >= 5]
        off = [abs(x.mean() - truth) * sqrt(len(x) - 1) / x.std() for x in looks]
        straight.append(all(z <= radius(len(x), 0.95) for z, x in zip(off, looks, strict=True)))
        ends = [confidence_sequence(x, 0.95) for x in looks]
        curved.append(all(low <= truth <= high for low, high in ends))
    assert np.mean(straight) < 0.9
    assert np.mean(curved) >= 0.95
