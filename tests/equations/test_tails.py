"""Tails on what tables print, and on one another."""

from math import erfc, exp, inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.intervals import t_quantile
from bondhu.equations.tails import chi_square_tail, normal_of_t, normal_tail, student_tail, t_of_normal


def test_five_percent_points_of_the_tables():
    assert normal_tail(1.959963984540) == pytest.approx(0.05, abs=1e-12)
    assert student_tail(12.7062047362, 1) == pytest.approx(0.05, rel=1e-9)
    assert student_tail(-2.2281388520, 10) == pytest.approx(0.05, rel=1e-9)
    assert student_tail(1.959963984540, inf) == pytest.approx(0.05, abs=1e-12)
    for degrees, point in ((1, 3.841458821), (2, 5.991464547), (3, 7.814727903), (5, 11.07049769), (10, 18.30703805)):
        assert chi_square_tail(point, degrees) == pytest.approx(0.05, rel=1e-8)


def test_a_tail_of_chi_square_with_two_degrees_is_exponential():
    assert chi_square_tail(3.0, 2) == pytest.approx(exp(-1.5))
    assert chi_square_tail(2.5, 1) == pytest.approx(normal_tail(2.5**0.5))


@pytest.mark.parametrize(
    ("statistic", "degrees", "tail"),
    # critical values of chi-square as printed in Abramowitz & Stegun, table 26.8
    [(3.84146, 1, 0.05), (6.63490, 1, 0.01), (18.3070, 10, 0.05), (43.7730, 30, 0.05), (135.807, 100, 0.01)],
)
def test_the_tail_of_chi_square_against_printed_values(statistic, degrees, tail):
    assert chi_square_tail(statistic, degrees) == pytest.approx(tail, rel=1e-4)


@given(st.floats(0.01, 200))
def test_the_tail_of_chi_square_in_closed_form(x):
    assert chi_square_tail(x, 1) == pytest.approx(erfc(sqrt(x / 2)), rel=1e-10)
    assert chi_square_tail(x, 2) == pytest.approx(exp(-x / 2), rel=1e-10)
    assert chi_square_tail(x, 4) == pytest.approx(exp(-x / 2) * (1 + x / 2), rel=1e-10)


def test_chi_square_with_many_degrees_or_none():
    assert chi_square_tail(2000.0, 2000) == pytest.approx(0.4958, abs=1e-3)  # about the median, 2000 - 2 / 3
    assert chi_square_tail(0.0, 3) == chi_square_tail(5.0, 0) == 1.0


@given(st.floats(0.55, 0.9999), st.integers(1, 150))
def test_student_tail_undoes_the_quantile(probability, degrees):
    assert student_tail(t_quantile(probability, degrees), degrees) == pytest.approx(2 * (1 - probability), rel=1e-6)


def test_no_statistic_has_all_of_the_tail():
    assert student_tail(0.0, 4.2) == 1.0


def test_a_value_of_t_lies_where_the_normal_has_the_same_tail():
    for degrees in (5.0, 30.0, 400.0):
        for t in (0.5, 2.0, 3.5):
            assert normal_tail(normal_of_t(t, degrees)) == pytest.approx(student_tail(t, degrees), rel=0.03)
    assert normal_of_t(-2.0, 30.0) == -normal_of_t(2.0, 30.0)


def test_far_out_and_back():
    assert t_of_normal(normal_of_t(3.3, 7.0), 7.0) == pytest.approx(3.3)
    np.testing.assert_allclose(t_of_normal(normal_of_t(np.array([-50.0, 0.0, 9.0]), 40.0), 40.0), [-50, 0, 9])
    assert t_of_normal(100.0, 5.0) == inf
