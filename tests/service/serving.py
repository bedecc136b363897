"""A server as an operator starts it, its processes, and clients that keep their connections: for tests."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bondhu.log.sqlite import SqliteLog
from tests.service.shop import CONTEXT

LONG = 120.0  # seconds that anything may take before a test gives up on it
GONE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
DECLARED = """
[domain]
name = "{name}"
[context]
mood = {{ kind = "category", values = ["happy", "sad"] }}
age = {{ kind = "number", range = [0, 100], bins = 5 }}
[actions]
names = {actions}
[reward]
signals = {{ like = 1.0 }}
{more}
"""


def deployment(
    path: Path, *, name: str = "shop", actions: Sequence[str] = ("red", "blue", "green"), more: str = ""
) -> Path:
    """A folder with a bondhu.toml."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "bondhu.toml").write_text(DECLARED.format(name=name, actions=json.dumps(list(actions)), more=more))
    return path


def eventually(condition: Callable[[], Any], why: str = "") -> Any:
    """What the condition gives once it holds."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(why or "It never came to that.")


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Service:
    """A running `bondhu serve`."""

    folder: Path
    process: subprocess.Popen[str]
    port: int
    messages: Path
    temporary: Path  # its TMPDIR
    connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def children(self, module: str) -> list[int]:
        """Processes of this server that run a module, oldest first."""
        told = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in told if module in _command(pid)]

    @property
    def workers(self) -> list[int]:
        return self.children("bondhu.server.worker")

    @property
    def writers(self) -> list[int]:
        return self.children("bondhu.serve.writing.committer")

    @property
    def keepers(self) -> list[int]:
        return self.children("bondhu.server.keeper")

    def said(self) -> str:
        """What it wrote to stderr so far."""
        return self.messages.read_text()

    def connected(self) -> http.client.HTTPConnection:
        """A connection that is closed at the end of the test."""
        self.connections.append(http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG))
        return self.connections[-1]

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        try:
            method = "GET" if body is None else "POST"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def decide(self, identity: str | None = None) -> tuple[int, Any]:
        return self.ask("/v1/decide", {"context": CONTEXT, **({"id": identity} if identity else {})})

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status."""
        self.process.send_signal(number)
        return self.process.wait(LONG)

    def logged(self) -> set[str]:
        """The decisions in its store, which must be whole and hold each of them once."""
        with SqliteLog(self.folder / "data" / "log.sqlite") as log:
            with log.database.reading() as connection:
                assert connection.execute("PRAGMA integrity_check").get == "ok"
            found = list(log.read("shop", 0, 1e12).id)
        assert len(found) == len(set(found))
        return set(found)


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Service]:
    """`bondhu serve` at a free port, once it says where it is; killed at the end where the test has not stopped it."""
    messages = folder / f"messages-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "bondhu", "serve", "-C", str(folder), "--port", "0", *options]
    with TemporaryDirectory() as temporary, messages.open("w") as errors:
        own = {"BONDHU_DASHBOARD__YIELDS": "false", **os.environ, "TMPDIR": temporary}  # tests take all processors
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=own)
        with process:
            yield from _until_it_ends(Service(folder, process, 0, messages, Path(temporary)))


def _until_it_ends(service: Service) -> Iterator[Service]:
    assert service.process.stdout is not None
    try:
        said = service.process.stdout.readline()
        address = re.search(r"is served at https?://127\.0\.0\.1:(\d+) ", said)
        assert address, (said, service.said())
        service.port = int(address[1])
        yield service
    finally:
        for each in service.connections:
            each.close()
        if service.process.poll() is None:
            service.process.kill()
        service.process.stdout.close()


@dataclass
class Clients:
    """Some clients that decide as fast as they are answered, each on a connection that it keeps.

    A request is sent again, once, only where a connection that had been used before was closed without a single byte of
    an answer: what every client of HTTP/1.1 has to expect of an idle connection.
    """

    port: int
    answered: list[str] = field(default_factory=list)  # ids with status 200
    statuses: dict[int, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    again: list[str | None] = field(default_factory=list)  # Retry-After of each 503
    retried: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    @contextmanager
    def running(self, count: int = 6) -> Iterator[Clients]:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for each in self._threads:
            each.start()
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Each ends with its answer."""
        self._stop.set()
        for each in self._threads:
            each.join()

    def more(self, count: int) -> None:
        """Wait until that many more were answered."""
        wanted = len(self.answered) + count
        eventually(lambda: len(self.answered) >= wanted, f"{self.statuses} {self.failures[:3]}")

    def _run(self, number: int) -> None:
        connection = self._connected()
        used = turn = 0
        while not self._stop.is_set():
            turn += 1
            body = json.dumps({"context": CONTEXT, "id": f"{number}-{turn}-{id(self)}"})
            try:
                try:
                    status, closes = self._one(connection, body)
                except GONE:
                    if not used:
                        raise
                    self.retried += 1
                    connection.close()
                    connection, used = self._connected(), 0
                    status, closes = self._one(connection, body)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                connection, used = self._connected(), 0
                continue
            self.statuses[status] = self.statuses.get(status, 0) + 1
            used += 1
            if closes:
                connection, used = self._connected(), 0
        connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)

    def _one(self, connection: http.client.HTTPConnection, body: str) -> tuple[int, bool]:
        """Status, and whether the connection closes."""
        connection.request("POST", "/v1/decide", body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == 200:
            self.answered.append(json.loads(content)["id"])
        if answer.status == 503:
            self.again.append(answer.headers["retry-after"])
        return answer.status, answer.will_close
