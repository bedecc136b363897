"""Which action an old log's item stands for, where nobody wrote the action down.

The cuts lie half-way between the centres of the actions' own parameters, so that
`infer_action(action.to_recommendation_params()) == action`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from bondhu.domains.recommendation.action import RecommendationAction
from bondhu.errors import InvalidInput

ENERGY_CUTS = (0.35, 0.65)  # audio energy in 0 to 1: the centres are .2, .5 and .8
TEMPO_CUTS = (95.0, 125.0)  # beats per minute, where no energy is known
GENRE_CUTS = (2.0, 4.0)  # genres: 1 is focused, 2 and 3 are balanced, more is diverse
POPULARITY_CUTS = (37.5, 62.5)  # in 0 to 100: the centres are 25 (exploratory), 50 and 75 (familiar)
EXPLORATION_CUTS = (0.2, 0.4)  # share of new items, where no popularity is known: .1, .3 and .5


def infer_action(attributes: Mapping[str, Any]) -> RecommendationAction:
    """The action closest to an item's attributes; a part that nothing is known about is the middle one.

    Looks at `energy` (or `min_energy` and `max_energy`), else `tempo`; `genre_count` or `genres`; `popularity` (or
    `popularity_min` and `popularity_max`), else `exploration_rate`. Other attributes are ignored.
    """
    energy = _centre(attributes, "energy", "min_energy", "max_energy")
    tempo = _number(attributes, "tempo")
    genres = attributes.get("genres")
    count = (
        _number(attributes, "genre_count")
        if genres is None
        else float(len({genres} if isinstance(genres, str) else set(genres)))
    )
    popularity = _centre(attributes, "popularity", "popularity_min", "popularity_max")
    rate = _number(attributes, "exploration_rate")
    return RecommendationAction(
        energy=("low", "medium", "high")[
            _level(energy, ENERGY_CUTS) if energy is not None else _level(tempo, TEMPO_CUTS)
        ],
        diversity=("focused", "balanced", "diverse")[_level(count, GENRE_CUTS)],
        novelty=("familiar", "mixed", "exploratory")[
            2 - _level(popularity, POPULARITY_CUTS) if popularity is not None else _level(rate, EXPLORATION_CUTS)
        ],
    )


def _level(value: float | None, cuts: Sequence[float]) -> int:
    return 1 if value is None else bisect_right(cuts, value)


def _centre(attributes: Mapping[str, Any], name: str, low: str, high: str) -> float | None:
    value, least, most = (_number(attributes, key) for key in (name, low, high))
    if value is not None or least is None or most is None:
        return value
    return (least + most) / 2


def _number(attributes: Mapping[str, Any], name: str) -> float | None:
    value = attributes.get(name)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise InvalidInput(
            f"Item attribute {name!r} got {value!r}.", field=name, value=value, fix="Send a finite number."
        )
    return float(value)
