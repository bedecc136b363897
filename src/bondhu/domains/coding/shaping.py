"""Progress on the way as potential-based shaping, and what expensive operations cost."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum

from bondhu.errors import InvalidInput, UnknownName, nearest


def progress(before: float, after: float | None, discount: float) -> float:
    """F = γ·Φ(s') - Φ(s), which leaves the best policy what it is (Ng, Harada & Russell 1999, theorem 1).

    Φ is a share of tests passed, or any other number that depends on the state alone. `after` is None where the episode
    has ended: its potential is 0, whatever was reached, or else who stops at a good moment would keep the hint. γ must
    be the learner's own discount factor.
    """
    if not 0.0 <= discount <= 1.0:
        raise InvalidInput(
            f"A discount factor of {discount}.", field="discount", value=discount, fix="It lies in [0, 1]."
        )
    return discount * (0.0 if after is None else after) - before


def price(operations: Mapping[str, int], prices: Mapping[str, float]) -> float:
    """Σ count·price of the operations of an attempt, such as runs of the tests or calls of a model.

    Raises UnknownName for an operation without a price (that it is free must be said, with 0), and InvalidInput for a
    negative count, which would earn something.
    """
    for name, count in operations.items():
        if name not in prices:
            raise UnknownName(
                f"No price for the operation {name!r}.", field="operations", value=name, fix=nearest(name, prices)
            )
        if count < 0:
            raise InvalidInput(f"{count} operations {name!r}.", field=name, value=count, fix="Count from 0.")
    return fsum(count * prices[name] for name, count in operations.items())
