"""Gaussian densities against SciPy, and the squashed one against a numerical Jacobian."""

import jax
import numpy as np
import pytest
from scipy import stats

from bondhu.equations import gaussian

ACTION = np.array([[0.3, -1.2], [2.0, 0.0]])
MEAN = np.array([[0.0, 1.0], [1.5, -0.5]])
LOG_DEVIATION = np.array([0.2, -0.7])
DENSITY = stats.norm.logpdf(ACTION, MEAN, np.exp(LOG_DEVIATION))


log_density, entropy = jax.jit(gaussian.log_density), jax.jit(gaussian.entropy)
squashed_log_density, squash = jax.jit(gaussian.squashed_log_density), jax.jit(gaussian.squash)


def test_the_density_is_scipys():
    found = log_density(ACTION, MEAN, LOG_DEVIATION)
    assert np.asarray(found) == pytest.approx(DENSITY.sum(axis=1), rel=1e-5)


def test_the_entropy_is_scipys():
    expected = stats.norm.entropy(0, np.exp(LOG_DEVIATION)).sum()
    assert float(entropy(LOG_DEVIATION)) == pytest.approx(expected, rel=1e-5)
    assert entropy(np.zeros((3, 2))).shape == (3,)


def test_the_squashed_density_divides_by_the_jacobian():
    step = 1e-6
    jacobian = (np.tanh(ACTION + step) - np.tanh(ACTION - step)) / (2 * step)
    found = squashed_log_density(ACTION, MEAN, LOG_DEVIATION)
    assert np.asarray(found) == pytest.approx((DENSITY - np.log(jacobian)).sum(axis=1), rel=1e-5)


def test_the_squashed_density_adds_up_to_one():
    action = np.linspace(-1, 1, 4001)[1:-1]
    raw = np.arctanh(action)[:, None]
    density = np.exp(squashed_log_density(raw, np.full(1, 0.3), np.full(1, -0.5)))
    assert np.trapezoid(density, action) == pytest.approx(1.0, abs=1e-4)


def test_the_squashed_density_is_exact_far_out_where_tanh_is_flat():
    raw = np.array([[50.0], [-50.0]])
    found = squashed_log_density(raw, raw, np.zeros(1))
    expected = stats.norm.logpdf(0) - (np.log(4) - 100)  # log(1 - tanh² x) goes to log 4 - 2|x|
    assert found.tolist() == pytest.approx([expected, expected], rel=1e-6)
    slope = jax.jit(jax.grad(lambda x: squashed_log_density(x, np.zeros(1), np.zeros(1)).sum()))(raw)
    assert np.asarray(slope).ravel().tolist() == pytest.approx([-50 + 2, 50 - 2])


def test_squashed_actions_fill_their_bounds_and_no_more():
    raw = np.array([[-99.0, 0.0], [99.0, 0.5]])
    found = squash(raw, np.array([-2.0, 0.0]), np.array([2.0, 10.0]))
    assert np.asarray(found) == pytest.approx(np.array([[-2.0, 5.0], [2.0, 5 * (np.tanh(0.5) + 1)]]))
    narrow = squash(raw, np.full(2, 0.1), np.full(2, 0.7))
    assert np.asarray(narrow).max() <= np.float32(0.7)
