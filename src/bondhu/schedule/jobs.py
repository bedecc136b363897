"""When things happen: the weekly training, in the scheduler's own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

TRAINING_JOB = "rl_training"


def scheduler(train: Callable[[], Any], *, day_of_week: str, hour: int, timezone: str) -> BackgroundScheduler:
    """A scheduler that trains every week; start() and shutdown() are the caller's.

    Runs missed while the server was down are made up for once (coalesced), up to six days late.
    """
    jobs = BackgroundScheduler(timezone=timezone)
    jobs.add_job(
        train,
        trigger=CronTrigger(day_of_week=day_of_week, hour=hour, timezone=timezone),
        id=TRAINING_JOB,
        name="Train RL recommendation model",
        coalesce=True,
        max_instances=1,
        misfire_grace_time=6 * 86_400,
    )
    return jobs


def describe(jobs: BackgroundScheduler) -> list[Mapping[str, Any]]:
    """The jobs as the health page shows them."""
    return [
        {
            "id": job.id,
            "name": job.name,
            "next_run_time": job.next_run_time.isoformat() if getattr(job, "next_run_time", None) else None,
            "trigger": str(job.trigger),
        }
        for job in jobs.get_jobs()
    ]
