"""The live loop: deciding alone, with the decision committed before it returns, in batches, and over HTTP."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep
from typing import Any

import httpx
import numpy as np
import uvicorn
from gymnasium.spaces import Discrete, MultiDiscrete

from benchmarks.report import Row, main
from bondhu.domains import recommendation
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.log.sqlite import SqliteLog
from bondhu.ports import Deployment, Event
from bondhu.registry.disk import DiskRegistry
from bondhu.serve.decide import Decider, Request, Said
from bondhu.serve.http import create_app
from bondhu.serve.messages import Order
from bondhu.types import Acting, Spec

BATCH = 1_000
WINDOWS = 7
MICROSECONDS = 1e6


def measure(quick: bool) -> list[Row]:
    turns = 2_000 if quick else 20_000
    asked = requests(10_000)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        sync = fdatasync(Path(folder), turns // 4)
        with SqliteLog(Path(folder) / "log.sqlite") as log:
            decider = deployed(log, Path(folder))
            chosen = median(turns, lambda turn: decider.choose([asked[turn % len(asked)]]))
            committed = median(turns, lambda turn: decider.decide(asked[turn % len(asked)]))
            batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
            many = median(turns // 40, lambda turn: decider.decide_many(batches[turn % len(batches)]))
            made = [each.id for each in decider.decide_many(batches[0])]
            heard = median(turns // 4, lambda turn: decider.hear([Said(made[turn % BATCH], "like")]))
        with serving(Path(folder)) as address, httpx.Client(base_url=address) as client:
            bodies = [{"context": each.context} for each in asked[:BATCH]]
            answered = median(turns // 4, lambda turn: client.post("/v1/decide", json=bodies[turn % BATCH]))
            health = median(turns // 4, lambda _: client.get("/health"))
    rate = BATCH / many
    return [
        Row("choose(): policy and draw, p50", chosen * MICROSECONDS, "µs", "<= 40", chosen * MICROSECONDS <= 40),
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

    def act(self, action: str, order: Order) -> Mapping[str, Any]:  # noqa: ARG002
        return {}


def serve(folder: Path, ready: Connection) -> None:
    """A server in a process of its own, so that client and server do not share an interpreter."""
    with SqliteLog(folder / "log.sqlite") as log:
        app = create_app(deployed(log, folder), operations=Nothing(), admin_key="benchmark")
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
