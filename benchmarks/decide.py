"""The live loop: deciding alone, with the decision committed before it returns, in batches, and over HTTP."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep
from typing import Any

import httpx
import numpy as np
import uvicorn
import uvloop
from gymnasium.spaces import Discrete, MultiDiscrete
from msgspec.structs import replace

from benchmarks.report import Row, main
from bondhu.access.admission import Keys, Rules
from bondhu.domains import recommendation
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.log.memory import MemoryLedger
from bondhu.log.sqlite import SqliteLog
from bondhu.ports import Deployment, Event
from bondhu.registry.disk import DiskRegistry
from bondhu.serve.decide import Decider, Request, Said
from bondhu.serve.http import create_app
from bondhu.serve.messages import Order
from bondhu.serve.parts import Parts
from bondhu.serve.replies import Application
from bondhu.serve.writing.thread import ThreadWriter
from bondhu.types import Acting, Spec

BATCH = 1_000
WINDOWS = 7
MICROSECONDS = 1e6
GROUPS = (1, 8, 32)  # requests that are decided together
SIZES = (1, 8, 64)  # requests that a turn of the event loop finds ready
KNOWN = 2_000  # contexts that come again
HEADERS = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"170")]


def measure(quick: bool) -> list[Row]:
    turns = 400 if quick else 20_000
    asked = requests(10_000)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        sync = fdatasync(Path(folder), turns // 4)
        with SqliteLog(Path(folder) / "log.sqlite") as log:
            decider = deployed(log, Path(folder))
            chosen = {size: choosing(decider, asked, size, turns) for size in GROUPS}
            committed = median(turns, lambda turn: decider.decide(asked[turn % len(asked)]))
            batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
            many = median(turns // 40, lambda turn: decider.decide_many(batches[turn % len(batches)]))
            made = [each.id for each in decider.decide_many(batches[0])]
            heard = median(turns // 4, lambda turn: decider.hear([Said(made[turn % BATCH], "like")]))
            called = in_one_process(decider, [{"context": each.context} for each in asked[:KNOWN]], turns)
        with serving(Path(folder)) as address, httpx.Client(base_url=address) as client:
            bodies = [{"context": each.context} for each in asked[:BATCH]]
            answered = median(turns // 4, lambda turn: client.post("/v1/decide", json=bodies[turn % BATCH]))
            health = median(turns // 4, lambda _: client.get("/health"))
    rate = BATCH / many
    return [
        *(deciding(size, *each) for size, each in chosen.items()),
        *(
            Row(
                f"ASGI decide without a log or a network, {size} at a time, p50 of the whole application",
                ours * MICROSECONDS,
                "µs a request",
                peer="ASGI echo",
                peer_value=echoed * MICROSECONDS,
            )
            for size, (ours, echoed) in called.items()
        ),
        Row("fdatasync of a 4 KiB write, p50", sync * MICROSECONDS, "µs"),
        Row(
            "decide(): committed, SQLite FULL, p50",
            committed * MICROSECONDS,
            "µs",
            "<= 300 where fdatasync takes 100: fdatasync + 200",
            (committed - sync) * MICROSECONDS <= 200,
            "fdatasync",
            sync * MICROSECONDS,
        ),
        Row(
            f"decide_many({BATCH}): committed",
            rate,
            "decisions/s",
            ">= 1e5",
            rate >= 1e5,
            "decide(), one by one",
            1 / committed,
        ),
        Row("hear(): committed, p50", heard * MICROSECONDS, "µs"),
        Row(
            "POST /v1/decide by httpx, p50",
            answered * MICROSECONDS,
            "µs",
            peer="GET /health, which stores nothing",
            peer_value=health * MICROSECONDS,
        ),
    ]


def deciding(size: int, known: float, new: float) -> Row:
    """Seconds a decision, of contexts that came lately and of others."""
    goal = {1: 40.0, 8: 6.0, 32: 4.0}[size]
    name = f"choose() of {size}: policy and draw, p50, contexts that came lately"
    held = known * MICROSECONDS <= goal
    return Row(name, known * MICROSECONDS, "µs a decision", f"<= {goal:g}", held, "new ones", new * MICROSECONDS)


def choosing(decider: Decider, asked: Sequence[Request], size: int, turns: int) -> tuple[float, float]:
    """Seconds a decision where contexts come again, and where each is new."""
    known = [asked[at : at + size] for at in range(0, KNOWN - size + 1, size)]
    for each in known:
        decider.choose(each)
    again = median(turns // size, lambda turn: decider.choose(known[turn % len(known)])) / size
    # No number comes twice: a person's openness is never the same again.
    unheard = [number % 99 + size / 64 + number / len(asked) / 128 for number in range(len(asked))]
    others = [
        replace(each, context={**each.context, "openness": number}) for each, number in zip(asked, unheard, strict=True)
    ]
    fresh = [others[at : at + size] for at in range(0, len(others) - size + 1, size)]
    first = median(min(turns // size, len(fresh) - WINDOWS), lambda turn: decider.choose(fresh[turn % len(fresh)]))
    return again, first / size


def in_one_process(decider: Decider, bodies: Sequence[Mapping[str, Any]], turns: int) -> dict[int, tuple[float, float]]:
    """Seconds a request of the whole application, and of an echo, called as a server would but without one."""
    from benchmarks.serving_echo import Instant, echo

    app = create_app(Parts(decider, Instant(), Nothing(), Keys(MemoryLedger(), "recommendation", Rules("benchmark"))))
    sent = [json.dumps(each).encode() for each in bodies]
    rounds = max(turns // 64, WINDOWS + 1)
    found: dict[int, tuple[float, float]] = {}

    async def call(which: Application, body: bytes) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(_: Any) -> None:
            pass

        await which({"type": "http", "method": "POST", "path": "/v1/decide", "headers": HEADERS}, receive, send)

    async def turn(which: Application, size: int, number: int) -> float:
        loop, start = asyncio.get_running_loop(), perf_counter()
        each = [sent[(number * size + at) % len(sent)] for at in range(size)]
        await asyncio.gather(*(loop.create_task(call(which, body)) for body in each))
        return (perf_counter() - start) / size

    async def alternately() -> None:
        for size in SIZES:
            spent = np.array([[await turn(which, size, n) for which in (app, echo)] for n in range(rounds)])
            found[size] = tuple(np.median(spent[rounds // 8 :], axis=0).tolist())

    uvloop.run(alternately())
    return found


def requests(count: int) -> list[Request]:
    """Contexts drawn at random: each decision reads another row of the table."""
    rng = np.random.default_rng(1)
    fields = recommendation.domain().describe()["fields"]
    columns = [
        rng.choice(field["values"], count).tolist()
        if field["kind"] == "category"
        else rng.integers(0, 101, count).tolist()
        for field in fields
    ]
    names = [field["name"] for field in fields]
    return [Request(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def deployed(log: SqliteLog, folder: Path) -> Decider:
    """An ε-greedy policy over a table of 300,000 states and 27 actions, on stores on disk."""
    domain = recommendation.domain()
    encoder = domain.encoder(MultiDiscrete)
    learner = QLearning(initial_value=0.0)
    state = learner.init(Spec(encoder.space, Discrete(len(domain.actions))), np.random.default_rng(0))
    state.values[:] = np.random.default_rng(0).normal(size=state.values.shape)
    policy = learner.policy(state, explore=True)

    def restore(version: str | None) -> Acting:
        return Acting(version or "baseline", policy, encoder, domain.actions)

    registry = DiskRegistry(folder / "versions")
    if not registry.events(domain.name):
        registry.record(domain.name, Event(0.0, "promoted", "baseline", "benchmark", {}))
    return Decider(Deployment(domain, log, registry), restore, exploration=0.05)


def median(turns: int, work: Callable[[int], Any]) -> float:
    """Seconds of the middle call in the quietest of several windows, after one to warm up: others use this machine."""
    window = max(turns // WINDOWS, 1)
    medians = []
    for first in range(0, (WINDOWS + 1) * window, window):
        spent = np.empty(window)
        for turn in range(window):
            start = perf_counter()
            work(first + turn)
            spent[turn] = perf_counter() - start
        medians.append(float(np.median(spent)))
    return min(medians[1:])


def fdatasync(folder: Path, turns: int) -> float:
    """Seconds that the disk takes to make one page durable."""
    with (folder / "probe").open("wb", buffering=0) as file:
        page = os.urandom(4096)

        def write(_: int) -> None:
            file.write(page)
            os.fdatasync(file.fileno())

        return median(turns, write)


class Nothing:
    """An administrator's desk with nobody behind it."""

    def train(self) -> Mapping[str, Any]:
        return {}

    def health(self) -> Mapping[str, Any]:
        return {}

    def releases(self) -> Mapping[str, Any]:
        return {}

    def verdicts(self, version: str | None) -> Mapping[str, Any]:  # noqa: ARG002
        return {}

    def act(self, action: str, order: Order, by: str) -> Mapping[str, Any]:  # noqa: ARG002
        return {}

    def erase(self, user: str, by: str, forget: Callable[[Iterable[str]], None]) -> Mapping[str, Any]:  # noqa: ARG002
        return {}


def serve(folder: Path, ready: Connection) -> None:
    """A server in a process of its own, so that client and server do not share an interpreter."""
    with SqliteLog(folder / "log.sqlite") as log:
        app = create_app(
            Parts(
                deployed(log, folder),
                ThreadWriter(log),
                Nothing(),
                Keys(MemoryLedger(), "recommendation", Rules("benchmark")),
            )
        )
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))

        def told() -> None:
            while not server.started:
                sleep(0.01)
            ready.send(server.servers[0].sockets[0].getsockname()[1])

        Thread(target=told, daemon=True).start()
        server.run()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of that server."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(folder, there))
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    main("decide", measure)
