"""What things cost, to the last digit, and that a budget is never passed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from bondhu.agents.budget import Budget, Price, Use, price_of, prices
from bondhu.errors import InvalidInput, SettingsInvalid, UnknownName


def test_a_bill_is_exact() -> None:
    price = Price(Decimal("0.15"), Decimal("0.60"))
    assert price.of(1_000, 500) == Decimal("0.00045")  # (1000·0.15 + 500·0.60) for a million
    assert sum((price.of(1, 1) for _ in range(1_000_000)), Decimal(0)) == Decimal("0.75")


def test_what_was_seen_before_has_a_price_of_its_own_where_there_is_one() -> None:
    assert Price(Decimal(2), Decimal(8), Decimal("0.5")).of(1_000_000, 0, 400_000) == Decimal("1.4")
    assert Price(Decimal(2), Decimal(8)).of(1_000_000, 0, 400_000) == 2


def test_uses_add_up() -> None:
    first, second = Use(Decimal("0.1"), 3, 1, 0.5), Use(Decimal("0.2"), 4, 0, 0.25)
    assert first.plus(second) == Use(Decimal("0.3"), 7, 1, 0.75)
    assert first.times(3) == Use(Decimal("0.3"), 9, 3, 1.5)


def test_something_is_done_only_if_its_most_is_there() -> None:
    budget, spent = Budget(dollars=Decimal("0.30"), executions=2), Use(Decimal("0.10"), 999, 1)
    assert budget.affords(spent, Use(Decimal("0.20"), 10**9, 1))
    assert not budget.affords(spent, Use(Decimal("0.2000000001")))
    assert not budget.affords(spent, Use(executions=2))


def test_of_seconds_some_must_be_left() -> None:
    budget = Budget(seconds=2.0)
    assert budget.affords(Use(seconds=1.9), Use(seconds=60.0))
    assert not budget.affords(Use(seconds=2.0), Use())


def test_the_limit_that_is_reached_is_named() -> None:
    budget = Budget(tokens=100, executions=5)
    assert budget.reached(Use(tokens=99, executions=4)) == ""
    assert budget.reached(Use(tokens=99, executions=5)) == "executions"
    assert Budget().reached(Use(Decimal(10**9), 10**9, 10**9, 1e9)) == ""


def test_the_share_that_is_left_is_that_of_the_closest_limit() -> None:
    budget = Budget(dollars=Decimal(2), tokens=100)
    assert budget.share_left(Use(Decimal(1), 80)) == pytest.approx(0.2)
    assert budget.share_left(Use(Decimal(3))) == 0.0
    assert Budget().share_left(Use(Decimal(3))) == 1.0
    assert Budget(executions=0).share_left(Use()) == 0.0


@pytest.mark.parametrize("limit", [-1, Decimal("NaN"), float("nan")])
def test_a_limit_is_a_number_from_zero(limit: Any) -> None:
    with pytest.raises(InvalidInput, match="'dollars' got"):
        Budget(dollars=limit)


def test_prices_come_from_a_table() -> None:
    table = prices({"m": {"given": "1.50", "answered": 2}, "own": {"given": 0, "answered": 0}})
    assert table["m"] == Price(Decimal("1.50"), Decimal(2))
    assert price_of("own", table).of(10**9, 10**9) == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"given": "1"}, "lacks 'answered'"),
        ({"given": "1", "answerd": "2"}, "Did you mean 'answered'?"),
        ({"given": "cheap", "answered": "2"}, "given = 'cheap'"),
        ({"given": "-1", "answered": "2"}, "given = '-1'"),
        ({"given": "1", "answered": "inf"}, "answered = 'inf'"),
    ],
)
def test_a_wrong_price_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        prices({"m": row})
    assert message in str(caught.value)


def test_a_model_without_a_price_is_not_free() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'gpt-4'\?"):
        price_of("gpt4", {"gpt-4": Price(Decimal(30), Decimal(60))})
