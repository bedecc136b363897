"""Intervals on numbers worked by hand, tables of Student's t, and properties."""

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.intervals import bootstrap, empirical_bernstein, standard_error, student, t_quantile

TABLE = [  # two-sided 95 % and 99 % points as every table prints them
    (0.975, 1, 12.7062047362),
    (0.975, 2, 4.3026527297),
    (0.975, 3, 3.1824463053),
    (0.975, 4, 2.7764451052),
    (0.975, 10, 2.2281388520),
    (0.975, 30, 2.0422724563),
    (0.995, 1, 63.6567411629),
    (0.995, 5, 4.0321429836),
    (0.995, 100, 2.6258905214),
]


@pytest.mark.parametrize(("probability", "degrees", "point"), TABLE)
def test_quantiles_of_t_agree_with_the_tables(probability, degrees, point):
    assert t_quantile(probability, degrees) == pytest.approx(point, rel=1e-9)
    assert t_quantile(1 - probability, degrees) == pytest.approx(-point, rel=1e-9)


def test_quantiles_of_t_have_no_seam_and_end_at_the_normal():
    assert t_quantile(0.975, 200) == pytest.approx(1.9718962236, rel=1e-9)
    assert t_quantile(0.975, 201) == pytest.approx(1.9718365, rel=1e-7)
    assert t_quantile(0.975, 10**9) == pytest.approx(1.959963985, rel=1e-8)
    assert t_quantile(0.9995, 1) == pytest.approx(636.6192487688, rel=1e-8)


def test_standard_error_by_hand():
    error, groups = standard_error(np.array([1.0, 2.0, 3.0, 6.0]))  # squares about 3: 4 + 1 + 0 + 9
    assert error == pytest.approx(sqrt(14 / 3 / 4))
    assert groups == 4


def test_standard_error_of_groups_by_hand():
    # group sums about the mean 3: (1 - 3) + (2 - 3) = -3 and 0 + 3 = 3; 2 / 1 * (9 + 9) / 16
    error, groups = standard_error(np.array([1.0, 2.0, 3.0, 6.0]), np.array([5, 5, 9, 9]))
    assert error == pytest.approx(1.5)
    assert groups == 2


def test_rows_repeated_inside_a_session_add_nothing():
    terms = np.array([0.1, 0.7, 0.4, 0.9, 0.2])
    once = student(terms, 0.95)
    thrice = student(np.repeat(terms, 3), 0.95, np.repeat(np.arange(5), 3))
    assert thrice == pytest.approx(once)


def test_student_by_hand():
    low, high = student(np.array([1.0, 2.0, 3.0, 6.0]), 0.95)
    half = 3.1824463053 * sqrt(14 / 12)
    assert (low, high) == pytest.approx((3 - half, 3 + half))


def test_one_observation_bounds_nothing():
    assert student(np.array([0.4]), 0.95) == (-np.inf, np.inf)
    assert student(np.array([0.4, 0.6]), 0.95, np.array([3, 3])) == (-np.inf, np.inf)


def test_empirical_bernstein_by_hand():
    terms = np.array([0.0, 2.0, 2.0, 0.0])  # variance 4/3
    length = log(4 / 0.1)
    half = sqrt(2 * 4 / 3 * length / 4) + 7 * 2 * length / 9
    assert empirical_bernstein(terms, 0.9, (0.0, 2.0)) == pytest.approx((1 - half, 1 + half))


def test_empirical_bernstein_covers_where_student_does_not():
    rng = np.random.default_rng(3)
    logs = (rng.random((400, 60)) < 0.02).astype(float)  # rare clicks: 30 % of logs hold none
    covers = [0.0, 0.0]
    for terms in logs:
        for which, (low, high) in enumerate((student(terms, 0.95), empirical_bernstein(terms, 0.95, (0.0, 1.0)))):
            covers[which] += (low <= 0.02 <= high) / len(logs)
    assert covers[0] < 0.75
    assert covers[1] == pytest.approx(1)


def test_bootstrap_agrees_with_student_on_many_terms():
    terms = np.random.default_rng(0).normal(2.0, 3.0, 5_000)
    expected = student(terms, 0.95)
    found = bootstrap(terms, 0.95, np.random.default_rng(1))
    assert found == pytest.approx(expected, abs=0.006)  # half-width 0.083


def test_bootstrap_resamples_whole_sessions():
    rng = np.random.default_rng(0)
    session = np.repeat(np.arange(1_000), 4)
    terms = np.repeat(rng.normal(size=1_000), 4)
    expected = student(terms, 0.95, session)
    found = bootstrap(terms, 0.95, np.random.default_rng(1), session)
    assert found == pytest.approx(expected, abs=0.006)
    alone = bootstrap(terms, 0.95, np.random.default_rng(1))
    assert alone[1] - alone[0] < 0.6 * (found[1] - found[0])


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=40), st.floats(-3, 3), st.floats(0.1, 4))
def test_student_moves_and_scales_with_its_terms(terms, shift, scale):
    terms = np.array(terms)
    low, high = student(terms, 0.9)
    moved = student(scale * terms + shift, 0.9)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-7)
    assert low <= terms.mean() <= high
