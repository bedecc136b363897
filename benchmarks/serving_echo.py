"""What a server process of the benchmark does: answer with the body it was sent, or decide without a log."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from bondhu.app import open_app
from bondhu.server import listening
from bondhu.server.assembly import composed
from bondhu.server.draining import COLLECTING, http_server
from bondhu.settings import load
from bondhu.types import Decision, Feedback


async def echo(_: Any, receive: Any, send: Any) -> None:
    """The least that a server on this stack can do: read a body, send it back."""
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    length = (b"content-length", b"%d" % len(body))
    headers = [(b"content-type", b"application/json"), length]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Instant:
    """A writer that keeps nothing and answers at once: the application without its log."""

    waiting = 0

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def submit(self, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> asyncio.Future[list[Decision]]:  # noqa: ARG002
        done: asyncio.Future[list[Decision]] = asyncio.get_running_loop().create_future()
        done.set_result(decisions)
        return done


def serve(what: str, port: int) -> None:
    if what == "echo":
        gc.freeze()  # as the product does: the ceiling is to be as high as it can be
        gc.set_threshold(*COLLECTING)
        known: dict[str, Any] = {"loop": "uvloop", "http": "httptools"} if os.name == "posix" else {}
        uvicorn.run(echo, port=port, log_level="error", access_log=False, lifespan="off", **known)
        return
    app = open_app(load(Path(what)))
    server = http_server(composed([app], [Instant()]), app.settings)
    with listening("127.0.0.1", port) as listener:
        server.run(sockets=[listener])


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
