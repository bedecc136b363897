"""A real server on a real log: nothing answered is lost, nothing is logged twice, swaps drop no request."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from bondhu.log.sqlite import SqliteLog
from bondhu.ports import Event
from bondhu.registry.disk import DiskRegistry
from bondhu.serve.decide import Decider
from bondhu.serve.replies import Application
from tests.service.shop import CONTEXT, decider, version
from tests.service.web import application


class Server(uvicorn.Server):
    """A server in a thread of the test."""

    def __init__(self, app: Application) -> None:
        super().__init__(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
        self._thread = threading.Thread(target=self.run)

    def __enter__(self) -> str:
        self._thread.start()
        while not self.started:
            time.sleep(0.005)
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.should_exit = True
        self._thread.join()


@pytest.fixture
def durable(tmp_path: Any) -> Iterator[Decider]:
    with SqliteLog(tmp_path / "log.sqlite") as log:
        yield decider(log=log, registry=DiskRegistry(tmp_path / "versions"), exploration=0.5)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_a_real_server_logs_parallel_decisions_and_feedback_exactly_once(durable: Decider) -> None:
    answers: list[dict[str, Any]] = []

    def work(number: int) -> None:
        with httpx.Client(base_url=url) as client:
            for turn in range(5):
                body = {"context": CONTEXT, "id": f"d{number}-{turn}", "user": f"u{number}"}
                first, again = client.post("/v1/decide", json=body), client.post("/v1/decide", json=body)
                assert first.json() == again.json()
                client.post(
                    "/v1/feedback", json={"decision_id": f"d{number}-{turn}", "signal": "like"}
                ).raise_for_status()
                answers.append(first.json())

    with Server(application(durable)) as url:
        in_threads(10, work)
    records = durable.deployment.log.read("shop", 0, 1e12)
    assert sorted(records.id) == sorted(each["id"] for each in answers)
    assert len(records.id) == 50
    assert sorted(records.feedback_decision.tolist()) == list(range(50))


def test_what_was_answered_is_logged_when_the_server_stops_under_load(durable: Decider) -> None:
    answered: list[str] = []
    stop = threading.Event()

    def work(_: int) -> None:
        with httpx.Client(base_url=url) as client:
            while not stop.is_set():
                try:
                    response = client.post("/v1/decide", json={"context": CONTEXT})
                except httpx.TransportError:
                    return
                if response.status_code == 200:
                    answered.append(response.json()["id"])

    server = Server(application(durable))
    with server as url:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for each in threads:
            each.start()
        while len(answered) < 100:
            time.sleep(0.01)
    stop.set()
    for each in threads:
        each.join()
    assert len(answered) >= 100
    assert set(answered) <= set(durable.deployment.log.read("shop", 0, 1e12).id)


def test_a_promotion_under_load_drops_no_request_and_every_decision_replays(durable: Decider) -> None:
    answers: list[dict[str, Any]] = []

    def work(number: int) -> None:
        with httpx.Client(base_url=url) as client:
            for _ in range(25):
                answers.append(client.post("/v1/decide", json={"context": CONTEXT}).raise_for_status().json())
                if number == 0 and len(answers) > 20 and not registry.events("shop"):
                    registry.add(version("v1"))
                    registry.record("shop", Event(1.0, "promoted", "v1", "test", {}))

    registry = durable.deployment.registry
    with Server(application(durable)) as url:
        in_threads(4, work)
        audits = [httpx.get(f"{url}/v1/decisions/{each['id']}").json() for each in answers[::5]]
    assert len(answers) == 100
    assert {each["version"] for each in answers} == {"baseline", "v1"}
    assert all(each["replayed"] for each in audits)


def serve_on(path: Path, ready: Connection) -> None:
    """A server in a process of its own, to be killed."""
    app = application(decider(log=SqliteLog(path)))
    with Server(app) as url:
        ready.send(url)
        threading.Event().wait()


def test_what_was_answered_is_there_after_the_process_was_killed(tmp_path: Path) -> None:
    answered: list[str] = []
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=serve_on, args=(tmp_path / "log.sqlite", there))
    process.start()
    there.close()  # so that `recv` ends where the process does
    url = here.recv()

    def work(_: int) -> None:
        with httpx.Client(base_url=url) as client, suppress(httpx.TransportError):
            while True:
                answered.append(client.post("/v1/decide", json={"context": CONTEXT}).json()["id"])
                if len(answered) >= 150:
                    process.kill()

    in_threads(6, work)
    process.join()
    assert len(answered) >= 150
    with SqliteLog(tmp_path / "log.sqlite") as log:
        assert set(answered) <= set(log.read("shop", 0, 1e12).id)
