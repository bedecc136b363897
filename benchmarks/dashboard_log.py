"""A log of a recommendation system for the benchmark of the pages: a month of decisions until now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bondhu.domains.recommendation import TRAITS, domain
from bondhu.log.sqlite import SqliteLog
from bondhu.types import Decision, Feedback

MONTH = 30 * 86_400.0  # seconds
PEOPLE = 20_000
CHUNK = 20_000  # decisions written at a time
SIGNALS = ("like", "dislike", "complete", "skip", "share")
VERSIONS = ("baseline", "first", "second", "third", "benchmark")  # one after the other
FIELDS = {
    "content_type": ("music", "video", "game"),
    "mood": ("neutral", "happy", "sad", "anxious", "calm"),
    "time_of_day": ("morning", "afternoon", "evening", "night"),
}


def fill(path: Path, decisions: int) -> str:
    """Write so many decisions, and more than half as many feedback, into the log at this path; returns the id of one
    of them."""
    rng, end = np.random.default_rng(0), time.time() - 60.0
    gap, name = MONTH / decisions, ""
    with SqliteLog(path) as log:
        for first in range(0, decisions, CHUNK):
            count = min(CHUNK, decisions - first)
            made = list(_decisions(end - MONTH + gap * np.arange(first, first + count), first / decisions, rng))
            log.append(made, list(_feedback(made, end, rng)))
            name = made[len(made) // 2].id
    return name


def _decisions(times: np.ndarray, share: float, rng: np.random.Generator) -> Iterator[Decision]:
    """Uniform contexts and actions; a tenth of the people always meet the rule."""
    choices, count = domain(), len(times)
    fields = {name: rng.integers(0, 101, count).tolist() for name in TRAITS}
    for name, values in FIELDS.items():
        fields[name] = [values[each] for each in rng.integers(0, len(values), count).tolist()]
    contexts = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    actions = rng.integers(0, len(choices.actions), count).tolist()
    users = rng.integers(0, PEOPLE, count).tolist()
    version = VERSIONS[int(share * len(VERSIONS))]
    for now, context, action, user in zip(times.tolist(), contexts, actions, users, strict=True):
        held = user % 10 == 0
        yield Decision(
            *(_id(now, rng), choices.name, f"session-{user}", f"user-{user}", now, context, choices.actions),
            *(choices.actions[action], 1 / 27, (0.05,), "baseline" if held else version),
            *("holdout" if held else "live", 0.1 if held else 0.9),
        )


def _feedback(made: list[Decision], end: float, rng: np.random.Generator) -> Iterator[Feedback]:
    """Some minutes later, of some decisions."""
    rows = np.sort(rng.integers(0, len(made), 3 * len(made) // 5))
    late = rng.exponential(600.0, len(rows)).tolist()
    for row, wait, signal in zip(rows.tolist(), late, rng.integers(0, len(SIGNALS), len(rows)).tolist(), strict=True):
        now = made[row].time + wait
        if now < end:
            yield Feedback(_id(now, rng), made[row].id, SIGNALS[signal], 1.0, now)


def _id(now: float, rng: np.random.Generator) -> str:
    """As production makes them: UUIDv7."""
    number = f"{int(now * 1000):012x}7{int(rng.integers(2**62)):019x}"
    return f"{number[:8]}-{number[8:12]}-{number[12:16]}-{number[16:20]}-{number[20:]}"
