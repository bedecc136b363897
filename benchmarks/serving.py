"""The service: decisions and feedback over HTTP, each committed before its answer, beside an echo on the same stack.

The echo reads a body and sends it back: the most that uvicorn, uvloop and httptools can do. Every server is a process
of its own, all of them take turns in short slices, and a ratio is the median over the rounds. What is missed says "no".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.decide import fdatasync
from benchmarks.load import Job, saturate, write
from benchmarks.report import Row, main
from benchmarks.serving_deployments import contexts, deploy, scratch, slow_disk
from benchmarks.serving_postgres import Cluster, cluster, missing
from benchmarks.serving_processes import Server, aside, bondhu, hurried, memory_of, post, ready, running, staffed
from benchmarks.serving_slices import PRIORITY, Cell, Slices, alternate, offered, ratio

DISTINCT = 2_000  # bodies
BATCH = 100  # decisions of one batch
RATES = (6_000.0, 4_000.0, 3_000.0, 2_000.0)  # requests a second of the open loop: the highest that can be offered
TABLE = 300_000 * (27 * (8 + 4) + 8) / 2**20  # MiB of the state that is served: values, tries, the best of each row
SHORT = 0.3  # seconds of a slice of the quick run
SLOWER = 2  # ms that fsync takes longer, in the slice of a slow disk
DURABLE = {"SQLite FULL, a writer process": 0.55, "PostgreSQL": 0.42}  # least ratio of decisions
LATE = {"SQLite FULL, a writer process": 1.0, "PostgreSQL": 3.0}  # ms of p99 above the echo's, beside 4 x fdatasync
SQLITE, POSTGRES = DURABLE
WORK = {SQLITE: 0.45}  # least ratio of the echo's work to ours
ECHO, UNLOGGED = "echo", "no log"


@dataclass(frozen=True)
class Stage:
    """Everything that runs during the benchmark."""

    folder: Path
    servers: dict[str, Server]
    database: Cluster | None
    bodies: str
    batches: str
    quick: bool

    def cell(self, name: str, bodies: str, path: str = "/v1/decide", connections: int = 64) -> Cell:
        others = self.database.pids if self.database and name == POSTGRES else tuple
        job = Job(self.servers[name].port, path, bodies, connections=connections, seconds=SHORT if self.quick else 3)
        return Cell(name, self.servers[name], job, others)

    def stores(self) -> list[str]:
        return [name for name in DURABLE if name in self.servers]


def measure(quick: bool) -> list[Row]:
    with ExitStack() as stack:
        stage = set_up(stack, quick)
        rows = [*throughput(stage), *feedback(stage), *batches(stage), *latency(stage), *memory(stage)]
        rows += slow(stage)
    return [*rows, *cold(quick)]


def set_up(stack: ExitStack, quick: bool) -> Stage:
    """The echo, the application without a log, and one with each store, all with the same table in force."""
    folder = stack.enter_context(scratch())
    made = contexts(max(DISTINCT, BATCH * DISTINCT // 10))
    bodies = write([{"context": each} for each in made[:DISTINCT]], folder / "bodies")
    groups = [made[at : at + BATCH] for at in range(0, len(made), BATCH)]
    batched = write([{"requests": [{"context": each} for each in group]} for group in groups], folder / "batches")
    deployments = {SQLITE: deploy(folder / "sqlite")}
    why, database = missing(), None
    if why is None:
        database = stack.enter_context(cluster(folder / "postgres"))
        deployments[POSTGRES] = deploy(folder / "with-postgres", database.address)
    else:
        print(f"Without PostgreSQL: {why}.", file=sys.stderr)
    started = {ECHO: aside("echo", folder), UNLOGGED: aside(str(deployments[SQLITE]), folder)}
    started |= {name: bondhu(where) for name, where in deployments.items()}
    for server in started.values():
        stack.callback(server.stop)
    for server in started.values():
        ready(server)
    return Stage(folder, started, database, bodies, batched, quick)


# --------------------------------------------------------------------------------------------------------- saturated


def throughput(stage: Stage) -> list[Row]:
    """Single decisions from 64 connections, as many as it takes."""
    found = alternate([stage.cell(name, stage.bodies) for name in stage.servers], rounds(stage), warm=not stage.quick)
    peer = found.pop(ECHO)
    goals = {UNLOGGED: 0.75, **DURABLE}
    rows = [figure(f"decide, {name}", goals[name], mine, peer) for name, mine in found.items()]
    rows += [worked(name, mine, peer) for name, mine in found.items()]
    rows += [
        Row(f"decide, {name}: p99 at saturation, 64 connections", mine.p99, "ms", peer=ECHO, peer_value=peer.p99)
        for name, mine in found.items()
    ]
    last = peer.results[-1]
    return [*rows, Row(f"load generator ({last.by}): its own CPU a request", last.cpu, "µs")]


def feedback(stage: Stage) -> list[Row]:
    """One feedback on one decision that is there."""
    cells = [stage.cell(ECHO, said(stage, stage.stores()[0]))]
    cells += [stage.cell(name, said(stage, name), "/v1/feedback") for name in stage.stores()]
    found = alternate(cells, rounds(stage), warm=not stage.quick)
    peer = found.pop(ECHO)
    return [figure(f"feedback, {name}", 0.5, mine, peer) for name, mine in found.items()]


def said(stage: Stage, name: str) -> str:
    """A file of feedback on decisions made for it."""
    port, asked = stage.servers[name].port, [{"context": each} for each in contexts(DISTINCT)]
    made = []
    for at in range(0, DISTINCT, 500):
        status, answer = post(port, "/v1/decide/batch", {"requests": asked[at : at + 500]})
        if status != 200:
            raise RuntimeError(f"{name} answered {status}: {answer}")
        made += [each["id"] for each in answer["decisions"]]
    return write([{"decision_id": each, "signal": "like"} for each in made], stage.folder / f"feedback {len(name)}")


def worked(name: str, mine: Slices, peer: Slices) -> Row:
    """What one decision costs; the ratio says more than that of the rates where others use the machine."""
    got = peer.work / mine.work
    goal = WORK.get(name)
    what = f"decide, {name}: CPU of all its processes, {got:.2f} of the echo's capacity"
    holds = None if goal is None else got >= goal
    return Row(what, mine.work, "µs", f"echo / it >= {goal}" if goal else "", holds, ECHO, peer.work)


def figure(name: str, goal: float, mine: Slices, peer: Slices) -> Row:
    """The ratio to the echo; beside it, in the name, how many a second that is."""
    got = ratio(mine, peer)
    refused = f", {mine.refused} refused" if mine.refused else ""
    what = f"{name} / {ECHO} ({mine.rate:,.0f}/s{refused})"
    return Row(what, got, "x", f">= {goal}", got >= goal and not mine.refused, f"{ECHO}, requests/s", peer.rate)


def batches(stage: Stage) -> list[Row]:
    """Batches of 100 with the log on."""
    cells = [stage.cell(name, stage.batches, "/v1/decide/batch", 16) for name in (ECHO, UNLOGGED, *stage.stores())]
    found = alternate(cells, rounds(stage), warm=not stage.quick)
    peer = found.pop(ECHO)
    rows = []
    for name, mine in found.items():
        rate, promised = mine.rate * BATCH, name != UNLOGGED
        holds = (rate >= 150_000 and not mine.refused) if promised else None
        goal = ">= 150,000" if promised else ""
        what = f"batches of {BATCH}, {name}, {mine.work / BATCH:.1f} µs of CPU each"
        row = Row(what, rate, "decisions/s", goal, holds, ECHO, peer.rate * BATCH)
        rows += [row, Row(f"batches of {BATCH}, {name} / {ECHO}", ratio(mine, peer), "x")]
    return rows


def rounds(stage: Stage) -> int:
    return 1 if stage.quick else 7


# --------------------------------------------------------------------------------------------------------- open loop


def latency(stage: Stage) -> list[Row]:
    """p99 of single decisions that arrive whether or not the ones before are answered."""
    turns = 500 if stage.quick else 3_000
    before = fdatasync(stage.folder, turns)
    echo = stage.cell(ECHO, stage.bodies)
    rate = offered(echo.server, echo.job, RATES[-1:] if stage.quick else RATES)
    cells = []
    for name in stage.servers:
        cell = stage.cell(name, stage.bodies)
        seconds = {"seconds": SHORT if stage.quick else 5.0, "warm": 0.3}
        job = Job(**{**vars(cell.job), "kind": "open", "rate": rate, **seconds})
        cells.append(Cell(name, cell.server, job, cell.others))
    found = alternate(cells, 1 if stage.quick else 5, open_loop=True, warm=not stage.quick)
    peer = found.pop(ECHO)
    sync = (before + fdatasync(stage.folder, turns)) / 2 * 1e3
    rows = [Row("fdatasync of a 4 KiB write, p50", sync, "ms")]
    with hurried([os.getpid()], PRIORITY) as allowed:
        how = "at real-time priority" if allowed else "without real-time priority: other work on the machine counts"
    rows.append(Row(f"open loop, {how}: rate", rate, "requests/s", f">= {RATES[0]:,.0f}", rate >= RATES[0]))
    for name, mine in found.items():
        most = peer.p99 + LATE[name] + 4 * sync if name in LATE else 2 * peer.p99
        goal = f"<= {most:.2f}: echo + {LATE[name]:g} + 4 x fdatasync" if name in LATE else f"<= {most:.2f}: 2 x echo"
        holds = mine.p99 <= most and not mine.refused
        row = Row(f"decide, {name}: p99 at {rate:,.0f}/s", mine.p99, "ms", goal, holds, ECHO, peer.p99)
        halfway = [median(each.p50 for each in slices.results) for slices in (mine, peer)]
        rows += [row, Row(f"decide, {name}: p50 at {rate:,.0f}/s", halfway[0], "ms", "", None, ECHO, halfway[1])]
    return rows


# ------------------------------------------------------------------------------------------------- memory, slow disk


def memory(stage: Stage) -> list[Row]:
    """Of one worker after all that load, and of the table among two workers."""
    rows = []
    for name in stage.stores():
        largest = max(memory_of(pid)["Rss"] for pid in stage.servers[name].workers())
        rows.append(Row(f"{name}: RSS of the largest worker", largest, "MiB", "<= 250", largest <= 250))
    with_table = spread(stage, deploy(stage.folder / "two", workers=2))
    without = spread(stage, deploy(stage.folder / "two-bare", workers=2, version=False))
    if with_table is None or without is None:
        return [*rows, Row("two workers: this release starts only one", 1, "worker", ">= 2", False)]
    copies = (with_table - without) / TABLE
    what = "two workers: memory that the table adds to all processes together (PSS)"
    return [*rows, Row(what, copies, "tables", "<= 1.3: one copy", copies <= 1.3)]


def spread(stage: Stage, where: Path) -> float | None:
    """MiB of all processes of a server with two workers after decisions from all over the table, each page counted
    once; None where it has no two workers."""
    with running(bondhu(where)) as server:
        if not staffed(server, 2):
            return None
        saturate(Job(server.port, "/v1/decide", stage.bodies, seconds=SHORT if stage.quick else 2))
        return sum(memory_of(pid)["Pss"] for pid in server.pids())


def slow(stage: Stage) -> list[Row]:
    """256 connections while every fsync takes 2 ms longer: the event loop must not wait for it."""
    environment, why = slow_disk(stage.folder, SLOWER)
    if why:
        return [Row(f"slow disk: not measured, {why}", float("nan"), "")]
    with running(bondhu(deploy(stage.folder / "slow"), environment=environment)) as server:
        cells = [stage.cell(name, stage.bodies, connections=256) for name in (ECHO, SQLITE)]
        job = Job(**{**vars(cells[0].job), "port": server.port})
        found = alternate([*cells, Cell("slow", server, job)], rounds(stage), warm=not stage.quick)
    what = f"decide, {SQLITE}, 256 connections"
    rows = [figure(f"{what}, fsync {SLOWER} ms slower", 0.5, found["slow"], found[ECHO])]
    got = ratio(found[SQLITE], found[ECHO])
    return [*rows, Row(f"{what}, fsync as it is / {ECHO} ({found[SQLITE].rate:,.0f}/s)", got, "x")]


def cold(quick: bool) -> list[Row]:
    """From nothing to the first decision, with the table in force; files are in the system's cache."""
    waits, firsts = [], []
    with scratch() as folder:
        where, body = deploy(folder / "cold"), {"context": contexts(1)[0]}
        for _ in range(1 if quick else 5):
            begin = perf_counter()
            server = bondhu(where)
            try:
                ready(server)
                there = perf_counter()
                status, answer = post(server.port, "/v1/decide", body)
                if status != 200:
                    raise RuntimeError(f"The first decision was answered {status}: {answer}")
                firsts.append(perf_counter() - there)
                waits.append(perf_counter() - begin)
            finally:
                server.stop()
    return summed(firsts, waits)


def summed(firsts: Sequence[float], waits: Sequence[float]) -> list[Row]:
    first, whole = median(firsts), median(waits)
    return [
        Row("first decision of a server that says it is ready", first * 1e3, "ms", "<= 1000", first <= 1),
        Row("from starting the program to that answer", whole * 1e3, "ms"),
    ]


if __name__ == "__main__":
    main("serving", measure)
