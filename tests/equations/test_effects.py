"""Differences of ratios on numbers worked by hand, beside Welch's test, and under random assignment."""

from math import sqrt

import numpy as np
import pytest

from bondhu.equations.effects import (
    add_up,
    covariance_of,
    covariate_adjusted,
    design_error,
    effective_rows,
    error_of,
    lift,
    lift_of,
    ratio_contrast,
)

HALF = np.array([0.5])


def one_step(rewards, treated):
    rewards, treated = np.array(rewards, float), np.array(treated, bool)
    return add_up(np.arange(len(rewards)), (1, len(rewards)), treated[None], rewards, np.ones(len(rewards)))


def test_one_decision_a_user_is_the_test_of_welch():
    # treated 1, 2, 6: mean 3, variance 7; control 0, 1, 1, 2: mean 1, variance 2/3
    found = ratio_contrast(one_step([1, 2, 6, 0, 1, 1, 2], [1, 1, 1, 0, 0, 0, 0]), HALF)
    assert (found.treated, found.control) == pytest.approx((3.0, 1.0))
    assert error_of(found) == pytest.approx(sqrt(7 / 3 + 2 / 12))
    assert found.degrees == pytest.approx((7 / 3 + 1 / 6) ** 2 / ((7 / 3) ** 2 / 2 + (1 / 6) ** 2 / 3))
    np.testing.assert_allclose(covariance_of(found), [[7 / 3, 0], [0, 1 / 6]], atol=1e-12)


def test_a_user_who_decides_thrice_alike_is_one_user_of_three_times_the_weight():
    unit = np.array([0, 0, 0, 1, 2, 3])
    reward = np.array([2.0, 2.0, 2.0, 6.0, 1.0, 3.0])
    found = ratio_contrast(add_up(unit, (1, 4), np.array([[1, 1, 0, 0]], bool), reward, np.ones(6)), HALF)
    assert found.treated == 3.0  # (3 * 2 + 6) / 4
    # influences 3 * (2 - 3) / 4 and (6 - 3) / 4, two users: times 2 / 1; control -1/2 and 1/2 likewise
    assert error_of(found) == pytest.approx(sqrt(2 * 2 * 0.75**2 + 2 * 2 * 0.5**2))


def test_a_ratio_of_two_columns_by_the_delta_method():
    clicks, shown = np.array([1.0, 3.0, 2.0, 1.0]), np.array([2.0, 4.0, 4.0, 4.0])
    found = ratio_contrast(add_up(np.arange(4), (1, 4), np.array([[1, 1, 0, 0]], bool), clicks, shown), HALF)
    assert (found.treated, found.control) == pytest.approx((4 / 6, 3 / 8))
    # residuals 1 - 2 * 2/3 = -1/3 and 1/3 over 6; 2 - 4 * 3/8 = 1/2 and -1/2 over 8; each squared twice, times 2 / 1
    assert error_of(found) == pytest.approx(sqrt(4 / 18**2 + 4 / 16**2))


def two_steps():
    """Eight users come at a share of 1/4 and again at 1/2, where all earn 10 more; nobody gains by the treatment."""
    unit = np.tile(np.arange(8), 2)
    step = np.repeat([0, 1], 8)
    treated = np.stack([np.arange(8) < 2, np.arange(8) < 4])
    reward = np.tile([1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0], 2) + 10 * step
    return add_up(step * 8 + unit, (2, 8), treated, reward, np.ones(16))


def test_a_season_and_a_growing_share_are_no_effect():
    found = ratio_contrast(two_steps(), np.array([0.25, 0.5]))
    assert found.treated - found.control == pytest.approx(0.0)
    np.testing.assert_allclose(found.weight, [0.1875 / 0.4375, 0.25 / 0.4375])
    assert found.share == pytest.approx(0.25 * 3 / 7 + 0.5 * 4 / 7)


def test_users_who_changed_side_make_the_two_means_depend():
    # users 2 and 3: 3/7 * (+-1) / 6 on the control mean of step one, 4/7 * (+-1) / 4 on the treated mean of step two
    between = 2 * (3 / 7 / 6) * sqrt(6 / 5) * (4 / 7 / 4) * sqrt(4 / 3)
    assert covariance_of(ratio_contrast(two_steps(), np.array([0.25, 0.5])))[0, 1] == pytest.approx(between)


def test_a_step_that_treats_all_is_not_compared():
    sums = two_steps()
    sums.treated[1] = True
    found = ratio_contrast(sums, np.array([0.25, 1.0]))
    np.testing.assert_allclose(found.weight, [1.0, 0.0])
    assert not ratio_contrast(sums, np.array([1.0, 1.0])).weight.any()


def test_runs_side_by_side_are_runs_alone():
    sums = two_steps()
    share = np.array([0.25, 0.5])
    both = ratio_contrast(type(sums)(*[np.stack([part, part]) for part in sums]), share)
    alone = ratio_contrast(sums, share)
    for together, single in zip(both, alone, strict=True):
        np.testing.assert_allclose(together[1], single)
    np.testing.assert_allclose(design_error(both, share), design_error(alone, share))


