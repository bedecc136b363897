"""A deployment of the shop on real stores with a clock of its own, and logs whose rewards are known by construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from bondhu import settings
from bondhu.app import App, open_app
from bondhu.types import Decision, Feedback
from bondhu.wiring import merged
from tests.service.shop import ACTIONS, problem

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC).timestamp()  # a Wednesday
HOUR = 3600.0
BLUE = {"blue": 1.0}  # users like blue and nothing else


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def tables(**more: Mapping[str, Any]) -> dict[str, Any]:
    """Decisions stand alone and settle after an hour; everybody is trained on."""
    below = {
        "domain": {"idle": 0},
        "reward": {"wait": HOUR},
        "training": {"holdout": 0.0, "min_interactions_per_user": 1},
        "exploration": {"rate": 0.05},
    }
    return merged(merged(problem(), below), more)


def opened(path: Path, clock: Clock | None = None, **more: Mapping[str, Any]) -> App:
    return open_app(settings.from_tables(tables(**more), path), now=clock or Clock())


def log(
    app: App,
    people: Sequence[str],
    each: int,
    *,
    ago: float = 3 * HOUR,
    worth: Mapping[str, float] = BLUE,
    actions: Sequence[str] = ACTIONS,
    context: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ({"mood": "happy", "age": 30},),
) -> list[str]:
    """Each person gets every action in turn, as a uniform policy might choose, and likes it as much as it is worth.

    `context`: of everybody, or of each person (one after the other, then from the start again).
    """
    contexts = [context] if isinstance(context, Mapping) else context
    made, said, start = [], [], app.now() - ago
    for person, seen in zip(people, cycle(contexts), strict=False):
        for number in range(each):
            action = actions[number % len(actions)]
            identity = f"{person}-{start:.0f}-{number}"
            made.append(
                Decision(
                    *(identity, "shop", identity, person, start + number, seen),
                    *(ACTIONS, action, 1 / len(actions), (), "baseline", "live"),
                )
            )
            if action in worth:
                said.append(Feedback(f"{identity}:like", identity, "like", worth[action], start + number + 60))
    app.deployment.log.append(made, said)
    return [each.id for each in made]
