"""A process that answers requests at a socket that it shares with others of its kind."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import msgspec

from bondhu.server.assembly import Place, composed, writer_of
from bondhu.server.child import Parent, run
from bondhu.server.draining import http_server
from bondhu.server.plan import Folder, as_served
from bondhu.server.telling import begin_log


class Orders(msgspec.Struct, frozen=True):
    """What the supervisor says on standard input."""

    control: int  # file descriptor of the socket to the supervisor
    listener: int  # of the socket that clients connect to
    folders: list[Folder]  # of the deployments
    writers: list[str | None]  # by deployment, the socket of the process that writes; None: this one writes itself
    workers: int  # how many of its kind share the work
    own: int  # which of them this is, from 0
    shared: str  # a folder for what they share


def work(orders: Orders) -> None:
    """Until the supervisor says stop and what was under way is done."""
    parent = Parent(orders.control)
    apps = [as_served(folder.opened(), orders.workers) for folder in orders.folders]
    begin_log(apps[0].settings)
    place = Place(orders.own, Path(orders.shared))
    writers = [writer_of(app, path) for app, path in zip(apps, orders.writers, strict=True)]

    def started() -> None:
        asyncio.get_running_loop().add_reader(parent, told)
        parent.say_ready()

    def told() -> None:
        parent.said_stop()
        server.should_exit = True

    server = http_server(composed(apps, writers, place), apps[0].settings, started)
    server.run(sockets=[socket.socket(fileno=orders.listener)])
    for app in apps:
        app.stores.close()


if __name__ == "__main__":
    run(lambda: work(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)))
