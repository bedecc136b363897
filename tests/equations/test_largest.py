"""The probability of being the largest, against closed forms, brute force and a million draws."""

from math import asin, erf, erfc, exp, lgamma, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.equations import largest
from bondhu.equations.largest import largest_of_betas, largest_of_draws, largest_of_normals


def normals(mean, deviation, allowed=None):
    mean = np.array([mean], float)
    mask = np.ones(mean.shape, bool) if allowed is None else np.array([allowed])
    return largest_of_normals(mean, np.array([deviation], float), mask)[0]


def betas(successes, failures):
    successes = np.array([successes], float)
    return largest_of_betas(successes, np.array([failures], float), np.ones(successes.shape, bool))[0]


def below(z):
    return erfc(-z / sqrt(2)) / 2


def by_sum(mean, deviation, steps=20_000):
    """The integral as a plain sum over a fine grid (for smooth functions that vanish at both ends, nearly exact)."""
    low = min(m - 9 * s for m, s in zip(mean, deviation, strict=True))
    width = (max(m + 9 * s for m, s in zip(mean, deviation, strict=True)) - low) / steps
    shares = [0.0] * len(mean)
    for step in range(steps):
        x = low + step * width
        z = [(x - m) / s for m, s in zip(mean, deviation, strict=True)]
        for a, s in enumerate(deviation):
            others = np.prod([(1 + erf(each / sqrt(2))) / 2 for b, each in enumerate(z) if b != a])
            shares[a] += width * exp(-(z[a] ** 2) / 2) / s / sqrt(2 * pi) * others
    return shares


def beta_beats_beta(first, second):
    """P(X < Y) for whole parameters, as a finite sum of beta functions (Cook 2005, "Exact calculation of inequality
    probabilities")."""
    (a, b), (c, d) = first, second

    def log_beta(x, y):
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    return sum(exp(log_beta(a + i, b + d) - log_beta(1 + i, d) - log_beta(a, b)) / (d + i) for i in range(c))


@given(gap=st.floats(-8, 8), first=st.floats(1e-4, 1e4), second=st.floats(1e-4, 1e4))
@settings(deadline=None)
def test_of_two_normals_it_is_the_distribution_of_their_difference(gap, first, second):
    spread = sqrt(first**2 + second**2)
    assert normals([gap * spread, 0.0], [first, second])[0] == pytest.approx(below(gap), abs=1e-9)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_of_three_normals_with_one_mean_it_is_an_angle(first, second, third):
    """Sheppard 1899: two differences with correlation ρ are both positive with probability 1/4 + asin(ρ) / 2π."""
    correlation = first**2 / sqrt((first**2 + second**2) * (first**2 + third**2))
    expected = 0.25 + asin(correlation) / (2 * pi)
    assert normals([7.0] * 3, [first, second, third])[0] == pytest.approx(expected, abs=1e-9)


