"""Smoothing on an interval against numeric integrals, and waves against their own."""

import numpy as np
import pytest

from bondhu.equations.kernels import (
    cross_fitted_waves,
    kernel,
    kernel_below,
    rule_of_thumb,
    smoothed_pieces,
    smoothed_points,
    wave_means,
    waves,
)

EDGES = np.array([10.0, 12.0, 15.0, 30.0])
GRID = 10 + 20 * (np.arange(200_000) + 0.5) / 200_000  # midpoints, for integrals over the interval


def test_the_kernel_by_hand_and_its_integral():
    assert kernel(np.array([0.0, 0.5, 1.0, -2.0])).tolist() == [0.75, 0.5625, 0.0, 0.0]
    assert kernel_below(np.array([-3.0, -1.0, 0.0, 0.5, 1.0, 9.0])).tolist() == [0.0, 0.0, 0.5, 0.84375, 1.0, 1.0]
    steps = np.linspace(-1, 1, 20_001)
    assert np.trapezoid(kernel(steps), steps) == pytest.approx(1.0, abs=1e-8)
    assert np.trapezoid(kernel(steps) * steps**2, steps) == pytest.approx(0.2, abs=1e-8)


def test_the_rule_of_thumb_by_hand():
    assert rule_of_thumb(np.array([0.0, 2.0] * 16)) == pytest.approx(2.34 * 1.0 * 0.5)  # 32^(-1/5) = 1/2


@pytest.mark.parametrize("bandwidth", [0.3, 2.0, 15.0])
def test_a_smoothed_density_is_the_convolution_and_sums_to_one(bandwidth):
    mass = np.array([0.5, 0.2, 0.3])
    alike = np.broadcast_to(mass, (len(GRID), 3))
    density = smoothed_pieces(GRID, EDGES, alike, bandwidth)
    assert density.mean() * 20 == pytest.approx(1.0, abs=1e-6)
    at = np.array([10.0, 11.7, 15.0, 29.5])
    plain = np.repeat(mass / np.diff(EDGES), (np.diff(EDGES) * 10_000).astype(int))
    folded = [
        sum((plain * kernel((image - GRID) / bandwidth)).mean() * 20 / bandwidth for image in (y, 20 - y, 60 - y))
        for y in at
    ]
    assert smoothed_pieces(at, EDGES, np.tile(mass, (4, 1)), bandwidth) == pytest.approx(folded, rel=1e-4)


def test_a_smoothed_point_is_the_kernel_there_and_sums_to_one():
    points = np.full((len(GRID), 1), 11.0)
    density = smoothed_points(GRID, points, (10.0, 30.0), 2.0)
    assert density.mean() * 20 == pytest.approx(1.0, abs=1e-6)
    at = np.array([10.0, 11.0, 12.5, 14.0])
    # at 10 the image of 10 is 10 itself: k(1/2) / 2 twice; at 11 it is 9, one bandwidth away: nothing
    expected = [0.5625, 0.375, 0.75 * (1 - 0.75**2) / 2, 0.0]
    assert smoothed_points(at, np.full((4, 1), 11.0), (10.0, 30.0), 2.0) == pytest.approx(expected)


def test_many_points_are_as_good_as_pieces():
    points = np.concatenate([np.linspace(10, 12, 2_001), np.linspace(15, 30, 2_001)])[None]
    at = np.array([[10.5], [14.0], [22.0]])
    by_points = [smoothed_points(each, points, (10.0, 30.0), 3.0)[0] for each in at]
    by_pieces = [smoothed_pieces(each, EDGES, np.array([[0.5, 0.0, 0.5]]), 3.0)[0] for each in at]
    assert by_points == pytest.approx(by_pieces, rel=2e-3)


def test_waves_and_their_means():
    assert waves(np.array([10.0, 20.0, 30.0]), (10.0, 30.0), 3) == pytest.approx(
        np.array([[1, 1, 1], [1, 0, -1], [1, -1, 1]]), abs=1e-12
    )
    means, ends = wave_means(EDGES, 5), np.searchsorted(GRID, EDGES)
    for piece in range(3):
        part = waves(GRID[ends[piece] : ends[piece + 1]], (10.0, 30.0), 5)
        assert means[piece] == pytest.approx(part.mean(0), abs=1e-6)


def test_a_surface_of_waves_is_found_without_the_rows_own_fold():
    rng = np.random.default_rng(0)
    design = np.hstack([np.ones((5_000, 1)), rng.standard_normal((5_000, 2))])
    place = rng.random(5_000)
    wave = waves(place, (0.0, 1.0), 3)
    truth = np.array([[0.5, 0.2, 0.0], [0.0, -0.3, 0.1], [0.4, 0.0, 0.2]])
    reward = np.einsum("tf,fk,tk->t", design, truth, wave) + 0.1 * rng.standard_normal(5_000)
    fold = np.arange(5_000) % 5
    found = cross_fitted_waves(design, wave, reward, fold)
    assert found == pytest.approx(np.tile(truth, (5, 1, 1)), abs=0.02)
    other = cross_fitted_waves(design, wave, np.where(fold == 2, 100.0, reward), fold)
    assert other[2] == pytest.approx(found[2], abs=0.02)  # only its penalty is chosen anew
    assert abs(other[0] - found[0]).max() > 1.0
