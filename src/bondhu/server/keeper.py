"""The process that runs the schedule: trainings, looks at releases, the watch."""

from __future__ import annotations

import select
import signal
import sys

import msgspec

from bondhu.server.child import Parent, run
from bondhu.server.keeping import keep
from bondhu.server.plan import Folder
from bondhu.server.telling import begin_log


class Orders(msgspec.Struct, frozen=True):
    """What the supervisor says on standard input."""

    control: int  # file descriptor of the socket to the supervisor
    folders: list[Folder]  # of the deployments


def work(orders: Orders) -> None:
    """Until the supervisor says stop; a job that is under way may end."""
    parent = Parent(orders.control)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    apps = [folder.opened() for folder in orders.folders]
    begin_log(apps[0].settings)
    told = False

    def stopped(seconds: float) -> bool:
        nonlocal told
        if not told and select.select([parent], [], [], seconds)[0]:
            parent.said_stop()
            parent.watch()
            told = True
        return told

    parent.say_ready()
    keep(apps, stopped)


if __name__ == "__main__":
    run(lambda: work(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)))
