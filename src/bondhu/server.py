"""Runs the service of one deployment: the HTTP application with its scheduler and what administrators may ask of it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler

from bondhu import screen
from bondhu.app import App
from bondhu.errors import BondhuError, SettingsInvalid, TrainingInProgress, UnknownName, nearest
from bondhu.registry import lifecycle
from bondhu.schedule import jobs
from bondhu.serve.auth import check_admin_key
from bondhu.serve.http import create_app
from bondhu.serve.messages import Order
from bondhu.training import training_metadata
from bondhu.watching import watch

log = logging.getLogger(__name__)
ADMINISTRATOR = "administrator"  # who acts over HTTP, in the history


class Administration:
    """What the administrators' routes call."""

    def __init__(self, app: App, scheduler: BackgroundScheduler | None) -> None:
        self.app = app
        self.scheduler = scheduler

    def train(self) -> Mapping[str, Any]:
        """Train now; raises TrainingInProgress when somebody is at it."""
        run = self.app.train()
        status = "completed" if run.trained.version else "skipped"
        return {"task": jobs.TRAINING_JOB, "status": status, "training": training_metadata(run)}

    def releases(self) -> Mapping[str, Any]:
        """Who decides for whom, every version, and the history."""
        events = self.app.events()
        now = lifecycle.traffic(events)
        return {
            "traffic": {**now._asdict(), "step": now.step._asdict() if now.step else None},
            "versions": [each._asdict() for each in lifecycle.versions(events)],
            "history": [each._asdict() for each in events if each.kind != "judged"],
        }

    def verdicts(self, version: str | None) -> Mapping[str, Any]:
        """What the gate said of a version, or of all of them."""
        return {"verdicts": [each._asdict() for each in self.app.verdicts(version)]}

    def act(self, action: str, order: Order) -> Mapping[str, Any]:
        """Move a version; raises Conflict where the versions stand otherwise."""
        app, why = self.app, {"reason": order.reason, "by": ADMINISTRATOR}
        actions: dict[str, Callable[[], Any]] = {
            "release": lambda: app.release(order.version, unproven=order.unproven, **why),
            "promote": lambda: app.promote(order.version, over=order.over, **why),
            "rollback": lambda: app.rollback(**why),
            "withdraw": lambda: app.withdraw(**why),
            "stop": lambda: app.stop(**why),
        }
        if action not in actions:
            fix = nearest(action, actions)
            raise UnknownName(f"There is no action {action!r}.", field="action", value=action, fix=fix)
        actions[action]()
        return self.releases()

    def health(self) -> Mapping[str, Any]:
        """The scheduled jobs, the last training and what the log holds."""
        log = self.app.deployment.log.summary(self.app.domain.name)  # type: ignore[attr-defined]  # beyond the port
        recent = self.app.tasks.recent(jobs.TRAINING_JOB, 1)
        return {
            "decisions": log.decisions,
            "feedback": log.feedback,
            "last_training": {"executed_at": _iso(recent[0].executed_at), "status": recent[0].status}
            if recent
            else None,
            "scheduled_jobs": jobs.describe(self.scheduler) if self.scheduler else [],
        }


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


def _train(app: App) -> None:
    """The scheduled training; its outcome is in `system_tasks`, so that nothing is left to raise."""
    try:
        app.train()
    except TrainingInProgress:
        return  # another process does this very work
    except BondhuError as error:
        log.error("The scheduled training failed: %s", error)


def make_asgi(app: App, *, scheduler: BackgroundScheduler | None = None) -> Any:
    """The ASGI application; raises SettingsInvalid for an administrator's key that is not safe to run with."""
    server = app.settings.server
    key = server.admin_key.get_secret_value()
    check_admin_key(key, server.environment)
    return create_app(app.decider(), operations=Administration(app, scheduler), admin_key=key)


def serve(app: App, *, host: str | None = None, port: int | None = None) -> None:
    """Run until interrupted, at the address of the settings or another."""
    import uvicorn

    server = app.settings.server
    scheduler = make_scheduler(app) if app.settings.schedule.enabled else None
    asgi = make_asgi(app, scheduler=scheduler)
    with listening(host or server.host, server.port if port is None else port) as listener:
        if scheduler:
            scheduler.start()
        address = "http://{}:{}".format(*listener.getsockname())
        screen.say(f"{app.domain.name} is served at {address} ({address}/openapi.json). Ctrl-C stops it.")
        try:
            with suppress(KeyboardInterrupt):  # uvicorn has finished what it was at
                uvicorn.Server(uvicorn.Config(asgi, log_level="warning")).run(sockets=[listener])
        finally:
            if scheduler:
                scheduler.shutdown(wait=False)


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address; raises SettingsInvalid where it cannot be had."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error  # below 0: the host is unknown
        what = f"Cannot listen at {host}:{port}: {why}."
        fix = "Choose another with --host and --port, or stop what uses this one."
        raise SettingsInvalid(what, field="server.port", value=port, fix=fix) from error


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
