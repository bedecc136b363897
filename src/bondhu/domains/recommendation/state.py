"""Whom a recommendation is for: a personality in a situation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from bondhu.domains.fields import Category, Number
from bondhu.domains.recommendation import domain
from bondhu.errors import InvalidInput
from bondhu.types import Integers


@dataclass(frozen=True)
class RecommendationState:
    """The Big Five, each from 0 to 100, with what is asked for, in which mood and when."""

    openness: float
    conscientiousness: float
    extraversion: float
    agreeableness: float
    neuroticism: float
    content_type: str = "music"
    mood: str = "neutral"
    time_of_day: str = "evening"

    def __post_init__(self) -> None:
        for field in domain().fields:
            field.code(getattr(self, field.name))

    def to_tuple(self, bins: int = 5) -> tuple[Any, ...]:
        """The state as a Q-table knows it: the bin of each trait, then the names."""
        return tuple(value if isinstance(value, str) else self._discretize(value, bins) for value in astuple(self))

    def to_context(self) -> dict[str, Any]:
        """The context of a decision."""
        return {field.name: getattr(self, field.name) for field in domain().fields}

    @staticmethod
    def _discretize(value: float, bins: int = 5) -> int:
        return Number("trait", 0.0, 100.0, bins).code(value)

    @staticmethod
    def tuple_of_codes(codes: Sequence[int] | Integers) -> tuple[Any, ...]:
        """The tuple that the codes of an observation stand for."""
        return tuple(
            field.values[code] if isinstance(field, Category) else int(code)
            for field, code in zip(domain().fields, codes, strict=True)
        )

    @staticmethod
    def codes_of_tuple(parts: Sequence[Any]) -> Integers:
        """The codes of a tuple, whose bins may be text; bins are not checked, since their number is not known here."""
        fields = domain().fields
        if len(parts) != len(fields):
            what = f"A state has {len(fields)} parts, this one {len(parts)}."
            raise InvalidInput(what, field="state", value=list(parts), fix="Send all of them in order.")
        return np.array(
            [
                field.code(part) if isinstance(field, Category) else int(part)
                for field, part in zip(fields, parts, strict=True)
            ]
        )
