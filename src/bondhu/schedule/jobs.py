"""When things happen: the weekly training, in the scheduler's own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bondhu.errors import SettingsInvalid

TRAINING_JOB = "rl_training"
RELEASE_JOB = "release"
WATCH_JOB = "watch"
TIDY_JOB = "tidy"
ACCEPTED_DELAY = 3600  # seconds a run may start late, after a suspended machine wakes up for instance


def scheduler(
    train: Callable[[], Any], *, day_of_week: str, hour: int, timezone: str, last_run: float | None, now: float
) -> BackgroundScheduler:
    """A scheduler that trains every week; start() and shutdown() are the caller's.

    A run that fell due between `last_run` and `now` (seconds; no server was up) is made up for at the start.
    """
    trigger = weekly(day_of_week, hour, timezone)
    jobs = BackgroundScheduler(timezone=trigger.timezone)
    missed = last_run is not None and is_due(trigger, last_run, now)
    jobs.add_job(
        train,
        trigger=trigger,
        id=TRAINING_JOB,
        name="Train RL recommendation model",
        coalesce=True,
        max_instances=1,
        misfire_grace_time=ACCEPTED_DELAY,
    )
    if missed:
        name = "Train RL recommendation model (missed run)"
        late = None  # however late the start is
        jobs.add_job(train, id=f"{TRAINING_JOB}_missed", name=name, misfire_grace_time=late)
    return jobs


def every(jobs: BackgroundScheduler, work: Callable[[], Any], *, minutes: float, name: str, identity: str) -> None:
    """Let the scheduler do something every few minutes, one run at a time."""
    trigger = IntervalTrigger(seconds=60 * minutes, timezone=jobs.timezone)
    jobs.add_job(work, trigger=trigger, id=identity, name=name, coalesce=True, max_instances=1)


def weekly(day_of_week: str, hour: int, timezone: str) -> CronTrigger:
    """Fires at that hour on these days; raises SettingsInvalid for a day or a time zone that there is not."""
    try:
        return CronTrigger(day_of_week=day_of_week, hour=hour, timezone=timezone)
    except (ValueError, KeyError) as error:  # an unknown time zone is a KeyError
        what = f"[schedule] cannot run on day_of_week = {day_of_week!r}, hour = {hour}, timezone = {timezone!r}."
        fix = 'Write days such as "mon" or "mon,thu" and a time zone such as "UTC" or "Europe/Berlin".'
        raise SettingsInvalid(what, field="schedule", fix=fix) from error


def is_due(trigger: CronTrigger, last_run: float, now: float) -> bool:
    """Whether the trigger fired between two times, in UNIX seconds."""
    last = datetime.fromtimestamp(last_run, UTC)
    following = trigger.get_next_fire_time(last, last)  # given twice, since a run at the very moment is not due again
    return following is not None and following.timestamp() <= now


def describe(jobs: BackgroundScheduler) -> list[Mapping[str, Any]]:
    """The jobs as the health page shows them."""
    return [
        {
            "id": job.id,
            "name": job.name,
            "next_run_time": next_run.isoformat() if (next_run := _next_run(job)) else None,
            "trigger": str(job.trigger),
        }
        for job in jobs.get_jobs()
    ]


def _next_run(job: Any) -> datetime | None:
    """A job of a scheduler that has not started yet has no time of its own; its trigger knows."""
    if hasattr(job, "next_run_time"):
        return job.next_run_time  # type: ignore[no-any-return]  # the library is not typed
    following: datetime | None = job.trigger.get_next_fire_time(None, datetime.now(UTC))
    return following
