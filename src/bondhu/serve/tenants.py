"""Several deployments behind one server: the default one at the root, each other one under /domains/NAME."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from bondhu.errors import SettingsInvalid
from bondhu.serve.replies import Application, Message, Receive, Send

PREFIX = "/domains/"
NAME = re.compile(r"[A-Za-z0-9._\-]{1,64}").fullmatch


class Tenants:
    """Hands each request to the whole interface of its deployment; they share nothing but the address."""

    def __init__(self, default: Application, others: Mapping[str, Application]) -> None:
        """`others` by name; raises SettingsInvalid for a name that cannot stand in an address."""
        for name in others:
            if not NAME(name) or not name.strip("."):
                fix = "Use letters, digits, dots, dashes and underscores."
                raise SettingsInvalid(
                    f"{name!r} cannot stand in an address.", field="server.domains", value=name, fix=fix
                )
        self._default, self._others = default, dict(others)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Lifespans([self._default, *self._others.values()]).run(scope, receive, send)
            return
        path: str = scope.get("path", "")
        if path.startswith(PREFIX):
            name, separator, rest = path[len(PREFIX) :].partition("/")
            tenant = self._others.get(name)
            # A path such as /domains/a/domains/a/health has no second door: the framework would take off both.
            if tenant is not None and separator and not f"/{rest}".startswith(PREFIX):
                root = f"{scope.get('root_path', '')}{PREFIX}{name}"
                await tenant({**scope, "root_path": root, "path": f"/{rest}"}, receive, send)
                return
        await self._default(scope, receive, send)


class Lifespans:
    """The start and the end of several applications as one: all of them start, or none stays up."""

    def __init__(self, apps: list[Application]) -> None:
        self._apps = apps

    async def run(self, scope: Message, receive: Receive, send: Send) -> None:
        """The lifespan of all, as one server sees it."""
        running = [One(app, scope) for app in self._apps]
        await receive()
        for number, each in enumerate(running):
            problem = await each.start()
            if problem is not None:
                for earlier in reversed(running[:number]):
                    await earlier.stop()
                await send({"type": "lifespan.startup.failed", "message": problem})
                return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        problems = [each for each in [await one.stop() for one in reversed(running)] if each is not None]
        ended = {"type": "lifespan.shutdown.complete"}
        await send({"type": "lifespan.shutdown.failed", "message": "; ".join(problems)} if problems else ended)


class One:
    """One application's lifespan."""

    def __init__(self, app: Application, scope: Message) -> None:
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._live(app, {**scope, "state": {}}))

    async def _live(self, app: Application, scope: Message) -> None:
        try:
            await app(scope, self._asked.get, self._said.put)
        except Exception as error:  # told to whoever waits for this application to start or to stop
            await self._said.put({"type": "lifespan.failed", "message": f"{type(error).__name__}: {error}"})

    async def start(self) -> str | None:
        """What went wrong, or None."""
        return await self._step("startup")

    async def stop(self) -> str | None:
        """What went wrong, or None; the application has ended afterwards."""
        problem = await self._step("shutdown")
        await self._task
        return problem

    async def _step(self, name: str) -> str | None:
        await self._asked.put({"type": f"lifespan.{name}"})
        answer: dict[str, Any] = dict(await self._said.get())
        return None if answer["type"] == f"lifespan.{name}.complete" else str(answer.get("message", "it failed"))
