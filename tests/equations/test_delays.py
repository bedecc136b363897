"""How late feedback comes: by hand, against brute force, and against a known distribution seen through truncation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.equations.delays import DelayDistribution, delay_distribution


def by_hand(delay, age, at):
    """The definition, one factor after the other."""
    product = 1.0
    for u in sorted(set(delay)):
        if u > at:
            here = sum(each == u for each in delay)
            risk = sum(d <= u <= a for d, a in zip(delay, age, strict=True))
            product *= 1 - here / risk
    return product


def test_without_truncation_it_is_the_share_that_has_come():
    found = delay_distribution(np.array([1.0, 2.0, 2.0, 5.0]), np.full(4, 10.0))
    assert found.delay.tolist() == [1.0, 2.0, 5.0]
    assert found.share == pytest.approx([0.25, 0.75, 1.0])
    assert found.within(np.array([0.5, 1.0, 4.9, 5.0, 99.0])) == pytest.approx([0.0, 0.25, 0.75, 1.0, 1.0])


def test_one_slow_answer_to_an_old_decision_weighs_for_those_that_are_still_to_come():
    # three answers within a second to decisions one second old; of the two old decisions one answer took 9 seconds
    found = delay_distribution(np.array([1.0, 1.0, 1.0, 1.0, 9.0]), np.array([1.0, 1.0, 1.0, 10.0, 10.0]))
    assert found.share == pytest.approx([0.5, 1.0])


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20),
    st.integers(-1, 8),
)
def test_it_is_the_product_of_its_definition(pairs, at):
    delay = np.array([float(d) for d, _ in pairs])
    age = delay + np.array([float(more) for _, more in pairs])
    found = delay_distribution(delay, age)
    expected = by_hand(delay.tolist(), age.tolist(), at) if at >= delay.min() else 0.0
    assert found.within(float(at)) == pytest.approx(expected, abs=1e-12)


def test_exponential_delays_seen_through_truncation_are_recovered():
    rng = np.random.default_rng(0)
    age, delay = rng.uniform(0, 40, 60_000), rng.exponential(8.0, 60_000)
    seen = delay <= age
    found = delay_distribution(delay[seen], age[seen])
    for wait in (2.0, 8.0, 20.0):
        truth = -np.expm1(-wait / 8.0) / -np.expm1(-40 / 8.0)
        naive = (delay[seen] <= wait).mean()
        assert found.within(wait) == pytest.approx(truth, abs=0.01)
        assert naive > truth + 0.02


def test_delays_that_only_a_few_are_old_enough_for_are_left_out():
    delay, age = np.array([1.0] * 9 + [50.0]), np.array([2.0] * 9 + [60.0])
    assert delay_distribution(delay, age).within(1.0) == 0.0  # one old decision decides over everything
    assert delay_distribution(delay, age, least=2).within(1.0) == 1.0
    assert len(delay_distribution(delay, age, least=11).delay) == 0


def test_nothing_seen_means_nothing_is_corrected():
    assert delay_distribution(np.empty(0), np.empty(0)).within(3.0) == 1.0
    assert DelayDistribution(np.empty(0), np.empty(0)).within(np.array([1.0, 2.0])).tolist() == [1.0, 1.0]
