"""Intervals on numbers worked by hand, tables of Student's t, and properties."""

from math import comb, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.intervals import (
    bent,
    bootstrap_t,
    empirical_bernstein,
    group_sums,
    skewness_corrected,
    standard_error,
    student,
    t_quantile,
)

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


def test_sums_of_groups_by_hand():
    terms = np.array([1.0, 2.0, 4.0, 8.0])
    assert group_sums(terms, np.array([3, 3, 5, 9])).tolist() == [3, 4, 8]
    assert group_sums(terms, np.array([9, 3, 5, 3])).tolist() == [10, 4, 1]  # in the order of their numbers
    assert group_sums(terms, None).tolist() == [1, 2, 4, 8]
    assert group_sums(np.empty(0), np.empty(0, int)).tolist() == []


def clicks(count, total):
    return np.repeat([1.0, 0.0], [count, total - count])


def test_the_corrected_interval_ends_where_the_transformed_statistic_reaches_its_quantiles():
    terms, share = clicks(40, 400), 0.1
    c = (1 - 2 * share) / sqrt(share * (1 - share)) / 20  # skewness of a click / sqrt(400)
    error = sqrt(share * (1 - share) / 399)
    reached = []
    for end in skewness_corrected(terms, 0.95):
        t = (share - end) / error
        reached.append(t + c * (t**2 / 3 + 1 / 6) + c**2 * t**3 / 27)
    assert reached == pytest.approx([t_quantile(0.975, 399), -t_quantile(0.975, 399)])


def exact(count, total):
    """Clopper & Pearson (1934): where a tail of the binomial is 2.5 %."""

    def tail(chance, ks):
        return sum(comb(total, k) * chance**k * (1 - chance) ** (total - k) for k in ks)

    ends = []
    for ks, up in ((range(count, total + 1), True), (range(count + 1), False)):
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if (tail(middle, ks) < 0.025) == up else (low, middle)
        ends.append(low)
    return tuple(ends)


def test_of_clicks_it_comes_nearer_to_the_exact_interval_than_student():
    truth = exact(20, 400)
    bent, plain = skewness_corrected(clicks(20, 400), 0.95), student(clicks(20, 400), 0.95)
    assert bent == pytest.approx(truth, abs=1.7e-3)
    assert plain[0] < truth[0] - 2e-3
    assert plain[1] < truth[1] - 4e-3


def test_without_skewness_or_tails_it_is_students():
    terms = np.tile([0.0, 1.0], 50)
    assert skewness_corrected(terms, 0.95) == pytest.approx(student(terms, 0.95))


def test_heavy_tails_on_both_sides_widen_it_by_hand():
    terms = np.concatenate([np.zeros(180), np.tile([-1.0, 1.0], 10)])  # kurtosis 10, skewness 0
    z = t_quantile(0.975, 199)
    half = (z + z * 7 / 200 * (z**2 / 4 + 5 / 12)) * sqrt(0.1 / 199)
    assert skewness_corrected(terms, 0.95) == pytest.approx((-half, half))


def test_any_reach_can_be_bent():
    terms, asked = np.random.default_rng(1).exponential(size=300), []
    low, high = bent(terms, lambda count: asked.append(count) or 3.0, np.repeat(np.arange(150), 2))
    assert asked == [150]
    error, _ = standard_error(terms, np.repeat(np.arange(150), 2))
    assert terms.mean() - low < 3 * error < high - terms.mean()


def test_where_few_terms_carry_the_variance_it_holds_students_interval():
    for terms in (clicks(4, 1_000), np.append(clicks(3, 1_000), [-1.0, -1.0]), np.array([0.0, 0.0, 3.0])):
        (low, high), plain = skewness_corrected(terms, 0.95), student(terms, 0.95)
        assert low <= plain[0]
        assert high > plain[1]


def test_too_little_to_see_a_skewness_leaves_students_interval():
    assert skewness_corrected(np.array([0.4]), 0.95) == (-np.inf, np.inf)
    assert skewness_corrected(np.array([0.4, 0.6]), 0.95) == student(np.array([0.4, 0.6]), 0.95)
    assert skewness_corrected(np.full(9, 0.25), 0.95) == (0.25, 0.25)


