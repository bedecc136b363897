"""The pages: how soon they are there, what they weigh, and what five people who look cost those who ask for decisions.

A month of decisions lies in SQLite; the server is started as an operator starts it. Decisions arrive at moments that do
not depend on the answers, in short slices: without anybody who looks, and with five browsers that each follow another
view. Both take turns; where nobody / nobody differs from 1, other work of the machine does too. The generator stands
for clients elsewhere: it goes before other work, if the system lets it; nothing of the server does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from gzip import decompress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from benchmarks.dashboard_log import fill
from benchmarks.dashboard_statements import Told, told
from benchmarks.dashboard_watchers import Seen, watching
from benchmarks.load import Job, Result, drive, write
from benchmarks.report import Row, main
from benchmarks.serving_deployments import contexts, deploy, scratch
from benchmarks.serving_processes import HOST, Server, bondhu, cpu_of, hurried, memory_of, running
from benchmarks.serving_slices import PRIORITY
from bondhu.dashboard.web.drawing import DECISION, VIEWS

MODULE = "bondhu.server.showing"  # of the process that draws
FILE = re.compile(r'(?:src|href)="(/dashboard/files/[^"]+)"')
WATCHED = ("/", "/dashboard/learning", "/dashboard/decisions", "/dashboard/releases", "/dashboard/health")
STARTING, READING = 60.0, 300.0  # seconds that pages may take to be there, and all decisions to be read
SETTLED = 2.0  # seconds between the first look of the browsers and the first decision that counts
LOOKED, IDLE = 1.0, 0.2  # seconds, and the share of a core below which a process is at rest
FIRST, HEAVIEST, LONGEST, SLOWER = 1.0, 600.0, 300.0, 1.10  # s, kB, ms and the ratio that were promised
COLUMNS = 80.0  # MB for a million decisions


@dataclass(frozen=True)
class Answer:
    """One page or file, as a browser gets it."""

    status: int
    seconds: float
    sent: int  # bytes on the wire, headers left out
    text: str


@dataclass
class Slices:
    """What the slices with or without browsers came to."""

    results: list[Result] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # of the process that draws, as a share of one core

    def middle(self, part: str) -> float:
        return float(median(getattr(each, part) for each in self.results))


def measure(quick: bool) -> Iterator[Row]:
    """All rows."""
    decisions = 100_000 if quick else 1_000_000
    with scratch() as folder:
        where = deploy(folder / "deployed")
        name = fill(where / "data" / "log.sqlite", decisions)
        yield from views(where, decisions, name, 1 if quick else 3)
        yield from asked(told(where), decisions)
        bodies = write([{"context": each} for each in contexts(2_000)], folder / "bodies")
        with running(bondhu(where)) as server:
            complete(server)
            quiet(server)
            yield from watched(server, bodies, quick)
            yield Row("memory of the process that draws, afterwards", memory_of(drawing(server))["Rss"], "MiB")


# ------------------------------------------------------------------------------------------------------- first views


def views(where: Path, decisions: int, name: str, starts: int) -> Iterator[Row]:
    """Every view for the first time, and what it weighs."""
    soon, shown, read, first = [], [], [], []
    for last in range(starts, 0, -1):
        with running(bondhu(where)) as server:
            began = perf_counter()
            answer = there(server)
            soon.append(perf_counter() - began)
            shown.append(decisions_in(answer.text))
            read.append(complete(server))
            first.append(get(server, "/"))
            if last == 1:
                rows = [*others(server, name)]
    some = f"{decisions:,} decisions"
    yield Row("the first page after the server says it is ready, while it reads", median(soon), "s")
    yield Row("decisions that this page knows", median(shown), "decisions")
    yield Row(f"until all of {some} are read, since then", median(read), "s")
    seconds = median(each.seconds for each in first)
    yield Row(f"first view: /, of {some}", seconds, "s", f"<= {FIRST:g}", seconds <= FIRST)
    yield from rows


def others(server: Server, name: str) -> Iterator[Row]:
    """The other views, each once anew and once as it is kept."""
    heaviest, whole = 0, 0
    for address in [*VIEWS, f"{DECISION}{name}"]:
        page, again = get(server, address), get(server, address)
        if page.status != 200:
            raise RuntimeError(f"{address} was answered {page.status}: {page.text[:500]}")
        label = address if address in VIEWS else f"{DECISION}ID"
        parts = [page, *(get(server, each) for each in dict.fromkeys(FILE.findall(page.text)))]
        heaviest = max(heaviest, sum(each.sent for each in parts))
        whole = max(whole, sum(len(each.text.encode()) for each in parts))
        if address != "/":
            yield Row(f"first view: {label}", page.seconds, "s", f"<= {FIRST:g}", page.seconds <= FIRST)
        yield Row(f"{label} again, nothing having changed", again.seconds * 1e3, "ms")
    weighs = heaviest / 1e3
    yield Row("heaviest page, with its style and script, on the wire", weighs, "kB", f"<= {HEAVIEST:g}", weighs <= 600)
    yield Row("the same, unpacked", whole / 1e3, "kB")


def there(server: Server) -> Answer:
    """The first page that is there."""
    end = perf_counter() + STARTING
    while perf_counter() < end:
        with suppress(OSError, HTTPException):
            answer = get(server, "/")
            if answer.status == 200:
                return answer
        sleep(0.02)
    raise RuntimeError(f"There was no page within {STARTING:g} s:\n{server.log.read_text()[-3000:]}")


def complete(server: Server) -> float:
    """Wait until all decisions are read; returns the seconds that took. Asks for a page that has nothing to compute."""
    began = perf_counter()
    while "read so far" in (page := there_at(server, f"/dashboard/evaluation?asked={perf_counter()}")) or not page:
        if perf_counter() - began > READING:
            raise RuntimeError(f"The decisions were not read within {READING:g} s.")
        sleep(0.1)
    return perf_counter() - began


def there_at(server: Server, address: str) -> str:
    answer = get(server, address)
    return answer.text if answer.status == 200 else ""


def decisions_in(text: str) -> int:
    """How many the foot of a page says there are in it."""
    found = re.search(r"([\d,]+) (?:of about [\d,]+ )?decisions", text.rpartition("<footer")[2])
    return int(found[1].replace(",", "")) if found else 0


def get(server: Server, address: str) -> Answer:
    """As a browser asks, on a connection of its own."""
    connection = HTTPConnection(HOST, server.port, timeout=STARTING)
    began = perf_counter()
    try:
        connection.request("GET", address, headers={"accept-encoding": "gzip"})
        answer = connection.getresponse()
        content = answer.read()
        seconds = perf_counter() - began
        plain = decompress(content) if answer.headers.get("content-encoding") == "gzip" else content
        return Answer(answer.status, seconds, len(content), plain.decode())
    finally:
        connection.close()


# --------------------------------------------------------------------------------------------------- what it asks


def asked(found: Told, decisions: int) -> Iterator[Row]:
    """What the same reading and drawing ask of SQLite and of memory."""
    holds = found.longest <= LONGEST
    statement = found.statement[:60]
    yield Row(f"longest statement of all reading and drawing: {statement} …", found.longest, "ms", "<= 300", holds)
    yield Row(f"work to read {found.decisions:,} decisions", found.reading, "s")
    yield Row("work to read what is newest, each two seconds", found.freshening * 1e3, "ms")
    most = COLUMNS * 1e6 / 2**20 * decisions / 1_000_000
    yield Row("columns of the decisions in memory", found.columns, "MiB", f"<= {most:.3g}", found.columns <= most)
    yield Row("memory that reading took", found.grown, "MiB")
    for address, milliseconds in found.views.items():
        yield Row(f"work to draw {address} of decisions that have just changed", milliseconds, "ms")


# --------------------------------------------------------------------------------------------- what lookers cost others


def watched(server: Server, bodies: str, quick: bool) -> Iterator[Row]:
    """Decisions without and with five browsers, in turns."""
    rate, rounds, seconds = (200.0, 1, 1.5) if quick else (300.0, 20, 4.0)
    job = Job(server.port, "/v1/decide", bodies, kind="open", connections=32, seconds=seconds, rate=rate, warm=0.3)
    nobody, again, five, seen = Slices(), Slices(), Slices(), list[Seen]()
    with hurried([os.getpid()], PRIORITY) as allowed:
        priority = PRIORITY if allowed else 0
    with watching(server.port, WATCHED, []):
        one(server, job, Slices(), priority)  # what is imported, compiled or computed on first use is there now
    quiet(server)
    for _ in range(rounds):
        one(server, job, nobody, priority)
        with watching(server.port, WATCHED, seen):
            sleep(SETTLED)
            one(server, job, five, priority)
        one(server, job, again, priority)
    for part in ("p50", "p99"):
        mine, peer = five.middle(part), nobody.middle(part)
        yield Row(f"decide at {rate:g}/s, five browsers: {part}", mine, "ms", "", None, "nobody looks", peer)
    both = Slices(nobody.results + again.results, nobody.cpu + again.cpu)
    ratio, noise = five.middle("p99") / both.middle("p99"), again.middle("p99") / nobody.middle("p99")
    name = "decide, five browsers / nobody: p99"
    yield Row(
        name, ratio, "x", f"<= {SLOWER:g}", ratio <= SLOWER, "nobody / nobody, which is 1 where it is quiet", noise
    )
    yield Row("decide, five browsers / nobody: p50", five.middle("p50") / both.middle("p50"), "x")
    failed = sum(sum(each.refused.values()) + each.unanswered for each in [*both.results, *five.results])
    yield Row("decisions that were refused or not answered", failed, "decisions", "0", failed == 0)
    cpu = median(five.cpu), median(both.cpu)
    yield Row("work of the process that draws, five browsers", cpu[0], "cores", "", None, "nobody looks", cpu[1])
    pages, failures = sum(each.pages for each in seen), sum(each.failed for each in seen)
    yield Row(f"pages that the browsers got in {rounds} slices; failures", failures, f"of {pages}", "0", failures == 0)
    yield Row("slowest of these pages", max(each.slowest for each in seen), "s")


def quiet(server: Server) -> None:
    """Wait until the process that draws has done what its first pages asked for beside them."""
    pid, end, before = drawing(server), perf_counter() + READING, -1.0
    while perf_counter() < end and (now := cpu_of(pid)) - before > IDLE * LOOKED:
        before = now
        sleep(LOOKED)


def one(server: Server, job: Job, slices: Slices, priority: int) -> None:
    """One slice."""
    pid, began = drawing(server), perf_counter()
    before = cpu_of(pid)
    slices.results.append(drive(job, priority=priority))
    slices.cpu.append((cpu_of(pid) - before) / (perf_counter() - began))


def drawing(server: Server) -> int:
    """The process that draws."""
    for pid in server.pids():
        with suppress(OSError):
            if MODULE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    raise RuntimeError(f"There is no process {MODULE}.")


if __name__ == "__main__":
    main("dashboard", measure)
