"""Power beside textbooks, published boundaries, and simulation."""

import numpy as np
import pytest

from bondhu.equations.power import (
    chance_found,
    correlation_within,
    design_effect,
    stopped_by,
)
from bondhu.equations.sequences import radius


def test_chance_of_one_look():
    assert chance_found(2.801585, 1.0, 0.95) == pytest.approx(0.8, abs=1e-5)
    assert chance_found(0.0, 1.0, 0.95) == pytest.approx(0.05)


def test_ten_decisions_that_agree_a_little():
    assert design_effect(10.0, 0.05) == pytest.approx(1.45)
    np.testing.assert_allclose(design_effect(np.array([1.0, 3.0]), 0.5), [1.0, 2.0])


def test_correlation_within_by_hand():
    # means 1, 5 about 3; between 2 * (4 + 4) / 1 = 16, within (1 + 1 + 1 + 1) / 2 = 2; (16 - 2) / (16 + 2)
    assert correlation_within(np.array([0.0, 2.0, 4.0, 6.0]), np.array([7, 7, 9, 9])) == pytest.approx(14 / 18)
    assert correlation_within(np.array([0.0, 2.0, 4.0]), np.arange(3)) == 0.0
    assert correlation_within(np.array([0.0, 2.0, 0.0, 2.0]), np.array([0, 0, 1, 1])) == 0.0


def test_correlation_within_users_of_different_size():
    rng = np.random.default_rng(0)
    unit = rng.integers(0, 2000, 20_000) ** 2 // 2000
    values = rng.normal(0, 0.5, 2000)[unit] + rng.normal(size=20_000)
    assert correlation_within(values, unit) == pytest.approx(0.2, abs=0.02)


def test_boundaries_that_were_published():
    looks = np.arange(1.0, 6.0)
    assert stopped_by(looks, np.full(5, 2.413), 0.0)[-1] == pytest.approx(0.05, abs=1e-4)  # Pocock (1977)
    assert stopped_by(looks, 2.040 * np.sqrt(5 / looks), 0.0)[-1] == pytest.approx(0.05, abs=1e-4)  # O'Brien & Fleming
    assert stopped_by(looks[:1], np.array([1.959964]), 0.0)[0] == pytest.approx(0.05, abs=1e-7)
    # Jennison & Turnbull (2000), tables 2.1 and 2.2: five looks by Pocock find with 90 % at 1.207 times the fixed size
    drift = 3.241516 / np.sqrt(5 / 1.207)
    assert stopped_by(looks, np.full(5, 2.413), drift)[-1] == pytest.approx(0.9, abs=1e-3)


def test_a_look_without_a_boundary_stops_nothing():
    assert stopped_by(np.array([1.0, 2.0]), np.array([np.inf, 1.959964]), 0.0) == pytest.approx([0.0, 0.05], abs=1e-6)


def test_the_always_valid_test_stops_as_simulated():
    looks = np.arange(20.0, 420.0, 20.0)
    told = stopped_by(looks, radius(looks, 0.95), 0.2)
    rng = np.random.default_rng(1)
    z = np.cumsum(rng.normal(4.0, np.sqrt(20), (20_000, 20)), axis=1) / np.sqrt(looks)
    seen = np.maximum.accumulate(np.abs(z) > radius(looks, 0.95), axis=1).mean(0)
    np.testing.assert_allclose(told, seen, atol=0.012)
