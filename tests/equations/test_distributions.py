"""Distribution functions by hand, against definitions on samples, and bands that hold them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.distributions import (
    Cells,
    bernstein_band,
    cells,
    cumulative,
    lower_tail_mean,
    points,
    quantile,
    resampled_band,
    rising,
    variance,
)

VALUES = np.array([0.0, 1.0, 4.0])
CDF = np.array([0.25, 0.75, 1.0])


def test_cumulative_by_hand():
    reward, weights = np.array([1.0, 0.0, 4.0, 1.0]), np.array([2.0, 1.0, 0.5, 0.5])
    assert cumulative(reward, weights, VALUES).tolist() == [0.25, 0.875, 1.0]
    assert cumulative(reward, weights, np.array([0.5, 3.0])).tolist() == [0.25, 0.875]


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=20))
def test_with_equal_weights_it_is_the_share_of_rows(rewards):
    reward, values = np.array(rewards), np.array([-1.0, 0.0, 0.5, 2.0])
    shares = [(reward <= value).mean() for value in values]
    np.testing.assert_allclose(cumulative(reward, np.ones(len(reward)), values), shares, atol=1e-12)


def test_rising_never_falls_and_ends_at_one():
    assert rising(np.array([-0.1, 0.3, 0.2, 0.6])).tolist() == [0.0, 0.3, 0.3, 1.0]
    assert rising(np.array([[0.5, 1.2, 0.9], [0.1, 0.0, 0.4]])).tolist() == [[0.5, 1.0, 1.0], [0.1, 0.1, 1.0]]


def test_quantiles_by_hand():
    assert [float(quantile(points(VALUES), CDF, level)) for level in (0.1, 0.25, 0.26, 0.75, 0.76, 1.0)] == [
        0,
        0,
        1,
        1,
        4,
        4,
    ]
    assert quantile(points(VALUES), np.array([CDF, [0.5, 0.6, 1.0]]), 0.5).tolist() == [1.0, 0.0]


def test_the_lower_tail_by_hand():
    assert lower_tail_mean(points(VALUES), CDF, 0.25) == pytest.approx(0.0)
    assert lower_tail_mean(points(VALUES), CDF, 0.5) == pytest.approx(0.5)  # a quarter of 0, a quarter of 1
    assert lower_tail_mean(points(VALUES), CDF, 0.8) == pytest.approx((0.5 + 0.05 * 4) / 0.8)
    assert lower_tail_mean(points(VALUES), CDF, 1.0) == pytest.approx(1.5)  # the mean


def test_variance_by_hand():
    assert variance(points(VALUES), CDF) == pytest.approx(0.25 * 2.25 + 0.5 * 0.25 + 0.25 * 6.25)
    assert variance(points(VALUES), np.array([CDF, [0.0, 1.0, 1.0]])) == pytest.approx([2.25, 0.0])


@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=2, max_size=40), st.floats(0.05, 1.0))
def test_on_a_sample_they_are_what_numpy_says(rewards, alpha):
    reward = np.sort(np.array(rewards))
    values = np.unique(reward)
    cdf = rising(cumulative(reward, np.ones(len(reward)), values))
    assert lower_tail_mean(points(values), cdf, 1.0) == pytest.approx(reward.mean(), abs=1e-9)
    assert variance(points(values), cdf) == pytest.approx(reward.var(), abs=1e-9)
    assert quantile(points(values), cdf, alpha) == np.quantile(reward, alpha - 1e-9, method="inverted_cdf")
    count = len(reward) * alpha
    whole = int(count)
    tail = reward[:whole].sum() + (reward[whole] * (count - whole) if whole < len(reward) else 0.0)
    assert lower_tail_mean(points(values), cdf, alpha) == pytest.approx(tail / count, abs=1e-9)


def test_the_resampled_band_by_hand():
    draws = np.array([[0.25 + shift, 0.75, 1.0] for shift in np.linspace(-0.1, 0.1, 101)])
    low, high = resampled_band(CDF, draws, 1.0)
    assert low == pytest.approx([0.15, 0.65, 1.0])
    assert high == pytest.approx([0.35, 0.85, 1.0])


def weighted(rng, rows):
    """Rewards of a log with known weights in [0, 4], and P(r <= v) under the other policy."""
    action = (rng.random(rows) < 0.2).astype(int)  # logged with 0.2, wanted with 0.8
    weights = np.array([0.25, 4.0])[action]
    return np.where(action == 1, rng.random(rows), 0.5 * rng.random(rows)).round(2), weights


def test_the_bernstein_band_holds_the_whole_function():
    values = np.arange(101) / 100
    truth = 0.8 * (values + 0.005).clip(0, 1) + 0.2 * (2 * (values + 0.005)).clip(0, 1)
    rng, held, wide = np.random.default_rng(0), 0, []
    for _ in range(100):
        reward, weights = weighted(rng, 400)
        low, high = bernstein_band(reward, weights, values, 0.9, 4.0)
        held += ((low <= truth + 1e-12) & (truth <= high + 1e-12)).all()
        wide.append((high - low).max())
    assert held == 100  # it is cautious
    assert np.mean(wide) < 0.9


def test_the_bernstein_band_narrows_with_the_log():
    values = np.arange(101) / 100
    widths = []
    for rows in (1_000, 100_000):
        low, high = bernstein_band(*weighted(np.random.default_rng(1), rows), values, 0.95, 4.0)
        assert (np.diff(low) >= 0).all()
        assert (np.diff(high) >= 0).all()
        widths.append(np.mean(high - low))
    assert widths[1] < 0.25 * widths[0]


def test_cells_by_hand():
    found = cells(np.array([3.0, 1.0, 1.0, 2.0]), np.array([1.0, 2.0, 0.0, 0.5]), 5, (0.0, 3.0))
    assert found.low.tolist() == found.high.tolist() == found.centre.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert found.spread.tolist() == [0.0] * 4
    one = cells(np.array([4.0, 0.0, 2.0]), np.array([1.0, 1.0, 2.0]), 1)
    assert [each.tolist() for each in one] == [[0.0], [4.0], [2.0], [2.0]]


def test_inside_a_cell_mass_is_spread_evenly():
    where = Cells(np.array([0.0, 2.0]), np.array([1.0, 4.0]), np.array([0.5, 3.0]), np.array([1 / 12, 1 / 3]))
    half = np.array([0.5, 1.0])
    assert [float(quantile(where, half, level)) for level in (0.25, 0.5, 0.75, 1.0)] == [0.5, 1.0, 3.0, 4.0]
    assert lower_tail_mean(where, half, 0.25) == pytest.approx(0.25)
    assert lower_tail_mean(where, half, 0.75) == pytest.approx((0.5 * 0.5 + 0.25 * 2.5) / 0.75)
    assert lower_tail_mean(where, half, 1.0) == pytest.approx(1.75)
    assert variance(where, half) == pytest.approx((1 / 3 + 28 / 3) / 2 - 1.75**2)  # E r^2 of each half


@pytest.mark.parametrize("law", ["normal", "lognormal", "zero or lognormal"])
def test_cells_of_many_values_say_what_all_values_say(law):
    rng = np.random.default_rng(3)
    reward = rng.normal(size=20_000) if law == "normal" else rng.lognormal(0, 1.5, 20_000)
    reward = np.where(rng.random(20_000) < 0.8, 0.0, reward) if law.startswith("zero") else reward
    weights = rng.random(20_000) * 2
    told = [cells(reward, weights, most) for most in (256, 20_000)]
    few, every = ((each, rising(cumulative(reward, weights / weights.mean(), each.high))) for each in told)
    assert len(told[0].high) <= 256
    assert lower_tail_mean(*few, 1.0) == pytest.approx(lower_tail_mean(*every, 1.0), rel=1e-9)
    assert variance(*few) == pytest.approx(variance(*every), rel=1e-9)
    for level in (0.002, 0.05, 0.4, 0.9, 0.998):
        assert quantile(*few, level) == pytest.approx(quantile(*every, level), rel=0.02, abs=2e-3)
        assert lower_tail_mean(*few, level) == pytest.approx(lower_tail_mean(*every, level), rel=5e-3, abs=2e-3)