def test_of_five_normals_it_is_the_integral():
    mean, deviation = [0.3, 0.0, -0.5, 0.45, 0.2], [0.5, 1.0, 2.0, 0.1, 0.7]
    assert normals(mean, deviation) == pytest.approx(by_sum(mean, deviation), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_of_many_normals_it_is_the_share_of_a_million_draws(seed):
    rng = np.random.default_rng(seed)
    mean, deviation = rng.normal(size=8), 10 ** rng.uniform(-3, 1, 8)
    drawn = (mean + deviation * rng.standard_normal((1_000_000, 8))).argmax(axis=1)
    shares = np.bincount(drawn, minlength=8) / 1_000_000
    assert normals(mean, deviation) == pytest.approx(shares, abs=5 * 0.5 / 1_000)


@pytest.mark.parametrize("count", [2, 10, 300])
def test_equal_values_have_equal_chances(count):
    assert normals([5.0] * count, [0.1] * count) == pytest.approx([1 / count] * count, abs=1e-12)
    assert betas([3.0] * count, [4.0] * count) == pytest.approx([1 / count] * count, abs=1e-12)


def test_precision_does_not_depend_on_how_different_the_deviations_are():
    narrow = [1e-9, 1e-6, 1e-3]
    chances = normals([0.0, 0.0, 0.0, -20.0], [*narrow, 10.0])
    top = below(-2.0)  # the wide one lies 2 deviations below what the narrow ones agree on
    assert chances[3] == pytest.approx(top, abs=1e-4)
    assert chances[0] == pytest.approx(0.25 * (1 - top), abs=1e-3)  # one of 1e-3 and one of 1e-6 lie above it, or not
    assert chances[:2].sum() == pytest.approx(0.5 * (1 - top), abs=1e-3)


def test_a_certain_value_is_met_or_surpassed():
    assert normals([0.0, -1.0], [0.0, 2.0]) == pytest.approx([below(0.5), below(-0.5)], abs=1e-9)
    both = below(0.5) * below(1.0)
    expected = [both / 2, both / 2, 0.0]
    assert normals([0.0, 0.0, -0.1, -1.0, -1.0], [0.0, 0.0, 0.0, 2.0, 1.0])[:3] == pytest.approx(expected, abs=1e-9)
    assert normals([1.0, 1.0, 0.5], [0.0, 0.0, 0.0]).tolist() == [0.5, 0.5, 0.0]
    assert normals([1e6, 0.0], [0.0, 1.0]).tolist() == [1.0, 0.0]


def test_a_deviation_too_small_to_matter_counts_as_none():
    assert normals([0.0, 0.0], [1e-20, 1.0]) == pytest.approx([0.5, 0.5], abs=1e-9)
    assert normals([1.0, 0.0], [1e-300, 1e-200]).tolist() == [1.0, 0.0]


def test_what_is_not_allowed_does_not_compete():
    chances = normals([0.0, 100.0, 0.0], [1.0, 1.0, 1.0], [True, False, True])
    assert chances == pytest.approx([0.5, 0.0, 0.5], abs=1e-12)
    assert normals([0.0, 1.0], [1.0, 1.0], [True, False]).tolist() == [1.0, 0.0]
    assert normals([0.0, 1.0], [1.0, 1.0], [False, False]).tolist() == [0.0, 0.0]


@given(st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_only_distances_in_units_of_each_other_matter(seed, shift, unit):
    rng = np.random.default_rng(seed)
    mean, deviation = rng.normal(size=5), 10 ** rng.uniform(-2, 1, 5)
    chances = normals(mean, deviation)
    assert normals(shift + unit * mean, unit * deviation) == pytest.approx(chances, abs=1e-9)
    assert chances.sum() == pytest.approx(1.0, abs=1e-14)
    assert (chances >= 0).all()


@pytest.mark.parametrize("odds", [False, True])
def test_the_kernel_agrees_with_its_own_plain_python(odds):
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.5, 20, (2, 3, 4))
    allowed = rng.random((3, 4)) < 0.7
    compiled = (largest_of_betas if odds else largest_of_normals)(first, second, allowed)
    for row, mask in enumerate(allowed):
        plain = largest._one_row(first[row, mask], second[row, mask], odds)
        assert compiled[row, mask] == pytest.approx(plain, abs=1e-13)


@given(*[st.integers(1, 40)] * 4)
@settings(deadline=None)
def test_of_two_betas_it_is_a_finite_sum(a, b, c, d):
    assert betas([c, a], [d, b])[0] == pytest.approx(beta_beats_beta((a, b), (c, d)), abs=1e-9)


@pytest.mark.parametrize("prior", [0.1, 0.5, 1.0])
def test_of_many_betas_it_is_the_share_of_a_million_draws(prior):
    successes, failures = prior + np.array([0, 0, 1, 30, 2000]), prior + np.array([0, 1, 1, 10, 900])
    drawn = np.random.default_rng(0).beta(successes, failures, (1_000_000, 5)).argmax(axis=1)
    shares = np.bincount(drawn, minlength=5) / 1_000_000
    assert betas(successes, failures) == pytest.approx(shares, abs=5 * 0.5 / 1_000)


def test_of_betas_with_a_million_trials_it_is_that_of_normals():
    successes, failures = np.array([5e5, 5.003e5]), np.array([5e5, 4.997e5])
    mean = successes / 1e6
    deviation = np.sqrt(mean * (1 - mean) / 1e6)
    assert betas(successes, failures) == pytest.approx(normals(mean, deviation), abs=1e-6)


def test_draws_are_counted_among_the_allowed_and_equals_share():
    draws = np.array([[[1.0, 0.0, 9.0]], [[0.0, 2.0, 9.0]], [[0.0, 3.0, 9.0]], [[1.0, 1.0, 9.0]]])
    assert largest_of_draws(draws, np.array([[True, True, False]])).tolist() == [[0.375, 0.625, 0.0]]
    assert largest_of_draws(draws, np.array([[False, False, False]])).tolist() == [[0.0, 0.0, 0.0]]
