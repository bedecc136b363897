"""What a task may cost, and what it has cost: money, tokens, executions and seconds, exactly.

Money is decimal, so that a thousand small amounts add up to what they are. Before something is done it is asked whether
the most that it can cost is still there: a budget is never passed, but for seconds, which nobody knows in advance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from math import isnan
from typing import Any, NamedTuple

from bondhu.errors import InvalidInput, SettingsInvalid, UnknownName, nearest

MILLION = 1_000_000  # prices are for so many tokens
NOTHING = Decimal(0)


class Use(NamedTuple):
    """What something cost."""

    dollars: Decimal = NOTHING
    tokens: int = 0  # in and out
    executions: int = 0  # programs that were run
    seconds: float = 0.0

    def plus(self, other: Use) -> Use:
        """Both together."""
        money, tokens = self.dollars + other.dollars, self.tokens + other.tokens
        return Use(money, tokens, self.executions + other.executions, self.seconds + other.seconds)

    def times(self, count: int) -> Use:
        """The same so many times."""
        return Use(self.dollars * count, self.tokens * count, self.executions * count, self.seconds * count)


@dataclass(frozen=True)
class Budget:
    """The most that may be used; None: any amount."""

    dollars: Decimal | None = None
    tokens: int | None = None
    executions: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            if limit is not None and (isnan(limit) or limit < 0):
                raise InvalidInput(f"{name!r} got {limit!r}.", field=name, value=limit, fix="It is at least 0.")

    def reached(self, spent: Use) -> str:
        """The first limit that is used up, by its name; "" where there is none."""
        return next((name for name, left in self.left(spent).items() if left <= 0), "")

    def affords(self, spent: Use, most: Use) -> bool:
        """Whether something that costs at most so much can be done. Of seconds, some must be left."""
        after = self.left(spent.plus(most._replace(seconds=0.0)))
        return all(left > 0 if name == "seconds" else left >= 0 for name, left in after.items())

    def left(self, spent: Use) -> dict[str, float]:
        """What is left of each limit that there is: exact in sign; the number is for people and features."""
        limits = vars(self).items()
        return {name: float(limit - getattr(spent, name)) for name, limit in limits if limit is not None}

    def share_left(self, spent: Use) -> float:
        """Of the limit that is closest: 1 at the beginning, and always where nothing is limited; 0 where it is used."""
        shares = [left / limit if (limit := float(getattr(self, name))) else 0.0
                  for name, left in self.left(spent).items()]  # fmt: skip
        return max(0.0, min(shares, default=1.0))


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens, as providers publish them."""

    given: Decimal  # of the prompt
    answered: Decimal  # of the reply
    remembered: Decimal | None = None  # of the part of a prompt that the provider had seen before; None: as any other

    def of(self, given: int, answered: int, remembered: int = 0) -> Decimal:
        """Dollars for so many tokens; `remembered` are among `given`."""
        again = self.given if self.remembered is None else self.remembered
        return ((given - remembered) * self.given + remembered * again + answered * self.answered) / MILLION


def prices(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Price]:
    """Prices by model from a table such as `{"gpt-4" = {given = "30", answered = "60"}}`. Raises SettingsInvalid."""
    return {model: _price(model, row) for model, row in table.items()}


def _price(model: str, row: Mapping[str, Any]) -> Price:
    known = [each.name for each in fields(Price)]
    for name in row:
        if name not in known:
            raise SettingsInvalid(f"The price of {model!r} has no {name!r}.", field=name, fix=nearest(name, known))
    for name in ("given", "answered"):
        if name not in row:
            fix = f'Write {name} = "1.50", in dollars for a million tokens.'
            raise SettingsInvalid(f"The price of {model!r} lacks {name!r}.", field=name, fix=fix)
    return Price(**{name: _amount(model, name, value) for name, value in row.items()})


def _amount(model: str, name: str, value: Any) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        fix = 'Write dollars for a million tokens, such as "1.50"; "0" for a model of your own.'
        raise SettingsInvalid(f"The price of {model!r}: {name} = {value!r}.", field=name, value=value, fix=fix)
    return amount


def price_of(model: str, known: Mapping[str, Price]) -> Price:
    """The model's price. Raises UnknownName: that it is free must be said, with "0"."""
    if model not in known:
        raise UnknownName(f"No price for the model {model!r}.", field="prices", value=model, fix=nearest(model, known))
    return known[model]