def test_the_corrected_interval_counts_sessions_as_one():
    terms = np.random.default_rng(0).exponential(size=200)
    once = skewness_corrected(terms, 0.95)
    thrice = skewness_corrected(np.repeat(terms, 3), 0.95, np.repeat(np.arange(200), 3))
    assert thrice == pytest.approx(once)
    assert once != pytest.approx(student(terms, 0.95), abs=0.01)


@given(
    st.lists(st.floats(-5, 5), min_size=3, max_size=60), st.floats(-3, 3), st.floats(0.1, 4), st.sampled_from((-1, 1))
)
def test_the_corrected_interval_moves_scales_and_turns_with_its_terms(terms, shift, scale, sign):
    terms = np.array(terms)
    low, high = skewness_corrected(terms, 0.9)
    moved = skewness_corrected(sign * scale * terms + shift, 0.9)
    expected = sorted((sign * scale * low + shift, sign * scale * high + shift))
    assert moved == pytest.approx(tuple(expected), rel=1e-5, abs=1e-5)
    assert low <= terms.mean() <= high
    wider = skewness_corrected(terms, 0.95)
    assert wider[0] <= low
    assert wider[1] >= high


def test_the_truth_lies_above_as_rarely_as_below_though_terms_are_skewed():
    """A deterministic policy on a log of six actions drawn evenly: 50 effective samples, a third of them rewarded."""
    rng = np.random.default_rng(4)
    logs = 6.0 * (rng.random((2_000, 300)) < 0.35 / 6)
    ends = np.array([[student(terms, 0.95), skewness_corrected(terms, 0.95)] for terms in logs])
    above, below = (ends[:, :, 1] < 0.35).mean(0), (ends[:, :, 0] > 0.35).mean(0)
    assert above[0] > 0.05
    assert (above + below)[1] == pytest.approx(0.05, abs=0.02)
    assert above[1] == pytest.approx(below[1], abs=0.015)


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


def test_studentised_bootstrap_agrees_with_student_on_many_terms():
    terms = np.random.default_rng(0).normal(2.0, 3.0, 2_000)
    assert bootstrap_t(terms, 0.95, np.random.default_rng(1)) == pytest.approx(student(terms, 0.95), abs=0.02)


def test_studentised_bootstrap_sees_skewness_as_the_correction_does():
    terms = np.random.default_rng(0).exponential(size=300)
    plain, bent = student(terms, 0.95), skewness_corrected(terms, 0.95)
    found = bootstrap_t(terms, 0.95, np.random.default_rng(1), resamples=6_000)
    assert found[1] == pytest.approx(bent[1], abs=0.012)
    assert bent[1] - plain[1] > 0.012
    session = np.repeat(np.arange(300), 2)
    together = bootstrap_t(np.repeat(terms, 2), 0.95, np.random.default_rng(1), session, resamples=6_000)
    assert together == pytest.approx(found)


def test_a_bootstrap_of_terms_that_are_nearly_all_alike_bounds_nothing():
    low, high = bootstrap_t(clicks(1, 50), 0.95, np.random.default_rng(0), resamples=200)
    assert low <= 0.02
    assert high == np.inf  # a third of all resamples holds no click
    assert bootstrap_t(np.full(5, 0.5), 0.95, np.random.default_rng(0)) == (0.5, 0.5)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=40), st.floats(-3, 3), st.floats(0.1, 4))
def test_student_moves_and_scales_with_its_terms(terms, shift, scale):
    terms = np.array(terms)
    low, high = student(terms, 0.9)
    moved = student(scale * terms + shift, 0.9)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-7)
    assert low <= terms.mean() <= high


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.uint64])
def test_sums_of_groups_do_not_depend_on_the_kind_of_their_numbers(kind):
    terms, groups = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), np.array([3, 1, 3, 0, 1])
    assert group_sums(terms, groups.astype(kind)).tolist() == [8.0, 18.0, 5.0]
    assert group_sums(terms, np.sort(groups).astype(kind)).tolist() == [1.0, 6.0, 24.0]