def test_the_design_error_is_the_spread_over_all_assignments():
    """Each user's place decides both steps: the difference varies over draws as the design says."""
    rng = np.random.default_rng(0)
    share = np.array([0.2, 0.5])
    sums = two_steps()._replace(treated=np.zeros((2, 600), bool))
    unit, step = np.tile(np.arange(600), 2), np.repeat([0, 1], 600)
    liking = rng.exponential(1, 600)
    reward = liking[unit] + rng.exponential(1, 1200)
    found, said = [], []
    for _ in range(1500):
        treated = rng.random(600) < share[:, None]
        sums = add_up(step * 600 + unit, (2, 600), treated, reward, np.ones(1200))
        each = ratio_contrast(sums, share)
        found.append(each.treated - each.control)
        said.append(design_error(each, share))
    assert np.std(found) == pytest.approx(np.mean(said), rel=0.05)


def test_ten_users_without_a_click_do_not_make_it_sure_that_there_is_none():
    clicks, treated = np.zeros(100), np.arange(100) < 10
    clicks[[40, 60, 80]] = 1
    found = ratio_contrast(one_step(clicks, treated), np.array([0.1]))
    # residuals of all, by 0.1 * 0.9 * 100 users: the 90 others have variance p (1 - p), p = 1/30
    assert design_error(found, np.array([0.1])) == pytest.approx(sqrt(90 * (1 / 30) * (29 / 30) / 0.09) / 100)
    assert error_of(found) < design_error(found, np.array([0.1])) / 2


def test_effective_rows_of_an_even_split_are_its_rows():
    rng = np.random.default_rng(1)
    found = ratio_contrast(one_step(rng.normal(size=4000), np.arange(4000) % 2), HALF)
    assert effective_rows(found.spread, error_of(found)) == pytest.approx(4000, rel=0.01)
    found = ratio_contrast(one_step(rng.normal(size=4000), np.arange(4000) % 10 == 0), np.array([0.1]))
    assert effective_rows(found.spread, error_of(found)) == pytest.approx(0.36 * 4000, rel=0.1)
    assert effective_rows(np.zeros(1), np.zeros(1)) == 0


def test_a_covariate_that_is_the_metric_leaves_nothing():
    rewards, treated = [1, 2, 6, 0, 1, 1, 2], [1, 1, 1, 0, 0, 0, 0]
    plain = ratio_contrast(one_step(rewards, treated), HALF)
    adjusted = covariate_adjusted(plain, [plain])
    assert adjusted.treated - adjusted.control == pytest.approx(0.0)
    assert error_of(adjusted) == pytest.approx(0.0, abs=1e-12)
    assert adjusted.treated == pytest.approx(2.0)  # halfway: the mean over both stays


def test_the_best_theta_removes_what_correlates():
    rng = np.random.default_rng(2)
    before, treated = rng.normal(size=5000), rng.random(5000) < 0.5
    reward = 0.6 * before + 0.8 * rng.normal(size=5000)
    plain, known = (ratio_contrast(one_step(each, treated), HALF) for each in (reward, 1e-6 * before))
    twice = covariate_adjusted(plain, [known, known])  # a covariate given twice tells no more
    assert (error_of(twice) / error_of(plain)) ** 2 == pytest.approx(0.64, abs=0.03)
    assert error_of(twice) == pytest.approx(float(error_of(covariate_adjusted(plain, [known]))))


def test_lift_by_the_theorem_of_fieller():
    # independent 12 +- 1 and 10 +- 1 at 2 errors: (100 - 4) x^2 - 2 * 120 x + (144 - 4) = 0
    low, high = lift((12.0, 10.0), np.eye(2), 2.0)
    root = sqrt(120**2 - 96 * 140)
    assert (low, high) == pytest.approx(((120 - root) / 96 - 1, (120 + root) / 96 - 1))


def test_lift_of_a_loss_is_over_its_size():
    low, high = lift((-12.0, -10.0), np.eye(2), 2.0)
    up = lift((12.0, 10.0), np.eye(2), 2.0)
    assert (-high, -low) == pytest.approx(up)
    assert lift_of(-12.0, -10.0) == pytest.approx(-0.2)
    assert np.isnan(lift_of(1.0, 0.0))


def test_nothing_is_known_of_a_lift_over_what_may_be_nothing():
    assert lift((1.0, 1.0), np.eye(2), 2.0) == (-np.inf, np.inf)
    assert lift((1.0, 9.0), np.eye(2), np.inf) == (-np.inf, np.inf)


def test_users_count_by_how_evenly_they_decide():
    # treated users of 3 and 1 decisions are worth 16 / 10; two control users of one each are worth 2
    unit = np.array([0, 0, 0, 1, 2, 3])
    reward = np.array([2.0, 2.0, 2.0, 6.0, 1.0, 3.0])
    found = ratio_contrast(add_up(unit, (1, 4), np.array([[1, 1, 0, 0]], bool), reward, np.ones(6)), HALF)
    np.testing.assert_allclose(found.users, [1.6, 2.0])
    assert found.degrees == pytest.approx((2.25 + 1.0) ** 2 / (2.25**2 + 1.0**2))  # 1.6 - 1 is taken for 1


def test_users_of_a_step_that_cannot_be_compared_are_worth_nothing():
    sums = two_steps()
    np.testing.assert_allclose(ratio_contrast(sums, np.array([0.25, 1.0])).users, [2.0, 6.0])
    assert ratio_contrast(sums, np.array([0.0, 1.0])).users.tolist() == [0.0, 0.0]
    # weights of the steps 3 : 4; the treated 0 and 1 have 3/7 / 2 + 4/7 / 4 each, 2 and 3 the last
    parts = np.array([5 / 14, 5 / 14, 1 / 7, 1 / 7])
    assert ratio_contrast(sums, np.array([0.25, 0.5])).users[0] == pytest.approx(1 / (parts**2).sum())
