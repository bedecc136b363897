"""Measures of drift: by hand, against closed forms and published tables, and their errors where people return."""

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.drift import (
    clustered_error,
    dispersion,
    kolmogorov_smirnov,
    kolmogorov_tail,
    population_stability_index,
    shares_scatter,
    two_sample_chi_square,
)
from bondhu.equations.tails import chi_square_tail


def test_the_stability_index_by_hand():
    first, second = np.array([9.5, 29.5]), np.array([19.5, 19.5])  # with half a row each: 1/4, 3/4 beside 1/2, 1/2
    expected = (0.25 - 0.5) * log(0.25 / 0.5) + (0.75 - 0.5) * log(0.75 / 0.5)
    assert population_stability_index(first, second) == pytest.approx(expected, abs=1e-12)
    assert population_stability_index(first, first) == 0.0
    assert np.isfinite(population_stability_index(np.array([0.0, 5.0]), np.array([5.0, 0.0])))


def test_the_statistic_of_two_samples_is_pearsons_of_the_table():
    first, second = np.array([30.0, 50.0, 20.0]), np.array([60.0, 40.0, 100.0])
    table = np.stack([first, second])
    fitted = np.outer(table.sum(1), table.sum(0)) / table.sum()
    statistic, degrees = two_sample_chi_square(first, second)
    assert statistic == pytest.approx(float(((table - fitted) ** 2 / fitted).sum()), rel=1e-12)
    assert degrees == 2


def test_rare_categories_are_counted_as_one():
    whole = two_sample_chi_square(np.array([50.0, 50.0, 3.0]), np.array([50.0, 50.0, 4.0]))
    split = two_sample_chi_square(np.array([50.0, 50.0, 1.0, 1.0, 1.0]), np.array([50.0, 50.0, 2.0, 1.0, 1.0]))
    assert split == pytest.approx(whole)
    assert whole[1] == 2


def test_nothing_to_test_is_no_evidence():
    assert kolmogorov_tail(0.5, 0.0) == kolmogorov_tail(0.0, 100.0) == 1.0


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
)
def test_the_largest_distance_of_two_distributions_by_brute_force(first, second):
    a, b = np.array(first, float), np.array(second, float)
    expected = max(abs((a <= x).mean() - (b <= x).mean()) for x in range(10))
    assert kolmogorov_smirnov(a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("rows", "distance", "tail"), [(20, 0.29408, 0.05), (20, 0.35241, 0.01), (100, 0.13403, 0.05)])
def test_the_tail_of_the_largest_distance_against_exact_critical_values(rows, distance, tail):
    assert kolmogorov_tail(distance, rows) == pytest.approx(tail, rel=0.03)  # Miller (1956), table 1, two-sided


def test_rows_of_one_person_that_are_all_alike_count_once():
    user = np.repeat(np.arange(200), 5)
    codes = np.repeat(np.arange(200) % 2, 5)
    assert shares_scatter(codes, user, 2) == pytest.approx(5.0, rel=0.01)
    assert shares_scatter(codes, np.arange(1000), 2) == pytest.approx(1.0, rel=0.01)


def test_the_shares_scatter_by_its_definition():
    rng = np.random.default_rng(0)
    user = rng.integers(0, 30, 400)
    codes = (rng.integers(0, 3, 30)[user] + (rng.random(400) < 0.3)) % 4
    share, expected = np.bincount(codes, minlength=4) / 400, 0.0
    for code in range(4):
        sums = np.bincount(user, (codes == code) - share[code], 30)
        variance = 30 / 29 * float(sums @ sums) / 400**2
        expected += (1 - share[code]) * variance / (share[code] * (1 - share[code]) / 400) / 3
    assert shares_scatter(codes, user, 6) == pytest.approx(expected, rel=1e-9)
    assert expected > 5


def test_one_category_or_one_person_has_no_shares_scatter():
    assert shares_scatter(np.zeros(9, int), np.arange(9), 3) == 1.0
    assert shares_scatter(np.arange(9) % 3, np.zeros(9, int), 3) == 1.0


def test_the_tests_of_drift_hold_their_level_where_people_return():
    rng = np.random.default_rng(1)
    alarms = naive = 0
    for _ in range(150):
        rows = []
        for _ in range(2):
            liking = rng.random(80) < 0.5
            user = np.repeat(np.arange(80), 10)
            codes = (rng.random(800) < np.where(liking[user], 0.9, 0.1)).astype(int)
            rows.append((np.bincount(codes, minlength=2) * 1.0, shares_scatter(codes, user, 2)))
        (first, one), (second, other) = rows
        alarms += chi_square_tail(*two_sample_chi_square(first / one, second / other)) < 0.05
        naive += chi_square_tail(*two_sample_chi_square(first, second)) < 0.05
    assert alarms / 150 < 0.09
    assert naive / 150 > 0.3


def test_the_error_of_a_sum_by_groups_by_hand():
    error, people = clustered_error(np.array([1.0, 1.0, -2.0, 0.0]), np.array([7, 7, 8, 9]))
    assert (error, people) == (pytest.approx(sqrt(3 / 2 * (4 + 4 + 0))), 3)
    assert clustered_error(np.array([0.0]), np.array([1])) == (np.inf, 1)


def test_days_that_scatter_as_their_rows_explain_have_no_dispersion():
    assert dispersion(np.array([1.0, -1.0, 2.0]), np.array([1.0, 1.0, 1.0]), 1) == pytest.approx(3.0)
    assert dispersion(np.array([0.1, -0.1, 0.2]), np.ones(3), 1) == 1.0
    assert dispersion(np.array([9.0]), np.ones(1), 1) == 1.0
