"""Corrections on the examples of textbooks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.corrections import benjamini_hochberg, bonferroni, holm


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7, np.nan])), [1.0, 1.0, 1.0])


def test_benjamini_hochberg_by_hand():
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.005])), [0.02, 0.04, 0.04, 0.02])


def test_the_fifteen_p_values_of_benjamini_and_hochberg():
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert (benjamini_hochberg(np.array(p)) <= 0.05).sum() == 4  # as their paper says (1995, section 4)
    assert (holm(np.array(p)) <= 0.05).sum() == 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_corrections_keep_the_order_and_never_make_surer(p):
    p = np.array(p)
    for adjusted in (holm(p), benjamini_hochberg(p)):
        assert (adjusted >= p - 1e-12).all()
        assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
    assert (benjamini_hochberg(p) <= holm(p) + 1e-12).all()


def test_bonferroni_shares_the_error():
    assert bonferroni(0.95, 5) == pytest.approx(0.99)
    assert bonferroni(0.95, 0) == 0.95
