"""Two hours of traffic in a few minutes: does the service grow, or slow down, or let its write-ahead log grow?

A closed loop of decisions, each followed by feedback on it, as fast as the server answers: 1.5 million requests are two
hours at 208 a second. Bounded in requests and in time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from benchmarks.faults_checks import DOMAIN, opened, sound
from benchmarks.load import Job, Result, drive, write
from benchmarks.report import Row, main
from benchmarks.serving_deployments import contexts, deploy, scratch
from benchmarks.serving_postgres import cluster, missing
from benchmarks.serving_processes import Server, bondhu, get, memory_of, running

TOTAL = 1_500_000  # decisions and feedback
LONGEST = 400.0  # seconds
QUICK = 3.0  # seconds
CONNECTIONS = 32
EVERY = 0.5  # seconds between looks
SETTLED = 0.1  # part of the run after which it counts
LEAK = (
    16.0  # bytes that all processes may grow by with each request, in the second half: less than any object that stays
)
STEADY = 0.9  # least rate of the last tenth beside that of the first one
WAL = 64.0  # MiB that the write-ahead log may have


@dataclass(frozen=True)
class Looks:
    """What was seen every half second: `[N]` each."""

    time: list[float]  # seconds since the load began
    memory: list[float]  # MiB, RSS of all processes of the server
    work: list[float]  # seconds of CPU of all of them so far
    wal: list[float]  # MiB of the write-ahead log


def measure(quick: bool) -> list[Row]:
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        bodies = write([{"context": each} for each in contexts(2_000)], folder / "bodies")
        places = {"SQLite": "data/log.sqlite"}
        why = missing()
        if why:
            print(f"Without PostgreSQL: {why}.", file=sys.stderr)
        else:
            places["PostgreSQL"] = stack.enter_context(cluster(folder / "postgres")).address
        rows: list[Row] = []
        for name, log in places.items():
            where = deploy(folder / name, log)
            with running(bondhu(where)) as server:
                result, looks = soaked(server, bodies, where, quick)
                healthy = get(server.port, "/health") == 200
            rows += described(name, result, looks, quick)
            rows += kept(name, where, result, healthy)
    return rows


def soaked(server: Server, bodies: str, where: Path, quick: bool) -> tuple[Result, Looks]:
    """The load in a process of its own, and what the server looked like meanwhile."""
    seconds = QUICK if quick else LONGEST
    job = Job(server.port, "/v1/decide", bodies, "mixed", CONNECTIONS, seconds, most=TOTAL)
    looks = Looks([], [], [], [])
    with ThreadPoolExecutor(1) as pool:
        running_load = pool.submit(drive, job)
        begin = perf_counter()
        while not running_load.done():
            looks.time.append(perf_counter() - begin)
            looks.memory.append(sum(memory_of(pid)["Rss"] for pid in server.pids()))
            looks.work.append(server.cpu())
            looks.wal.append(sum(each.stat().st_size for each in where.glob("data/*-wal")) / 2**20)
            sleep(EVERY)
        return running_load.result(), looks


def described(name: str, result: Result, looks: Looks, quick: bool) -> list[Row]:
    """Growth, speed and the write-ahead log of one soak."""
    answered = result.answered
    rows = [Row(f"{name}: decisions and feedback answered in {result.seconds:.0f} s", answered, "requests")]
    bad = sum(result.refused.values())
    rows.append(Row(f"{name}: answered otherwise than 200", bad, "requests", "0", not bad))
    leak = slope(looks, result)
    what, goal = "memory of all processes, slope of the second half", f"<= {LEAK:g}"
    rows.append(Row(f"{name}: {what}", leak, "bytes/request", goal, None if quick else leak <= LEAK))
    rows.append(Row(f"{name}: memory of all processes at the end", looks.memory[-1], "MiB"))
    first, last = tenths(result.ticks[:-1])
    steady = last / first
    what = f"rate of the last tenth / the first ({last:,.0f}/s, {first:,.0f}/s)"
    rows.append(Row(f"{name}: {what}", steady, "x", f">= {STEADY}", steady >= STEADY))
    rows.append(Row(f"{name}: CPU a request in the last tenth / the first", worked(looks, result), "x"))
    if name == "SQLite":
        largest = max(looks.wal)
        rows.append(Row(f"{name}: largest write-ahead log", largest, "MiB", f"<= {WAL:g}", largest <= WAL))
    return rows


def slope(looks: Looks, result: Result) -> float:
    """Bytes that memory grew by with each request, over the second half of the run."""
    time, memory = np.asarray(looks.time), np.asarray(looks.memory)
    half = (time >= time[-1] / 2) & (time <= result.seconds)
    grown = np.polyfit(time[half], memory[half], 1)[0] * 2**20  # bytes a second
    return float(grown / result.rate)


def tenths(ticks: Sequence[int]) -> tuple[float, float]:
    """Answers a second in the first tenth, after what is for warming up, and in the last."""
    part = max(len(ticks) // 10, 1)
    start = max(int(len(ticks) * SETTLED), 1)
    return float(np.mean(ticks[start : start + part])), float(np.mean(ticks[-part:]))


def worked(looks: Looks, result: Result) -> float:
    """CPU of the server a request, last tenth over first one: other work on the machine moves it less than the rate."""
    ends = np.cumsum([0, *result.ticks])
    edges = np.array([SETTLED, 2 * SETTLED, 1 - SETTLED, 1]) * (len(result.ticks) - 1)
    work = np.interp(edges, looks.time, looks.work)
    done = np.interp(edges, np.arange(len(ends)), ends)
    return float((work[3] - work[2]) / (done[3] - done[2]) / ((work[1] - work[0]) / (done[1] - done[0])))


def kept(name: str, where: Path, result: Result, healthy: bool) -> list[Row]:
    """Everything that was answered is in the store, and hardly more."""
    stores = opened(where)
    try:
        found = stores.log.summary(DOMAIN)
    finally:
        stores.close()
    more = found.decisions + found.feedback - result.answered
    holds = 0 <= more <= 2 * CONNECTIONS
    rows = [Row(f"{name}: rows in the store beyond those answered", more, "", f"0 to {2 * CONNECTIONS}", holds)]
    whole = healthy and (name != "SQLite" or sound(where))
    return [*rows, Row(f"{name}: healthy and whole afterwards", float(whole), "", "1", whole)]


if __name__ == "__main__":
    main("soak", measure)
