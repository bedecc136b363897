"""kill -9 in the middle of load, and a database that goes away: what was acknowledged is there, once.

Clients send decisions and feedback under ids of their own and note what they were told. After each fault the store is
compared with that; what a client is in doubt about is sent again, as a client should, and must not be there twice.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from benchmarks.faults_checks import RECOVERY, Found, committed, doubles, figures, last_line, on_postgres, sound, verify
from benchmarks.faults_clients import DECIDE, EXPECTED, FEEDBACK, Clients, Promises, again
from benchmarks.faults_outages import outages
from benchmarks.report import Row, main
from benchmarks.serving_deployments import contexts, deploy, scratch
from benchmarks.serving_postgres import Cluster, cluster, missing
from benchmarks.serving_processes import Server, aside, bondhu, descendants, post, ready, runs, staffed

CLIENTS = 12
DRAINING = 30.0  # seconds that processes may take to notice that their supervisor is gone
CONTEXT = contexts(1)[0]
ALL, WORKER, WRITER, SUPERVISOR = "everything", "one worker", "the writer", "the supervisor"


@dataclass(frozen=True)
class Plan:
    """Faults of one kind."""

    store: str
    workers: int
    target: str
    kills: int
    quickly: bool = False  # whether --quick does one of them

    @property
    def name(self) -> str:
        return f"{self.store}, {self.workers} worker{'s' * (self.workers > 1)}, kill -9 of {self.target}"


SQLITE, POSTGRES = "SQLite", "PostgreSQL"
PLANS = (
    Plan(SQLITE, 1, ALL, 40),
    Plan(SQLITE, 2, ALL, 30, True),
    Plan(SQLITE, 2, WRITER, 25, True),
    Plan(SQLITE, 2, WORKER, 25, True),
    Plan(SQLITE, 2, SUPERVISOR, 15),
    Plan(POSTGRES, 1, ALL, 25, True),
    Plan(POSTGRES, 2, ALL, 20),
    Plan(POSTGRES, 2, WORKER, 10, True),
    Plan(POSTGRES, 2, SUPERVISOR, 10),
)


def plans(quick: bool) -> list[Plan]:
    return [replace(each, kills=1) for each in PLANS if each.quickly] if quick else list(PLANS)


def measure(quick: bool) -> list[Row]:
    rows: list[Row] = []
    results: list[Found] = []
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        why = missing()
        rows.append(control(folder))
        database = None if why else stack.enter_context(cluster(folder / "postgres"))
        if why:
            print(f"Without PostgreSQL: {why}.", file=sys.stderr)
        for number, plan in enumerate(plans(quick)):
            if plan.store == SQLITE or database:
                result = tried(plan, folder / f"plan-{number}", database)
                rows += described(plan, result)
                print(f"{rows[-1].name}: {rows[-1].value:.3g} {rows[-1].unit}", file=sys.stderr)
                results += [result] if isinstance(result, Found) else []
        rows += summed(results)
        if database:
            rows += outages(database, folder, quick)
    return rows


def summed(results: Sequence[Found]) -> list[Row]:
    """Of all kills together."""
    kills, missing_rows, twice = (
        sum(getattr(each, name) for each in results) for name in ("faults", "missing", "twice")
    )
    acknowledged = sum(each.decisions + each.feedback for each in results)
    name = f"all {kills} kills: acknowledged rows"
    return [
        Row(f"{name} missing, of {acknowledged:,}", missing_rows, "rows", "0", not missing_rows),
        Row(f"{name} there twice", twice, "rows", "0", not twice),
    ]


def control(folder: Path) -> Row:
    """That the check would find a loss: a server that answers without waiting for the log."""
    found, where = Found(), deploy(folder / "control", version=False)
    server = aside(str(where), folder)
    try:
        ready(server)
        clients = Clients(server.port, CLIENTS, "c", contexts(500)).start()
        sleep(0.5)
    finally:
        server.kill()
    verify(where, clients.stop(), found)
    many = found.decisions + found.feedback
    name = f"control, answers before it commits, kill -9: missing, of {many:,} acknowledged"
    return Row(name, found.missing, "", ">= 1", found.missing >= 1)


def tried(plan: Plan, folder: Path, database: Cluster | None) -> Found | str:
    """All faults of one kind on one deployment; or why it cannot be done."""
    where = database.database(folder.name.replace("-", "_")) if database and plan.store == POSTGRES else None
    log = where or "data/log.sqlite"
    deploy(folder, log, workers=plan.workers, version=False)
    found, rng, asked = Found(), np.random.default_rng(plan.kills), contexts(500)
    sent: set[str] = set()  # all feedback ever
    server = bondhu(folder)
    try:
        ready(server)
        if not staffed(server, plan.workers) or not aims(server, plan):
            return f"{plan.name}: there is no such process"
        for kill in range(plan.kills):
            clients = Clients(server.port, CLIENTS, f"k{kill}", asked).start()
            sleep(rng.uniform(0.3, 0.9))
            try:
                server = faulted(server, plan, folder, found)
                sleep(0.2)
            finally:
                promises = clients.stop()
            judge(folder, server, promises, found, sent)
    except RuntimeError as error:  # it did not start, or not again
        return f"{plan.name}, {found.faults} times: {last_line(error)}"
    finally:
        server.stop()
    found.twice = doubles(folder, sent)
    if database and on_postgres(folder):
        found.unsound += not database.sound(folder.name.replace("-", "_"))
    return found


def aims(server: Server, plan: Plan) -> list[int]:
    """The processes that a fault of this kind may kill."""
    if plan.target == WRITER:
        return server.writers()
    if plan.target == WORKER:
        found = server.workers()
        return found if len(found) == plan.workers else []
    if plan.target == SUPERVISOR:
        return [server.process.pid] if descendants(server.process.pid) else []
    return server.pids()


def faulted(server: Server, plan: Plan, folder: Path, found: Found) -> Server:
    """Kill, and wait until it decides again: by itself, or started anew where nobody is left to do that."""
    found.faults += 1
    if plan.target == ALL:
        server.kill()
        return begun(plan, folder, server.port, found)
    before = server.pids()
    begin = perf_counter()
    with suppress(ProcessLookupError):
        os.kill(aims(server, plan)[0], signal.SIGKILL)
    if plan.target == SUPERVISOR:
        server.process.wait()
        found.leaving.append(outlived(before))
        return begun(plan, folder, server.port, found)
    while perf_counter() - begin < RECOVERY:
        now = server.pids()
        if set(now) != set(before) and len(now) == len(before) and decides(server.port):
            found.seconds.append(perf_counter() - begin)
            return server
        sleep(0.02)
    found.seconds.append(float("inf"))
    server.kill()
    return begun(plan, folder, server.port, None)


def begun(plan: Plan, folder: Path, port: int, found: Found | None) -> Server:
    """The server started anew at the same port, deciding; `found` notes how long that took."""
    begin = perf_counter()
    server = bondhu(folder, port)
    ready(server)
    while not decides(port) and perf_counter() - begin < RECOVERY:
        sleep(0.01)
    if found:
        found.seconds.append(perf_counter() - begin)
    staffed(server, plan.workers)
    return server


def outlived(pids: Sequence[int]) -> float:
    """Seconds until the last of them was gone; those that stay for longer than a server drains are killed."""
    begin = perf_counter()
    while (alive := [pid for pid in pids if runs(pid)]) and perf_counter() - begin < 2 * DRAINING:
        sleep(0.05)
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return float("inf") if alive else perf_counter() - begin


def decides(port: int) -> bool:
    with suppress(OSError, HTTPException):
        return post(port, DECIDE, {"context": CONTEXT}, timeout=5)[0] == 200
    return False


def judge(folder: Path, server: Server, promises: Promises, found: Found, sent: set[str]) -> None:
    """Count what is in the store, send what is in doubt again, and compare all of it."""
    found.unacknowledged += committed(folder, promises.unsure)
    sent |= promises.feedback | {each.body["id"] for each in promises.unsure if each.path == FEEDBACK}
    found.refused += again(server.port, promises)
    found.odd.update({status: count for status, count in promises.answers.items() if status not in EXPECTED})
    verify(folder, promises, found)
    if not on_postgres(folder):
        found.unsound += not sound(folder)


def described(plan: Plan, found: Found | str) -> list[Row]:
    if isinstance(found, str):
        return [Row(f"not measured: {found}", 0, "kills", f">= {plan.kills}", False)]
    name = f"{plan.name}, {found.faults} times"
    rows = figures(name, found)
    if found.leaving:
        worst = max(found.leaving)
        name = f"{name}: until its other processes had gone, longest"
        rows.append(Row(name, worst, "s", f"<= {DRAINING:g}", worst <= DRAINING))
    return rows


if __name__ == "__main__":
    main("faults", measure)
