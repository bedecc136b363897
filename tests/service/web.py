"""An application under test and a client of it, without a network."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import numpy as np

from bondhu.serve.decide import Decider
from bondhu.serve.hot import Application
from bondhu.serve.http import create_app
from bondhu.serve.messages import Order

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

    def act(self, action: str, order: Order) -> Mapping[str, Any]:
        self.threads.append(threading.current_thread().name)
        return {"did": action, "because": order.reason}


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


def opened(one: Decider, desk: Desk | None = None) -> Iterator[Client]:
    """A client of a started application; what was waiting is written when it ends."""
    app = create_app(one, operations=desk or Desk(), admin_key=KEY)
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
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "field", "value", "fix"}
    assert body["error"]["message"]
    return dict(body["error"])


def stored(one: Decider) -> int:
    return len(one.deployment.log.read("shop", 0, 1e12).id)
