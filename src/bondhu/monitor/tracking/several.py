"""One tracker made of many. One that fails is left out, with one line in the log; the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bondhu.monitor.tracking import FINISHED, Tracker

LOG = logging.getLogger(__name__)


class Several:
    """Tells each of these trackers, by name, what it is told."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._all = dict(trackers)
        self._well = dict(trackers)  # those that have not failed

    def begin(self, configuration: Mapping[str, Any], /) -> None:
        self._each(lambda tracker: tracker.begin(configuration))

    def record(self, metrics: Mapping[str, float], step: int, /) -> None:
        self._each(lambda tracker: tracker.record(metrics, step))

    def file(self, path: Path, kind: str = "", /) -> None:
        self._each(lambda tracker: tracker.file(path, kind))

    def end(self, status: str = FINISHED, /) -> None:
        failed = [tracker for name, tracker in self._all.items() if name not in self._well]
        self._each(lambda tracker: tracker.end(status))
        for tracker in failed:
            with suppress(Exception):  # it said already that it failed; this only closes what it may hold open
                tracker.end(status)

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._well.items()):
            try:
                tell(tracker)
            except Exception as problem:
                del self._well[name]
                LOG.warning("%s no longer tracks this run, which goes on: %r", name, problem)
