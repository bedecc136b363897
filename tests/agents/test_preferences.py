"""Style from accepted and rejected edits: known weights recovered, numbers by hand, and what cannot be known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bondhu.agents.preferences import (
    FEATURES,
    FORM,
    QUALITY,
    Pair,
    Preferences,
    agreement,
    described,
    from_features,
    learned,
)
from bondhu.domains.coding.quality import Reviewer
from bondhu.domains.coding.reward import Attempt, Weights, reward
from bondhu.errors import InvalidInput
from bondhu.types import Floats

NAMES = ("style", "brevity", "documented")
WEIGHTS = np.array([6.0, -4.0, 0.0])
PLAIN = """\
def total(xs):
    t = 0
    for x in xs:
        t += x
    return t
"""
TYPED = '''\
def total(prices: list[float]) -> float:
    """The sum of all prices."""
    amount = 0.0
    for price in prices:
        amount += price
    return amount
'''
INLINE = "def total(xs):\n    return sum([x for x in xs])\n"


def judged(rows: int, seed: int, weights: Floats = WEIGHTS) -> tuple[Floats, Floats]:
    """Features of what somebody with these weights accepted and rejected, of pairs drawn from [0, 1]."""
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, rows, len(weights)))
    first = rng.random(rows) < 1 / (1 + np.exp(-(one - other) @ weights))
    return np.where(first[:, None], one, other), np.where(first[:, None], other, one)


def of(rows: int, seed: int) -> Preferences:
    return from_features(*judged(rows, seed), names=NAMES)


# -------------------------------------------------------------------------------------------------------- simulated


def test_known_weights_are_recovered_and_their_intervals_hold_them() -> None:
    inside, off = list[bool](), list[Floats]()
    for seed in range(20):
        weights = of(300, seed).weights
        inside += [weight.low <= truth <= weight.high for weight, truth in zip(weights, WEIGHTS, strict=True)]
        off.append(np.array([weight.value for weight in weights]) - WEIGHTS)
    assert 0.86 <= np.mean(inside) <= 1.0  # 95 % of 60, within three standard errors
    np.testing.assert_allclose(np.mean(off, axis=0), 0.0, atol=0.6)  # shrunk by the prior, if at all


def test_what_was_learned_agrees_with_pairs_that_it_has_not_seen() -> None:
    found = [agreement(of(300, seed), *judged(1000, 1000 + seed)) for seed in range(5)]
    best = [float(np.mean((np.subtract(*judged(1000, 1000 + seed)) @ WEIGHTS) > 0)) for seed in range(5)]
    assert np.mean(best) - np.mean(found) < 0.02
    assert min(found) > 0.75
    assert agreement(from_features(np.empty((0, 3)), np.empty((0, 3)), NAMES), *judged(100, 0)) == 0.5


def test_more_pairs_make_it_surer() -> None:
    errors = [
        np.mean([[weight.error for weight in of(rows, seed).weights] for seed in range(5)]) for rows in (50, 200, 800)
    ]
    assert errors[0] > 1.5 * errors[1] > 2.5 * errors[2]


# ---------------------------------------------------------------------------------------------------------- by hand


def test_two_pairs_by_hand() -> None:
    # w / s² = 2·σ(-w): s² = 2·ln 3 gives w = ln 3, with precision 1/s² + 2·(3/4)(1/4).
    liked = from_features(np.ones((2, 1)), np.zeros((2, 1)), ["style"], spread=math.sqrt(2 * math.log(3)))
    (weight,) = liked.weights
    error = (1 / (2 * math.log(3)) + 3 / 8) ** -0.5
    assert weight.value == pytest.approx(math.log(3))
    assert weight.error == pytest.approx(error)
    assert (weight.low, weight.high) == pytest.approx(
        (weight.value - 1.95996 * error, weight.value + 1.95996 * error), abs=1e-4
    )
    assert weight.liked == pytest.approx(0.5 * math.erfc(-weight.value / error / math.sqrt(2)))
    assert weight.pairs == 2
    assert liked.sure(np.ones(1), np.zeros(1)) == pytest.approx(weight.liked)
    assert liked.told() == "style: +1.10 ± 1.10 (-1.05 to +3.25); more is preferred with 84.2%, from 2 pairs."


def test_pairs_that_contradict_each_other_leave_no_weight_but_less_doubt() -> None:
    one, other = np.array([[1.0, 0.2]]), np.array([[0.0, 0.2]])
    liked = from_features(np.vstack([one, other]), np.vstack([other, one]), ["style", "brevity"], spread=5.0)
    style, _ = liked.weights
    assert style.value == pytest.approx(0.0, abs=1e-12)
    assert style.error == pytest.approx((1 / 25 + 2 / 4) ** -0.5)  # and not 5
    assert style.liked == pytest.approx(0.5)
    assert liked.chance(one[0], other[0]) == pytest.approx(0.5)


def test_without_pairs_the_prior_is_left() -> None:
    liked = learned([], Reviewer())
    assert liked.pairs == 0
    for weight in liked.weights:
        assert (weight.value, weight.liked, weight.pairs) == (0.0, 0.5, 0)
        assert weight.error == pytest.approx(5.0)
    assert liked.sure(np.ones(9), np.zeros(9)) == 0.5
    assert liked.chance(np.ones(9), np.zeros(9)) == 0.5


def test_of_a_feature_that_never_differs_it_says_that_nothing_is_known() -> None:
    accepted, rejected = judged(100, 0)
    accepted[:, 1] = rejected[:, 1] = 0.7
    liked = from_features(accepted, rejected, NAMES, spread=4.0)
    style, brevity, _ = liked.weights
    assert (brevity.value, brevity.pairs) == (0.0, 0)
    assert brevity.error == pytest.approx(4.0)
    assert style.error < 2.0
    assert "brevity: nothing is known; it differed in no pair (0 ± 4.00, as assumed)." in liked.told()


def test_pairs_that_cannot_be_learned_from_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"Pairs of the shapes \(2, 3\) and \(1, 3\)\. Give 3 features"):
        from_features(np.ones((2, 3)), np.ones((1, 3)), NAMES)
    with pytest.raises(InvalidInput, match=r"The rejected edit 1 has 'brevity' = nan\.") as raised:
        from_features(np.ones((2, 3)), np.array([[1, 1, 1], [1, np.nan, 1]]), NAMES)
    assert raised.value.field == "rejected"
    with pytest.raises(InvalidInput, match=r"A spread of 0\.0"):
        from_features(np.ones((2, 3)), np.ones((2, 3)), NAMES, spread=0.0)


# --------------------------------------------------------------------------------------------------------- of sources


def test_sources_are_described_by_their_quality_and_form() -> None:
    table = described([PLAIN, TYPED, INLINE, "def f(:"], Reviewer())
    assert table.shape == (4, len(FEATURES))
    assert ((table >= 0) & (table <= 1)).all()
    found = [dict(zip(FORM, row[len(QUALITY) :], strict=True)) for row in table.tolist()]
    assert found[0] == pytest.approx(
        {"documented": 0, "annotated": 0, "comprehensions": 0, "brevity": 1 / 1.5, "long names": (1 + 2 + 1) / 36}
    )  # 5 statements; t, xs, x
    assert found[1] == pytest.approx(
        {"documented": 1, "annotated": 1, "comprehensions": 0, "brevity": 1 / 1.6, "long names": (6 + 6 + 5) / 36}
    )
    assert (found[2]["comprehensions"], found[2]["brevity"]) == pytest.approx((1.0, 1 / 1.2))
    assert not table[3].any()
    quality = Reviewer().review([PLAIN])[0]
    assert table[0, : len(QUALITY)].tolist() == [quality.scores[name] for name in QUALITY]


def test_who_accepts_documented_code_is_said_to_like_it() -> None:
    liked = learned([Pair(TYPED, PLAIN), Pair(TYPED, INLINE), Pair(TYPED, PLAIN)], Reviewer())
    of_name = {weight.name: weight for weight in liked.weights}
    assert of_name["documented"].value > 1.0
    assert of_name["documented"].liked > 0.6
    assert of_name["documented"].pairs == 3
    typed, plain = described([TYPED, PLAIN], Reviewer())
    assert 0.8 < liked.sure(typed, plain) < 0.95  # three pairs are few
    assert liked.chance(typed, plain) == pytest.approx(1 - liked.chance(plain, typed))


# --------------------------------------------------------------------------------------------------------- as a reward


def test_learned_weights_take_the_place_of_those_of_quality_and_weigh_as_much_together() -> None:
    accepted, rejected = judged(400, 0, np.array([8.0, 0.0, -4.0, 0.0]))
    liked = from_features(accepted, rejected, QUALITY)
    weights = liked.in_weights(Weights())
    assert sum(abs(getattr(weights, name)) for name in QUALITY) == pytest.approx(1.0)
    assert weights.readability == pytest.approx(8 / 12, abs=0.15)
    assert weights.style == pytest.approx(-4 / 12, abs=0.15)
    assert (weights.tests, weights.solved) == (1.0, 10.0)
    quality = Reviewer().review([PLAIN])[0]
    earned = reward(Attempt((True,), quality=quality), weights)
    assert earned.components["style"] == pytest.approx(weights.style * quality.style)
    assert learned([], Reviewer()).in_weights(Weights()) == Weights()


def test_only_a_solution_is_paid_for_what_somebody_likes() -> None:
    liked, reviewer = learned([Pair(TYPED, PLAIN)] * 4, Reviewer()), Reviewer()
    attempt = Attempt((True, True))
    whole = reward(attempt) + liked.paid(attempt, TYPED, PLAIN, reviewer, worth=2.0)
    typed, plain = described([TYPED, PLAIN], reviewer)
    assert whole.components["preference"] == pytest.approx(2.0 * liked.chance(typed, plain))
    assert whole.total == pytest.approx(12.0 + whole.components["preference"])
    assert liked.paid(attempt, PLAIN, TYPED, reviewer).total < 0.5 < liked.paid(attempt, TYPED, PLAIN, reviewer).total
    assert liked.paid(attempt, PLAIN, PLAIN, reviewer).total == pytest.approx(0.5)
    for failed in (Attempt((True, False)), Attempt((True,), cheated=True), Attempt((True,), (False,))):
        assert liked.paid(failed, TYPED, PLAIN, reviewer).total == 0.0
