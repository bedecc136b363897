"""The noise of noisy networks."""

import jax
import numpy as np
import pytest

from bondhu.equations.noise import factored_noise


def test_noise_is_the_product_of_the_rooted_draws_of_both_sides():
    key = jax.random.key(3)
    weights, biases = factored_noise(key, 3, 2)
    draws = np.asarray(jax.random.normal(key, (5,)))
    rooted = np.sign(draws) * np.sqrt(np.abs(draws))
    assert np.asarray(weights) == pytest.approx(np.outer(rooted[:3], rooted[3:]), rel=1e-5)
    assert np.asarray(biases) == pytest.approx(rooted[3:], rel=1e-5)


def test_noise_has_mean_zero_and_the_variance_of_a_rooted_normal():
    weights, biases = (np.asarray(part) for part in factored_noise(jax.random.key(0), 300, 300))
    expected = np.sqrt(2 / np.pi)  # E f(x)² = E|x|
    assert biases.mean() == pytest.approx(0.0, abs=0.15)
    assert (biases**2).mean() == pytest.approx(expected, abs=0.1)
    assert (weights**2).mean() == pytest.approx(expected**2, abs=0.1)


def test_the_same_key_gives_the_same_noise():
    once, again, other = (factored_noise(jax.random.key(seed), 3, 2)[0].tolist() for seed in (1, 1, 2))
    assert once == again
    assert once != other
