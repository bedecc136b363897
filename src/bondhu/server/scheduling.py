"""What a deployment does by itself, and when: the weekly training, releases under way, the watch."""

from __future__ import annotations

import logging

from apscheduler.schedulers.background import BackgroundScheduler

from bondhu.app import App
from bondhu.errors import BondhuError, TrainingInProgress
from bondhu.imports import archive_old
from bondhu.log.archive import forget_unclaimed
from bondhu.schedule import jobs
from bondhu.serve.decide import EARLY
from bondhu.serve.personalizer import pending
from bondhu.serve.routes.personalizer import fields_of
from bondhu.train.window import DAY
from bondhu.watching import watch

TIDY = 60.0  # minutes between two looks at what is old
UNCLAIMED = 30.0  # days that feedback waits for its decision, where [store] retain_days says nothing
log = logging.getLogger(__name__)


def make_scheduler(app: App) -> BackgroundScheduler:
    """The weekly training of this deployment; a run missed while nothing was up is made up for at the start. A release
    under way is looked at every few minutes, where it goes on by itself."""
    schedule = app.settings.schedule
    recent = app.tasks.recent(jobs.TRAINING_JOB, 1)
    scheduler = jobs.scheduler(
        lambda: _train(app),
        day_of_week=schedule.day_of_week,
        hour=schedule.hour,
        timezone=schedule.timezone,
        last_run=recent[0].executed_at if recent else None,
        now=app.now(),
    )
    if app.release_rules.automatic:
        name = "Look at the release under way"
        jobs.every(
            scheduler, lambda: _look(app), minutes=schedule.release_minutes, name=name, identity=jobs.RELEASE_JOB
        )
    name = "Watch for drift and falling rewards"
    jobs.every(scheduler, lambda: _watch(app), minutes=schedule.watch_minutes, name=name, identity=jobs.WATCH_JOB)
    name = "Archive old rows, drop events that were never activated"
    jobs.every(scheduler, lambda: _tidy(app), minutes=TIDY, name=name, identity=jobs.TIDY_JOB)
    return scheduler


def _look(app: App) -> None:
    """The scheduled look; what it does is in the history, and the next one comes in any case."""
    try:
        found = app.look()
    except BondhuError as error:
        log.error("The release under way could not be looked at: %s", error)
        return
    if found and found.moved:
        log.warning("Version %s was %s: %s", found.version, found.move.kind, " ".join(found.move.reasons))


def _watch(app: App) -> None:
    """The scheduled watch; what it finds is told and kept, and the next one comes in any case."""
    try:
        watch(app)
    except BondhuError as error:
        log.error("The watch failed: %s", error)


def _tidy(app: App) -> None:
    """What is older than `retain_days` goes into the archive; events of the Personalizer's callers that nobody
    activated while they could go away, and so does feedback whose decision never came. Each is tried by itself."""
    for step in (_archive, _let_deferred_go, _let_unclaimed_go):
        try:
            step(app)
        except BondhuError as error:
            log.error("Old rows could not be put away: %s", error)


def _archive(app: App) -> None:
    if app.settings.store.retain_days is not None:
        archive_old(app, None)


def _let_deferred_go(app: App) -> None:
    if fields_of(app.domain) is not None:
        pending.forget(app.log, app.domain.name, app.now() - app.domain.reward.wait)


def _let_unclaimed_go(app: App) -> None:
    """Feedback may come before its decision: that of an event that is deferred, as early as `wait` allows."""
    days = app.settings.store.retain_days
    age = max(EARLY, app.domain.reward.wait, (UNCLAIMED if days is None else days) * DAY)
    folder = app.settings.path(app.settings.store.archive)
    with app.stores.alone("archive"):
        gone = forget_unclaimed(app.log, app.domain.name, app.now() - age, folder)
    if gone:
        log.info("%d feedback was deleted: its decisions never came.", gone)


def _train(app: App) -> None:
    """The scheduled training; its outcome is in `system_tasks`, so that nothing is left to raise."""
    try:
        app.train()
    except TrainingInProgress:
        return  # another process does this very work
    except BondhuError as error:
        log.error("The scheduled training failed: %s", error)
