"""`bondhu serve`: one process that does everything, or a supervisor with several."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bondhu import screen
from bondhu.app import App
from bondhu.errors import Conflict, TrainingInProgress
from bondhu.log.checkpoints import Checkpointer
from bondhu.log.lock import holder, only_one
from bondhu.log.sqlite import SqliteLog
from bondhu.log.stores import is_postgres
from bondhu.server.assembly import Place, composed, writer_of
from bondhu.server.draining import http_server
from bondhu.server.generation import shower
from bondhu.server.keeping import keep
from bondhu.server.plan import Asked, Plan, apps_of, as_served, check, check_certificate, checked_anew, plan_of
from bondhu.server.sockets import listening, own_folder, remove_leftovers
from bondhu.server.supervisor import Supervisor
from bondhu.server.telling import begin_log
from bondhu.server.tending import Tended
from bondhu.settings import Settings

log = logging.getLogger(__name__)


def serve(
    app: App, *, host: str | None = None, port: int | None = None, workers: int | None = None, writer: str | None = None
) -> None:
    """Run until told to stop, as the settings say or otherwise."""
    server = app.settings.server
    asked = Asked(str(app.settings.directory), workers, writer)
    apps = apps_of(app)
    plan = plan_of(apps, asked)
    check_certificate(app.settings)
    begin_log(app.settings)
    with ExitStack() as held, listening(host or server.host, server.port if port is None else port) as listener:
        with suppress(TrainingInProgress):  # a second server of the same folder goes without a file
            held.enter_context(only_one(process_file(app.settings)))
        if plan.single:
            serve_alone([as_served(each, 1) for each in apps], listener, plan)
            return
        check(apps)
        remove_leftovers()
        for each in apps:
            each.stores.close()
        Supervisor(plan, listener, lambda: checked_anew(asked), lambda: announce(app, listener)).run()


def process_file(settings: Settings) -> Path:
    """Where the running server leaves its process number: beside the store."""
    store = settings.store
    return settings.path(store.registry if is_postgres(store.log) else store.log).parent / "server.pid"


def reload(app: App) -> int:
    """Tell the server of this deployment to begin anew; returns its process number. Raises Conflict where none runs."""
    number = holder(process_file(app.settings))
    if number is None:
        raise Conflict("No server of this folder is running.", fix="Start it: `bondhu serve`.")
    os.kill(number, signal.SIGHUP)
    return number


def announce(app: App, listener: socket.socket) -> None:
    """Say where the service is."""
    kind = "https" if app.settings.server.certificate else "http"
    host, port = listener.getsockname()[:2]
    address = f"{kind}://{f'[{host}]' if ':' in host else host}:{port}"
    screen.say(f"{app.domain.name} is served at {address} ({address}/openapi.json). Ctrl-C stops it.")


def serve_alone(apps: list[App], listener: socket.socket, plan: Plan) -> None:
    """Everything in this process: requests on the event loop, writing and the schedule in threads. Pages alone are
    shown by another one, so that nobody who looks takes time from those who decide."""
    with suppress(KeyboardInterrupt), unmoved_by_hangup(), keeping(apps), ExitStack() as beside:
        for app in apps:
            if isinstance(app.log, SqliteLog):
                beside.enter_context(Checkpointer(app.log.database))
        shared = beside.enter_context(shared_folder()) if plan.pages else None
        shown = beside.enter_context(Tended(shower(plan.folders, shared, 1))) if shared else None
        asgi = composed(apps, [writer_of(app) for app in apps], Place(0, shared))

        def started() -> None:
            announce(apps[0], listener)
            if shown:
                shown.start()

        http_server(asgi, apps[0].settings, started, shown.stop if shown else lambda: None).run(sockets=[listener])


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder for this process and the one that shows pages."""
    remove_leftovers()
    held = own_folder()
    try:
        yield held.path
    finally:
        held.close()


@contextmanager
def keeping(apps: list[App]) -> Iterator[None]:
    """The schedule in a thread of this process. At the end it may finish what it is at, as requests may; what takes
    longer is cut off, which leaves no trace in the stores."""
    stop = threading.Event()
    thread = threading.Thread(target=keep, args=(apps, stop.wait), name="bondhu-keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(apps[0].settings.server.drain_seconds)
        if thread.is_alive():
            log.warning("A scheduled job was cut off; it will be made up for.")
            sys.stdout.flush()
            os._exit(0)  # the interpreter would wait for the job's own thread


@contextmanager
def unmoved_by_hangup() -> Iterator[None]:
    """SIGHUP asks for new settings, which one process cannot take over without a break."""

    def told(*_: object) -> None:
        log.error("One process cannot be reloaded. Restart it, or serve with --writer process or more workers.")

    before = signal.signal(signal.SIGHUP, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
