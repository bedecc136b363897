"""What a deployment does by itself: how often, when it did so last, when it does so next."""

from __future__ import annotations

from datetime import datetime
from math import nan
from typing import NamedTuple

from bondhu.app import App
from bondhu.ports import Task
from bondhu.schedule import jobs
from bondhu.server.scheduling import TIDY, make_scheduler

MINUTE = 60.0  # seconds
HISTORY = 20  # runs of one job that are shown


class Scheduled(NamedTuple):
    """One job."""

    identity: str
    name: str
    rhythm: str  # how often
    last: Task | None  # the newest run that was recorded; some jobs record none
    next: float  # seconds; NaN where it is done some time within `rhythm`


def scheduled(app: App) -> list[Scheduled]:
    """The jobs of the schedule; none where it is switched off."""
    if not app.settings.schedule.enabled:
        return []
    found = []
    for each in jobs.describe(make_scheduler(app)):
        recent = app.tasks.recent(each["id"], 1)
        last = recent[0] if recent else None
        rhythm, minutes = _rhythm(app, each["id"])
        following = nan
        if minutes is None:
            following = datetime.fromisoformat(each["next_run_time"]).timestamp() if each["next_run_time"] else nan
        elif last is not None:
            following = last.executed_at + minutes * MINUTE
        found.append(Scheduled(each["id"], each["name"], rhythm, last, following))
    return found


def _rhythm(app: App, identity: str) -> tuple[str, float | None]:
    """How often a job is done, in words, and its minutes where it goes by them."""
    schedule = app.settings.schedule
    every = {jobs.RELEASE_JOB: schedule.release_minutes, jobs.WATCH_JOB: schedule.watch_minutes, jobs.TIDY_JOB: TIDY}
    if identity in every:
        return f"every {every[identity]:g} minutes", every[identity]
    if identity != jobs.TRAINING_JOB:
        return "as soon as a server runs", None
    return f"{schedule.day_of_week} at {schedule.hour}:00 {schedule.timezone}", None


def history(app: App) -> dict[str, list[Task]]:
    """The last runs of every job that was ever recorded, newest first."""
    return {name: app.tasks.recent(name, HISTORY) for name in app.tasks.names()}
