"""An application under test and a client of it, without a network."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import httpx
import numpy as np

from bondhu.access.admission import Keys, Rules
from bondhu.log.memory import MemoryLedger
from bondhu.ports import Ledger
from bondhu.serve.decide import Decider
from bondhu.serve.http import create_app
from bondhu.serve.messages import Order
from bondhu.serve.parts import Parts
from bondhu.serve.replies import Application, Limits
from bondhu.serve.writing.thread import ThreadWriter

KEY = "a-long-and-secret-key"
ADMIN = {"X-Admin-Key": KEY}
TRIGGER = "/api/v1/admin/tasks/rl-training/trigger"
SYSTEM = "/api/v1/admin/system/health"
JOB = {
    "id": "rl_training",
    "name": "Train RL recommendation model",
    "next_run_time": "2025-10-06T01:00:00",
    "trigger": "cron[day_of_week='mon', hour='1']",
}


class Desk:
    """Operations that remember where they ran."""

    def __init__(self, error: Exception | None = None) -> None:
        self.threads: list[str] = []
        self.error = error

    def train(self) -> Mapping[str, Any]:
        self.threads.append(threading.current_thread().name)
        if self.error:
            raise self.error
        return {"status": "completed", "average_reward": np.float64(0.5)}

    def health(self) -> Mapping[str, Any]:
        return {"scheduled_jobs": [JOB], "database": "ok"}

    def releases(self) -> Mapping[str, Any]:
        return {"history": []}

    def verdicts(self, version: str | None) -> Mapping[str, Any]:
        return {"verdicts": []}

    def act(self, action: str, order: Order, by: str) -> Mapping[str, Any]:
        self.threads.append(threading.current_thread().name)
        return {"did": action, "because": order.reason}

    def erase(self, user: str, by: str, forget: Callable[[Iterable[str]], None]) -> Mapping[str, Any]:
        forget([])
        return {"decisions": 0, "by": by}


class Client:
    """Calls an application without a network, its lifespan included."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def __call__(self, *calls: tuple[Any, ...]) -> list[httpx.Response]:
        return asyncio.run(self._all(calls))

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return self(("POST", path, body, headers))[0]

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self(("GET", path, None, headers))[0]

    async def _all(self, calls: tuple[tuple[Any, ...], ...]) -> list[httpx.Response]:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return list(await asyncio.gather(*(self._one(client, *call) for call in calls)))

    async def _one(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return await client.request(method, path, content=content, headers=headers)


def application(
    one: Decider,
    desk: Desk | None = None,
    *,
    rules: Rules | None = None,
    ledger: Ledger | None = None,
    limits: Limits | None = None,
    **more: Any,
) -> Application:
    """The interface of a deployment; by default its administrator's key is KEY, and deciding is open."""
    ledger = ledger or MemoryLedger()
    access = Keys(ledger, one.deployment.domain.name, rules or Rules(KEY))
    writer = ThreadWriter(one.deployment.log)
    return create_app(Parts(one, writer, desk or Desk(), access, ledger=ledger, limits=limits or Limits(), **more))


def opened(one: Decider, desk: Desk | None = None, **more: Any) -> Iterator[Client]:
    """A client of a started application; what was waiting is written when it ends."""
    yield from started(application(one, desk, **more))


def started(app: Application) -> Iterator[Client]:
    """A client of an application while it lives."""
    ready, stop = threading.Event(), threading.Event()

    async def live() -> None:
        steps: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        await steps.put({"type": "lifespan.startup"})

        async def send(message: Any) -> None:
            ready.set()

        running = asyncio.create_task(app({"type": "lifespan", "state": {}}, steps.get, send))
        await asyncio.to_thread(stop.wait)
        await steps.put({"type": "lifespan.shutdown"})
        await running

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    ready.wait()
    yield Client(app)
    stop.set()
    thread.join()


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a response, after checking that it has the one shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "detail", "code", "field", "value", "fix"}
    assert (body["type"], body["status"]) == ("about:blank", status)
    assert body["title"]
    assert body["detail"]
    return body


def stored(one: Decider) -> int:
    return len(one.deployment.log.read("shop", 0, 1e12).id)
