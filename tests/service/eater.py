"""A deployment that answers Personalizer calls, and people whose tastes are known: who likes what, and when."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from bondhu import settings
from bondhu.app import App, open_app
from bondhu.domains.ranking import template
from bondhu.wiring import merged
from tests.service.stand import Clock

MINUTE = 60.0
MEALS = [
    {"id": "pasta", "features": [{"taste": "savory", "spice": "medium"}, {"nutrition": 5}]},
    {"id": "ice cream", "features": [{"taste": "sweet", "spice": "none"}, {"nutrition": 2}]},
    {"id": "juice", "features": [{"taste": "sweet", "spice": "none"}, {"nutrition": 4, "drink": True}]},
    {"id": "salad", "features": [{"taste": "sour", "spice": "low"}, {"nutrition": 8}]},
]
LIKED = {
    ("morning", "desktop"): "juice",
    ("noon", "desktop"): "salad",
    ("evening", "desktop"): "pasta",
    ("morning", "phone"): "juice",
    ("noon", "phone"): "pasta",
    ("evening", "phone"): "ice cream",
}


def tables(**more: Any) -> dict[str, Any]:
    below = {"training": {"holdout": 0.0}, "context": {"actions": {"most": 6}}}
    return merged(merged(tomllib.loads(template()), below), more)


def deployment(path: Path, clock: Clock, **more: Any) -> App:
    return open_app(settings.from_tables(tables(**more), path), now=clock)


def asked(rng: np.random.Generator, **more: Any) -> tuple[tuple[str, str], dict[str, Any]]:
    """Somebody comes: what they like best here depends on this, and this is the request."""
    time, device = list(LIKED)[rng.integers(len(LIKED))]
    about = [
        {"timeOfDay": time},
        {"device": {"kind": device, "mobile": device == "phone"}},
        {"noise": rng.integers(9).item()},
    ]
    meals = [MEALS[place] for place in rng.permutation(len(MEALS))]
    return (time, device), {"contextFeatures": about, "actions": meals, **more}
