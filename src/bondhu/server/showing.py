"""The process that shows pages: niced, so that whoever decides goes first, and unable to write what was decided."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import uvicorn

from bondhu.app import App
from bondhu.dashboard.columns.errands import Beside
from bondhu.dashboard.columns.reading import Reading
from bondhu.dashboard.page import Desk
from bondhu.dashboard.web.application import Site
from bondhu.log.sqlite import SqliteLog
from bondhu.registry.lifecycle import BASELINE
from bondhu.serve.forwarding import Received
from bondhu.serve.tenants import Tenants
from bondhu.server.admitting import access_of, limits_of
from bondhu.server.child import Parent, run
from bondhu.server.plan import Folder, as_served
from bondhu.server.sockets import PAGES
from bondhu.server.telling import begin_log, meter_of

NICE = 10  # how much less of the processor it gets than those who decide
KEPT = 30  # seconds that a connection may stay without a request: longer than the other side keeps it
ENDING = 2  # seconds for what is under way when it is told to stop


class Orders(msgspec.Struct, frozen=True):
    """What the supervisor says on standard input."""

    control: int  # file descriptor of the socket to the supervisor
    folders: list[Folder]  # of the deployments
    shared: str  # the folder that the workers share
    workers: int  # how many they are


class Server(uvicorn.Server):
    """Says when it answers, and lets nobody who listens hold it up when it ends."""

    def __init__(self, sites: Sequence[Site], orders: Orders, parent: Parent) -> None:
        whole = Tenants(sites[0], {each.name: each for each in sites[1:]})
        config = uvicorn.Config(
            Received(whole, limits_of(sites[0].desk.app)),
            uds=str(Path(orders.shared) / PAGES),
            log_level="warning",
            access_log=False,
            lifespan="on",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEPT,
            timeout_graceful_shutdown=ENDING,
        )
        super().__init__(config)
        self._sites, self._parent = sites, parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._parent.say_ready()
        threading.Thread(target=self._until_told, name="bondhu-told", daemon=True).start()

    def _until_told(self) -> None:
        self._parent.said_stop()
        self.should_exit = True
        self._parent.watch()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for each in self._sites:
            each.end()
        await super().shutdown(sockets)


def stand_back(*, yields: bool) -> None:
    """Let everybody else go first: at a low priority, or where it `yields` in the idle class, which gets a processor
    only when nobody else wants one (sched(7))."""
    if yields and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(NICE)


def work(orders: Orders) -> None:
    """Until the supervisor says stop."""
    parent = Parent(orders.control)
    apps = [folder.opened() for folder in orders.folders]
    stand_back(yields=apps[0].settings.dashboard.yields)  # and so do the threads that begin from now on
    begin_log(apps[0].settings)
    with ExitStack() as beside:
        Server([site_of(app, apps[0], orders, beside) for app in apps], orders, parent).run()


def site_of(app: App, host: App, orders: Orders, beside: ExitStack) -> Site:
    """The pages of one deployment; who reads its log for them stops with the block."""
    if isinstance(app.log, SqliteLog):
        app.log.database.only_read()
    reading = Reading(app)
    if app.settings.dashboard.enabled:  # otherwise nobody is sent here
        reading.start()
        beside.callback(reading.close)
    counted = meter_of(as_served(app, orders.workers), Path(orders.shared), 0)

    def counters() -> str:
        return counted.text(app.live() or BASELINE, app.domain.name).decode()

    return Site(Desk(app, reading, Beside(), counters, app.settings.dashboard.demo), access_of(app, host))


if __name__ == "__main__":
    run(lambda: work(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)))
