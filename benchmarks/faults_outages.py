"""PostgreSQL restarted, killed, made read-only or cut off under load: a bounded queue, 503, and nothing lost."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, sleep

from benchmarks.faults_checks import RECOVERY, Found, committed, doubles, figures, last_line, verify
from benchmarks.faults_clients import EXPECTED, FEEDBACK, Clients, Promises, again
from benchmarks.report import Row
from benchmarks.serving_deployments import contexts, deploy
from benchmarks.serving_postgres import Cluster, settings
from benchmarks.serving_processes import Server, bondhu, memory_of, running

CLIENTS = 64
WAITING = 48  # rows that the server may keep waiting: fewer than there are clients
GROWTH = 32.0  # MiB that a server may grow by while its database is away


@dataclass(frozen=True)
class Outage:
    """One way in which a database goes away and comes back."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    seconds: float


def outages(database: Cluster, folder: Path, quick: bool) -> list[Row]:
    """Each of them once, on a deployment of its own."""
    long, short = (3.0, 1.0) if quick else (30.0, 3.0)
    read_only, again_on = (settings([("default_transaction_read_only", value)]) for value in ("on", "off"))
    kinds = (
        Outage("restarted", lambda: database.stop(signal.SIGINT), database.start, short),
        Outage("killed (-9), recovered", lambda: killed(database), database.start, short),
        Outage("read-only", lambda: database.sql(*read_only), lambda: database.sql(*again_on), short),
        Outage("cut off", lambda: database.signal(signal.SIGSTOP), lambda: database.signal(signal.SIGCONT), long),
    )
    rows: list[Row] = []
    for number, each in enumerate(kinds[::3] if quick else kinds):
        address = database.database(f"outage_{number}")
        where = deploy(folder / f"outage-{number}", address, waiting=WAITING, version=False)
        try:
            rows += survived(each, where, database, f"outage_{number}")
        except RuntimeError as error:
            rows.append(Row(f"PostgreSQL {each.name}: {last_line(error)}", 0, "", "1", False))
    return rows


def killed(database: Cluster) -> None:
    database.signal(signal.SIGKILL)
    if database.process:
        database.process.wait()
    sleep(0.5)  # the system takes its shared memory back


def survived(outage: Outage, where: Path, database: Cluster, name: str) -> list[Row]:
    """Load before, during and after; then everything promised beside what is there."""
    found = Found(faults=1)
    with running(bondhu(where)) as server:
        clients = Clients(server.port, CLIENTS, "o", contexts(500)).start()
        sleep(1.0)
        before = resident(server)
        outage.begin()
        largest = watched(server, outage.seconds)
        back = perf_counter()
        outage.end()
        there = clients.answered()
        while clients.answered() == there and perf_counter() - back < 2 * RECOVERY:
            sleep(0.005)
        found.seconds.append(perf_counter() - back)
        sleep(1.0)
        promises = clients.stop()
        found.unacknowledged = committed(where, promises.unsure)
        feedback = promises.feedback | {each.body["id"] for each in promises.unsure if each.path == FEEDBACK}
        found.refused = again(server.port, promises)
    verify(where, promises, found)
    found.twice = doubles(where, feedback)
    found.unsound = int(not database.sound(name))
    found.odd.update({status: count for status, count in promises.answers.items() if status not in EXPECTED})
    title = f"PostgreSQL {outage.name} for {outage.seconds:g} s"
    return [*figures(title, found), *bounded(title, promises, largest - before)]


def bounded(title: str, promises: Promises, growth: float) -> list[Row]:
    """That the server said so instead of letting everybody wait in its memory."""
    busy = promises.answers["503"]
    return [
        Row(f"{title}: answers 503 meanwhile", busy, "", ">= 1", busy >= 1),
        Row(f"{title}: the server grew by", growth, "MiB", f"<= {GROWTH:g}", growth <= GROWTH),
        Row(f"{title}: the longest that a client waited", promises.longest, "s"),
    ]


def resident(server: Server) -> float:
    return sum(memory_of(pid)["Rss"] for pid in server.pids())


def watched(server: Server, seconds: float) -> float:
    """The most MiB of the server over some seconds."""
    done, largest = Event(), [0.0]

    def look() -> None:
        while not done.is_set():
            largest[0] = max(largest[0], resident(server))
            done.wait(0.25)

    thread = Thread(target=look)
    thread.start()
    sleep(seconds)
    done.set()
    thread.join()
    return largest[0]
