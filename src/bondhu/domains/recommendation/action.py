"""What is recommended: how much energy, how many genres, how much that is new."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from bondhu.domains.recommendation import domain
from bondhu.errors import InvalidInput, UnknownName, nearest

# Ranges overlap, so that neighbouring actions share items; all values are in the units of music APIs.
_ENERGY: dict[str, dict[str, float]] = {
    "low": {"min_energy": 0.0, "max_energy": 0.4, "valence": 0.3},
    "medium": {"min_energy": 0.3, "max_energy": 0.7, "valence": 0.5},
    "high": {"min_energy": 0.6, "max_energy": 1.0, "valence": 0.7},
}
_DIVERSITY: dict[str, dict[str, int]] = {
    "focused": {"genre_count": 1},
    "balanced": {"genre_count": 3},
    "diverse": {"genre_count": 5},
}
_NOVELTY: dict[str, dict[str, float]] = {
    "familiar": {"exploration_rate": 0.1, "popularity_min": 50, "popularity_max": 100},
    "mixed": {"exploration_rate": 0.3, "popularity_min": 25, "popularity_max": 75},
    "exploratory": {"exploration_rate": 0.5, "popularity_min": 0, "popularity_max": 50},
}


@dataclass(frozen=True)
class RecommendationAction:
    """One of 27 strategies."""

    energy: str
    diversity: str
    novelty: str

    def __post_init__(self) -> None:
        for part, values in domain().parts.items():
            value = getattr(self, part)
            if value not in values:
                what = f"Action part {part!r} got {value!r}."
                raise InvalidInput(what, field=part, value=value, fix=nearest(value, values))

    @property
    def name(self) -> str:
        """As it stands in the log: "low/diverse/exploratory"."""
        return "/".join(self.to_tuple())

    @classmethod
    def from_name(cls, name: str) -> RecommendationAction:
        """The action of that name."""
        if name not in domain().actions:
            raise UnknownName(
                f"There is no action {name!r}.", field="action", value=name, fix=nearest(name, domain().actions)
            )
        return cls(*name.split("/"))

    @staticmethod
    @cache
    def all() -> tuple[RecommendationAction, ...]:
        """All 27, in the order of the domain's action numbers."""
        return tuple(RecommendationAction(*name.split("/")) for name in domain().actions)

    def to_tuple(self) -> tuple[str, str, str]:
        return self.energy, self.diversity, self.novelty

    def to_recommendation_params(self) -> dict[str, Any]:
        """Keyword arguments for a recommendation API: energy and valence in 0 to 1, popularity in 0 to 100."""
        return {**_ENERGY[self.energy], **_DIVERSITY[self.diversity], **_NOVELTY[self.novelty]}
