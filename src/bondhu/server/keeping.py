"""Who runs the schedule: one process among all that use a store, on whatever machine; the others wait to take over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from apscheduler.schedulers.background import BackgroundScheduler

from bondhu.app import App
from bondhu.errors import BondhuError, TrainingInProgress
from bondhu.log.kept import Held
from bondhu.server.scheduling import make_scheduler

log = logging.getLogger(__name__)
LOCK = "scheduler"
WAIT = 1.0  # seconds between attempts to lead
LOOK = 2.0  # seconds between looks whether one still leads: a lock in a database goes with the connection to it


class Keeper:
    """One deployment's schedule, run while this process holds the lock of that name."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._held = ExitStack()
        self._scheduler: BackgroundScheduler | None = None
        self._complained = ""
        self._holds: Held = lambda: False
        self._ending: threading.Thread | None = None  # what was under way when the lock was lost may end

    def lead(self) -> bool:
        """Whether this process leads now: it does so from the first time that nobody else did, until it loses the lock;
        then it tries again."""
        if self._scheduler is not None:
            if self._holds():
                return True
            self._lose(self._scheduler)
        if self._ending is not None and self._ending.is_alive():
            return False
        try:
            self._holds = self._held.enter_context(self._app.stores.alone(LOCK))
            self._scheduler = make_scheduler(self._app)
            self._scheduler.start()
        except TrainingInProgress:
            return False
        except BondhuError as error:
            self._held.close()
            if str(error) != self._complained:
                log.error("The schedule cannot be run, and is tried again: %s", error)
            self._complained = str(error)
            return False
        return True

    def _lose(self, scheduler: BackgroundScheduler) -> None:
        """Begin nothing more, without waiting for what is under way: others are to be looked after."""
        log.warning("The store was away, and with it the right to run the schedule: it is tried again.")
        scheduler.pause()
        self._ending = threading.Thread(target=scheduler.shutdown, name="bondhu-schedule-ends", daemon=True)
        self._ending.start()
        self._scheduler = None
        self._held.close()

    def stop(self) -> None:
        """Begin nothing more; returns when what is under way is done. Somebody else may lead then."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)
            self._scheduler = None
        if self._ending is not None:
            self._ending.join()
        self._held.close()


def keep(apps: Sequence[App], stopped: Callable[[float], bool]) -> None:
    """Lead wherever nobody else does, until `stopped`, which waits up to so many seconds, says so; then stop."""
    keepers = [Keeper(app) for app in apps if app.settings.schedule.enabled]
    while not stopped(0.0):
        leading = [keeper.lead() for keeper in keepers]
        if stopped(LOOK if all(leading) else WAIT):
            break
    for keeper in keepers:
        keeper.stop()
