"""A deployment with versions and keys, served as an operator serves it, and somebody who looks at its pages."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from bondhu.access import PERMISSIONS
from bondhu.access.keys import Ring, Wanted
from bondhu.app import App, open_app
from bondhu.settings import load
from tests.service.serving import LONG, Service, deployment, eventually, serving
from tests.service.stand import Clock, log

MORE = """\
wait = 3600
[training]
min_interactions_per_user = 1
holdout = 0.3
[exploration]
rate = 0.1
[schedule]
enabled = false
"""
ADMIN = "admin-dev-key-change-in-production"
SHOWING = "bondhu.server.showing"
COOKIE = "bondhu_session"


class Seen(NamedTuple):
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Visitor:
    """A browser without a screen: keeps its cookie, says where its forms come from, and goes nowhere by itself."""

    def __init__(self, port: int, root: str = "") -> None:
        self.port, self.root = port, root
        self.cookie = ""
        self.set = ""  # what the server had it keep, as it said so

    def get(self, path: str, method: str = "GET", **headers: str) -> Seen:
        return self._sent(method, path, None, headers)

    def post(self, path: str, said: Mapping[str, str], **headers: str) -> Seen:
        """A form of the same origin, unless the headers say otherwise; a header that is "" is left out."""
        own = {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/x-www-form-urlencoded"}
        given = {**own, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self._sent("POST", path, urlencode(said), {name: value for name, value in given.items() if value})

    def _sent(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Seen:
        kept = {"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        try:
            connection.request(method, self.root + path, body, {**kept, **headers})
            answer = connection.getresponse()
            seen = Seen(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        if said := seen.headers.get("set-cookie"):
            self.set, self.cookie = said, said.partition(";")[0].partition("=")[2]
        return seen

    def log_in(self, key: str, back: str = "") -> Seen:
        return self.post("/dashboard/login", {"key": key, "back": back})

    @property
    def token(self) -> str:
        """Of its session, as every page has it."""
        found = re.search(r'name="token" value="([^"]+)"', self.get("/dashboard/health").text)
        assert found
        return unescape(found[1])

    def act(self, name: str, **said: str) -> Seen:
        return self.post(f"/dashboard/acts/{name}", {"token": self.token, **said})


class House(NamedTuple):
    """A running server, and what a test may know of it."""

    service: Service
    app: App  # the same stores, opened by the test
    keys: dict[str, str]  # by role

    def visitor(self, role: str = "") -> Visitor:
        """Somebody who looks; logged in with a key of this role, or not."""
        visitor = Visitor(self.service.port)
        if role:
            assert visitor.log_in(self.keys[role]).status == 303
        return visitor

    def acts(self) -> list[Mapping[str, object]]:
        """The audit log, oldest first."""
        return [each.body for each in self.app.ledger.entries("act")]


def showing(service: Service) -> list[int]:
    """The processes that show pages, whichever thread of the server has started them."""
    threads = Path(f"/proc/{service.process.pid}/task").glob("*/children")
    told = [pid for each in threads for pid in read(each).split()]
    return [int(pid) for pid in told if SHOWING in read(Path(f"/proc/{pid}/cmdline"))]


def read(path: Path) -> str:
    """What is told of a process or a thread; nothing of one that has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def furnished(folder: Path, *, versions: int = 0, more: str = MORE) -> App:
    """A deployment with a day behind it, and so many versions of which none is live."""
    clock = Clock(time.time() - 86_400.0)
    app = open_app(load(deployment(folder, more=more)), now=clock)
    for number in range(versions):
        log(app, [f"person {number} {each}" for each in range(20)], 6, ago=7200.0)
        assert app.train().trained.version
        clock.now += 3600.0
    return open_app(app.settings)


@contextmanager
def housed(folder: Path, *options: str, versions: int = 0, more: str = MORE) -> Iterator[House]:
    """Served, with a key of each role, until its pages are there."""
    app = furnished(folder, versions=versions, more=more)
    ring = Ring(app.ledger, None)
    keys = {role: ring.create(Wanted(f"a {role}", role, "shop"), "a test", time.time()).text for role in PERMISSIONS}
    with serving(folder, *options) as service:
        house = House(service, app, keys)
        eventually(lambda: Visitor(service.port).get("/dashboard/login").status == 200, service.said())
        yield house
    app.stores.close()
