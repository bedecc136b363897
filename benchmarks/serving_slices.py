"""Short slices of load on several servers in turn, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from time import sleep

from benchmarks.load import Job, Result, drive, saturate
from benchmarks.serving_processes import Server, cpu_of, hurried

PRIORITY = 10  # of generator and servers in an open loop, where the system lets us; else other work is what is measured
PAUSE = 0.2  # seconds between slices, in which a server finishes what it was at


@dataclass(frozen=True)
class Cell:
    """One server under one kind of load."""

    name: str
    server: Server
    job: Job
    others: Callable[[], Sequence[int]] = tuple  # processes that work for it beside its own, such as a database's

    def pids(self) -> list[int]:
        return [*self.server.pids(), *self.others()]


@dataclass
class Slices:
    """What the slices of one cell came to, in order."""

    results: list[Result] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # µs of all its processes a request

    @property
    def rate(self) -> float:
        """Answers a second, of the middle slice."""
        return median(each.rate for each in self.results)

    @property
    def p99(self) -> float:
        return median(each.p99 for each in self.results)

    @property
    def work(self) -> float:
        return median(self.cpu)

    @property
    def refused(self) -> int:
        return sum(sum(each.refused.values()) + each.unanswered for each in self.results)


def alternate(cells: Sequence[Cell], rounds: int, *, open_loop: bool = False, warm: bool = True) -> dict[str, Slices]:
    """`rounds` slices of every cell, one cell after the other, after one short round to warm up."""
    found = {cell.name: Slices() for cell in cells}
    for cell in cells if warm else ():
        one(cell, open_loop, short=True)
    for _ in range(rounds):
        for cell in cells:
            result, cpu = one(cell, open_loop)
            found[cell.name].results.append(result)
            found[cell.name].cpu.append(cpu)
    return found


def one(cell: Cell, open_loop: bool, *, short: bool = False) -> tuple[Result, float]:
    """One slice, and the µs of work that each answer cost the server's processes."""
    sleep(PAUSE)
    job = Job(**{**vars(cell.job), "seconds": min(cell.job.seconds, 1.0)}) if short else cell.job
    pids = cell.pids()
    before = sum(map(cpu_of, pids))
    if open_loop:
        with hurried(pids, PRIORITY) as allowed:
            result = drive(job, priority=PRIORITY if allowed else 0)
    else:
        result = saturate(job)
    work = sum(map(cpu_of, pids)) - before
    return result, work * 1e6 / max(result.answered, 1)


def ratio(mine: Slices, peer: Slices) -> float:
    """The median over the rounds of our rate to the peer's."""
    return median(one.rate / other.rate for one, other in zip(mine.results, peer.results, strict=True))


def offered(server: Server, job: Job, rates: Sequence[float]) -> float:
    """The highest of these rates that the generator can really offer, on a server that does next to nothing."""
    for rate in rates:
        with suppress(RuntimeError):
            trial = Job(**{**vars(job), "kind": "open", "rate": rate, "seconds": 1.0, "warm": 0.2})
            found, _ = one(Cell("trial", server, trial), True)
            if not found.unanswered and found.rate >= 0.97 * rate and found.p50 < 2.0:
                return rate
    return rates[-1]
