"""What a deployment is set to, as the calls of Azure AI Personalizer ask for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger

from bondhu.app import App
from bondhu.serve.personalizer.configuration import Kept
from bondhu.settings import FILE


def kept_of(app: App) -> Kept:
    """The settings that this process began with; they change with the next one, not before."""
    settings, file = app.settings, app.settings.path(FILE)
    edited = file.stat().st_mtime if file.exists() else None
    return Kept(settings.store.retain_days, train_every(app), settings.training.days_back, edited)


def train_every(app: App) -> float:
    """Seconds from one scheduled training to the next; 0 where none is scheduled."""
    schedule = app.settings.schedule
    if not schedule.enabled:
        return 0.0
    trigger = CronTrigger(day_of_week=schedule.day_of_week, hour=schedule.hour, timezone=schedule.timezone)
    first = trigger.get_next_fire_time(None, datetime.fromtimestamp(app.now(), UTC))
    second = None if first is None else trigger.get_next_fire_time(first, first + timedelta(seconds=1))
    return 0.0 if first is None or second is None else float((second - first).total_seconds())
