"""The divergence between chances and its inverse, by hand and by bisection."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.equations.bernoulli import divergence, upper_bound


def bisected(chance, budget):
    """The largest q with kl(p, q) <= budget, by halving."""
    low, high = chance, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle < 1.0 and divergence(chance, middle) <= budget:
            low = middle
        else:
            high = middle
    return low


def bound(chance, budget):
    return upper_bound(np.array([[chance]]), np.array([[budget]])).item()


def test_divergence_by_hand():
    assert divergence(0.5, 0.25) == pytest.approx(0.5 * log(2) + 0.5 * log(2 / 3))
    assert divergence(0.0, 0.25) == pytest.approx(log(4 / 3))
    assert divergence(1.0, 0.25) == pytest.approx(log(4))
    assert divergence(0.3, 0.3) == 0.0


@given(st.floats(0, 1), st.floats(1e-9, 50))
@settings(max_examples=300, deadline=None)
def test_the_upper_bound_is_what_bisection_finds(chance, budget):
    assert bound(chance, budget) == pytest.approx(bisected(chance, budget), abs=1e-9)


def test_the_upper_bound_without_successes_is_known():
    for budget in (1e-6, 0.1, 3.0):
        assert bound(0.0, budget) == pytest.approx(1 - exp(-budget), rel=1e-10)


def test_the_upper_bound_at_the_edges():
    assert bound(1.0, 0.5) == 1.0
    assert bound(0.3, 0.0) == 0.3
    assert bound(0.3, np.inf) == 1.0
    assert bound(0.3, 1e4) == 1.0


def test_the_upper_bound_keeps_the_shape():
    chance, budget = np.full((2, 3), 0.2), np.arange(6.0).reshape(2, 3) / 10
    bounds = upper_bound(chance, budget)
    assert bounds.shape == (2, 3)
    assert (np.diff(bounds.ravel()) > 0).all()
    assert bounds[1, 2] == pytest.approx(bisected(0.2, 0.5), abs=1e-12)
