"""What an answer used: tokens as the upstream counts them, or an estimate, and dollars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

LETTERS = 4  # bytes of text that a token stands for, roughly, where nobody counted
MOST = 1 << 40  # tokens; what is more is no count

Price = tuple[float, float]  # dollars for a million tokens in, out


class Usage(NamedTuple):
    """Tokens of one answer, or of several that belong together."""

    given: int = 0  # tokens in
    made: int = 0  # tokens out
    estimated: bool = False  # whether any of it was not counted by the upstream

    def plus(self, other: Usage) -> Usage:
        return Usage(self.given + other.given, self.made + other.made, self.estimated or other.estimated)

    def told(self) -> dict[str, Any]:
        """As an answer says it."""
        told = {"prompt_tokens": self.given, "completion_tokens": self.made, "total_tokens": self.given + self.made}
        return {**told, "estimated": True} if self.estimated else told


def reported(usage: Any) -> Usage | None:
    """The usage that an upstream tells; None where it tells none that can be."""
    if not isinstance(usage, Mapping):
        return None
    given, made = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    return None if given is None or made is None else Usage(given, made)


def estimated(asked: int, answered: int, pieces: int = 0) -> Usage:
    """From the bytes that were asked and answered; `pieces`: of a stream, each of which is a token at least."""
    return Usage(-(-asked // LETTERS), max(-(-answered // LETTERS), pieces), True)


def cost(usage: Usage, price: Price) -> float:
    """Dollars."""
    return (usage.given * price[0] + usage.made * price[1]) / 1e6


def _count(number: Any) -> int | None:
    return number if type(number) is int and 0 <= number <= MOST else None
