"""Every kind of interval by its name: what it is, what it needs, and that estimates have the default."""

import numpy as np
import pytest

from bondhu import evaluate
from bondhu.equations.intervals import bootstrap_t, empirical_bernstein, skewness_corrected, student
from bondhu.equations.sequences import confidence_sequence
from bondhu.errors import InvalidInput, UnknownName
from bondhu.evaluate.intervals import DEFAULT, KINDS, interval, of_every_kind
from bondhu.evaluate.support import estimate
from tests.contract.small_world import TARGET, TRUTH, Tabled, simulated

TERMS = np.random.default_rng(0).exponential(size=240)
SESSION = np.repeat(np.arange(120), 2)
every = pytest.mark.parametrize("kind", KINDS)


def test_the_table_names_five_kinds_and_what_each_assumes():
    assert tuple(KINDS) == ("asymptotic", "skewness", "bootstrap", "empirical_bernstein", "anytime")
    for kind in KINDS.values():
        assert "independent" in kind.assumes
        assert "\n" not in kind.assumes


def test_each_name_means_its_equation():
    given = {"session": SESSION, "rng": np.random.default_rng(7)}
    assert interval(TERMS, "asymptotic", 0.9, **given) == student(TERMS, 0.9, SESSION)
    assert interval(TERMS, "skewness", 0.9, **given) == skewness_corrected(TERMS, 0.9, SESSION)
    assert interval(TERMS, "anytime", 0.9, **given) == confidence_sequence(TERMS, 0.9, SESSION)
    assert interval(TERMS, "bootstrap", 0.9, **given) == bootstrap_t(TERMS, 0.9, np.random.default_rng(7), SESSION)
    alone = interval(TERMS, "empirical_bernstein", 0.9, bounds=(0.0, 20.0))
    assert alone == empirical_bernstein(TERMS, 0.9, (0.0, 20.0))


def test_empirical_bernstein_counts_sessions_by_hand():
    """Sessions of 2 and 1 terms: sums 3 and 2, times G / T = 2 / 3, inside 2 / 3 of twice the bounds."""
    found = interval(np.array([1.0, 2.0, 2.0]), "empirical_bernstein", 0.9, session=np.array([0, 0, 1]), bounds=(0, 2))
    assert found == pytest.approx(empirical_bernstein(np.array([2.0, 4 / 3]), 0.9, (0.0, 8 / 3)))
    one = interval(np.array([1.0, 2.0]), "empirical_bernstein", 0.9, session=np.array([4, 4]), bounds=(0.0, 2.0))
    assert one == (-np.inf, np.inf)


@every
def test_rows_repeated_inside_a_session_add_nothing(kind):
    once = interval(TERMS, kind, 0.95, bounds=(0.0, 10.0))
    thrice = interval(np.repeat(TERMS, 3), kind, 0.95, session=np.repeat(np.arange(240), 3), bounds=(0.0, 10.0))
    assert thrice == pytest.approx(once)
    assert once[0] < TERMS.mean() < once[1]


def test_the_bootstrap_draws_the_same_each_time_unless_told_otherwise():
    assert interval(TERMS, "bootstrap", 0.95) == interval(TERMS, "bootstrap", 0.95)
    other = interval(TERMS, "bootstrap", 0.95, rng=np.random.default_rng(1))
    assert other != interval(TERMS, "bootstrap", 0.95)
    assert other == pytest.approx(interval(TERMS, "bootstrap", 0.95), abs=0.05)


def test_every_kind_at_once_leaves_out_what_needs_bounds():
    assert tuple(of_every_kind(TERMS, 0.95)) == ("asymptotic", "skewness", "bootstrap", "anytime")
    found = of_every_kind(TERMS, 0.95, bounds=(0.0, 10.0))
    assert tuple(found) == tuple(KINDS)
    width = {kind: high - low for kind, (low, high) in found.items()}
    assert width["asymptotic"] < width["skewness"] < width["anytime"] < width["empirical_bernstein"]


def test_estimates_have_the_default_kind_over_sessions():
    batch = simulated(np.random.default_rng(1), 500)
    found = estimate(batch.reward, batch, 0.9, 500.0)
    assert DEFAULT == "skewness"
    assert (found.low, found.high) == interval(batch.reward, DEFAULT, 0.9, session=batch.session)
    assert found.value == pytest.approx(batch.reward.mean())
    judged = evaluate.find("ips")()(Tabled(TARGET), batch)
    assert (judged.low, judged.high) == interval(judged.terms, DEFAULT, 0.95, session=batch.session)


def test_every_kind_holds_the_truth_as_often_as_it_says():
    rng, bounds = np.random.default_rng(2), (0.0, float((TARGET[:2] / [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]).max()))
    held = dict.fromkeys(KINDS, 0)
    for _ in range(200):
        batch = simulated(rng, 400)
        terms = evaluate.find("ips")()(Tabled(TARGET), batch).terms
        for kind, (low, high) in of_every_kind(terms, 0.95, bounds=bounds, rng=rng).items():
            held[kind] += low <= TRUTH <= high
    share = {kind: count / 200 for kind, count in held.items()}
    assert min(share.values()) >= 0.91
    assert max(share[kind] for kind in ("asymptotic", "skewness", "bootstrap")) <= 0.99
    assert min(share["empirical_bernstein"], share["anytime"]) >= 0.98


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(UnknownName, match=r"No kind of interval 'bootstap'. Did you mean 'bootstrap'\?"):
        interval(TERMS, "bootstap", 0.95)


BAD = {
    "needs bounds": (TERMS, "empirical_bernstein", 0.95, None),
    "confidence of 95 is not between": (TERMS, "asymptotic", 95, None),
    "confidence of 0 is not between": (TERMS, "asymptotic", 0, None),
    "0 terms": (np.empty(0), "asymptotic", 0.95, None),
    "3 terms, 1 of them no number": (np.array([1.0, np.nan, 2.0]), "anytime", 0.95, None),
    "beyond their bounds": (TERMS, "empirical_bernstein", 0.95, (0.0, 1.0)),
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_input_is_named(reason):
    terms, kind, confidence, bounds = BAD[reason]
    with pytest.raises(InvalidInput, match=reason):
        interval(terms, kind, confidence, bounds=bounds)
