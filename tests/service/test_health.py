"""What the server says of itself: alive, ready and why not, and what it counts."""

from __future__ import annotations

from time import sleep
from typing import Any

import pytest

from bondhu.errors import StateCorrupt, StoreError, StoreFull
from bondhu.log.memory import MemoryLog
from bondhu.monitor.metrics import Metrics
from bondhu.ports import Event
from bondhu.registry.memory import MemoryRegistry
from bondhu.serve.decide import Decider
from bondhu.serve.routes import health
from bondhu.types import Acting
from tests.service.shop import CONTEXT, acting, decider, version
from tests.service.test_telemetry import samples
from tests.service.web import ADMIN, error, opened


def test_a_server_that_decides_is_alive_and_ready() -> None:
    for client in opened(decider()):
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "troubles": []})


def test_a_version_that_cannot_act_is_a_trouble_though_the_server_lives() -> None:

    def restore(name: str | None) -> Acting:
        if name == "v7":
            raise StateCorrupt("Version 'v7' is damaged.")
        return acting(name)

    registry = MemoryRegistry()
    registry.add(version("v7"))
    registry.record("shop", Event(2.0, "promoted", "v7", "test", {}))
    one = decider(restore=restore, registry=registry)
    for client in opened(one):
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").json()["troubles"] == ["The version in force cannot act."]
        assert client.get("/readyz").status_code == 503


def broken(one: Decider, monkeypatch: pytest.MonkeyPatch, name: str, work: Any) -> list[str]:
    monkeypatch.setattr(type(one.deployment.log), name, work)
    for client in opened(one):
        answer = client.get("/readyz")
        assert answer.status_code == 503
        troubles: list[str] = answer.json()["troubles"]
    return troubles


def test_a_store_that_cannot_be_read_or_written_is_a_trouble_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise StoreError("The disk is gone.")

    assert broken(decider(), monkeypatch, "find", away) == ["The log cannot be used."]
    monkeypatch.undo()
    assert broken(decider(), monkeypatch, "append", away) == ["The writer cannot be used."]


def test_a_full_disk_is_a_trouble_until_something_is_stored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = decider()
    append = MemoryLog.append
    full = [True]

    def appended(log: MemoryLog, decisions: Any, feedback: Any = ()) -> None:
        if decisions and full[0]:
            raise StoreFull("No room on the disk of /secret/place.")
        append(log, decisions, feedback)

    monkeypatch.setattr(MemoryLog, "append", appended)
    for client in opened(one):
        told = error(client.post("/v1/decide", {"context": CONTEXT}), 507)
        assert "secret" not in str(told)
        troubles = client.get("/readyz").json()["troubles"]
        assert troubles == ["What was asked and said a moment ago could not be stored."]
        full[0] = False
        assert client.post("/v1/decide", {"context": CONTEXT}).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_a_store_that_hangs_is_a_trouble_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.1)
    for client in opened(decider()):
        monkeypatch.setattr("bondhu.log.memory.MemoryLog.find", lambda *_: sleep(0.5))
        answer = client.get("/readyz")
        assert answer.json()["troubles"] == ["The log has not answered for 0.1 s."]


def test_what_is_counted_needs_a_key_and_adds_up() -> None:
    for client in opened(decider(), meter=Metrics()):
        for _ in range(3):
            client.post("/v1/decide", {"context": CONTEXT})
        client.post("/v1/decide", {"context": {}})
        error(client.get("/metrics"), 401)
        answer = client.get("/metrics", **ADMIN)
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = samples(answer.content)
        assert found["bondhu_requests_total", "/v1/decide", "2xx"] == 3
        assert found["bondhu_requests_total", "/v1/decide", "4xx"] == 1
        assert found["bondhu_live_version", "shop", "baseline"] == 1
        assert found["bondhu_requests_total", "other", "4xx"] == 1  # without a key


def test_load_balancers_may_ask_without_wanting_a_body() -> None:
    for client in opened(decider()):
        assert [client(("HEAD", path))[0].status_code for path in ("/healthz", "/readyz")] == [200, 200]
        assert "head" not in client.get("/openapi.json").json()["paths"]["/healthz"]


def test_a_server_that_is_not_ready_says_so_without_a_body_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise StoreError("The disk is gone.")

    one = decider()
    monkeypatch.setattr(type(one.deployment.log), "find", away)
    for client in opened(one):
        assert client(("HEAD", "/readyz"))[0].status_code == 503
