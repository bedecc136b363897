"""What a server tells tools, as the settings say: its log, its metrics, its traces."""

from __future__ import annotations

import random
from pathlib import Path

from bondhu.app import App
from bondhu.monitor.logs import write_logs
from bondhu.monitor.metrics import Metrics
from bondhu.serve.parts import Meter, NoMeter
from bondhu.serve.replies import Application, request_id
from bondhu.settings import Settings


def begin_log(settings: Settings) -> None:
    """Everything that this process logs goes to standard error from now on."""
    write_logs(settings.telemetry.log, settings.telemetry.level, request_id)


def meter_of(app: App, shared: Path | None, own: int) -> Meter:
    """What counts for this process: row `own` of a file that all workers have in a folder, or this process alone."""
    if not app.settings.telemetry.metrics:
        return NoMeter()
    return Metrics(shared and shared / f"metrics-{app.domain.name}", app.settings.server.workers, own)


def traced(app: Application, settings: Settings) -> Application:
    """The application with its spans on their way to the collector."""
    telemetry = settings.telemetry
    assert telemetry.traces is not None
    from bondhu.monitor.traces import Traced, collector  # an extra

    return Traced(app, collector(telemetry.traces), telemetry.sample, random.random)
