"""A gateway as it is served: a folder with settings, a server in a thread, and what is in its store afterwards."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bondhu.app import App, open_app
from bondhu.ports import Transcript
from bondhu.server.assembly import composed, writer_of
from bondhu.server.draining import http_server
from bondhu.settings import load
from bondhu.types import Decision, Feedback
from tests.gateway.scripted import Model

LONG = 60.0  # seconds that anything may take before a test gives up on it
HELLO = {"model": "bondhu", "messages": [{"role": "user", "content": "What is a list?"}]}
DECLARED = """
[domain]
name = "chat"
[context]
text = {{ kind = "text" }}
topic = {{ kind = "category", values = ["code", "facts", "other"] }}
words = {{ kind = "number", range = [0, 100], bins = 4 }}
retry = {{ kind = "category", values = ["no", "yes"] }}
{context}
[actions]
style = {styles}
model = {models}
[reward.signals]
like = 1.0
retry = -0.5
cost = {{ weight = 0.0, range = [0, 1000] }}
latency = {{ weight = 0.0, range = [0, 100000] }}
tokens_in = {{ weight = 0.0, range = [0, 1e9] }}
tokens_out = {{ weight = 0.0, range = [0, 1e9] }}
failed = 0.0
disconnected = 0.0
[baseline]
default = "{default}"
[schedule]
enabled = false
[gateway]
{gateway}
{more}
"""
STRATEGIES = """
[strategies.model.small]
upstream = "local"
model = "tiny"
"""


def folder(
    path: Path,
    upstreams: Mapping[str, Model | str],
    *,
    styles: tuple[str, ...] = ("plain",),
    models: tuple[str, ...] = ("small",),
    default: str = "plain/small",
    context: str = "",
    gateway: str = "",
    upstream: Mapping[str, str] | None = None,
    strategies: str = STRATEGIES,
    more: str = "",
) -> Path:
    """A folder with a bondhu.toml; `upstream`: further lines of each upstream, by name."""
    path.mkdir(parents=True, exist_ok=True)
    tables = "".join(
        f'[upstreams.{name}]\nurl = "{to if isinstance(to, str) else to.url}"\n'
        f"prices = {{ tiny = [1.0, 2.0] }}\n{(upstream or {}).get(name, 'retries = 0')}\n"
        for name, to in upstreams.items()
    )
    lists = {"styles": json.dumps(styles), "models": json.dumps(models)}
    text = DECLARED.format(default=default, context=context, gateway=gateway, more=strategies + tables + more, **lists)
    (path / "bondhu.toml").write_text(text)
    return path


@dataclass
class Served:
    """A server in a thread."""

    app: App
    port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers, body."""
        return posted(self.port, path, body, headers)

    def ask(self, body: Any = HELLO, **headers: str) -> tuple[int, dict[str, str], Any]:
        status, told, content = self.post("/v1/chat/completions", body, **headers)
        return status, told, json.loads(content)

    def events(self, body: Mapping[str, Any] = HELLO, **headers: str) -> tuple[dict[str, str], list[Any]]:
        """The events of a stream, decoded."""
        status, told, content = self.post("/v1/chat/completions", {**body, "stream": True}, **headers)
        assert status == 200, content
        return told, decoded(content)

    def facts(self, identity: str) -> tuple[Decision, dict[str, float], Transcript | None]:
        """What the store says of a decision."""
        return stored(self.app, identity)

    def logged(self) -> list[str]:
        return list(self.app.log.read("chat", 0, 1e12).id)


def posted(port: int, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
    try:
        text = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if text is None else "POST", path, text, names)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def decoded(content: bytes) -> list[Any]:
    events = [each.removeprefix(b"data: ") for each in content.split(b"\n\n") if each]
    return [each.decode() if each == b"[DONE]" else json.loads(each) for each in events]


def stored(app: App, identity: str) -> tuple[Decision, dict[str, float], Transcript | None]:
    identity = identity.removeprefix("chatcmpl-")
    found = app.log.find(identity)
    assert found is not None
    said: list[Feedback] = found[1]
    kept = app.stores.transcripts.transcripts([identity])
    return found[0], {each.signal: each.value for each in said if each.value is not None}, next(iter(kept), None)


@contextmanager
def served(path: Path) -> Iterator[Served]:
    """The gateway of a folder, as `bondhu serve` runs it in one process."""
    app = open_app(load(path))
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(app.stores):
        ready = threading.Event()
        server = http_server(composed([app], [writer_of(app)]), app.settings, ready.set)
        thread = threading.Thread(target=lambda: asyncio.run(server._serve([listener])))
        thread.start()
        assert ready.wait(LONG)
        try:
            yield Served(app, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
