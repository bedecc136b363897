"""Requests for pages on their way to the process that draws them: what is handed on, what comes back, and what is said
where nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from bondhu.serve.forwarding import CROWD, SOON, Forwarding, Received, address, is_page, told
from bondhu.serve.replies import Limits, Message, passage
from tests.service.shop import CONTEXT, decider
from tests.service.web import Client, error, opened

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/html\r\n\r\nhello"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """Somebody at a Unix socket who answers as a test says, and keeps what was sent."""

    def __init__(self, path: Path, play: Play) -> None:
        self.path, self._play = path, play
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.open = 0

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, str(self.path))
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.heads.append(head)
                    for line in head.lower().split(b"\r\n"):
                        if line.startswith(b"content-length:"):
                            self.bodies.append(await reader.readexactly(int(line.split(b":")[1])))
                    await self._play(reader, writer)
                    await writer.drain()
        finally:
            self.open -= 1
            writer.close()


class Call:
    """One request as a server makes it."""

    def __init__(self, path: str = "/", method: str = "GET", body: bytes = b"", **more: Any) -> None:
        headers = more.pop("headers", [(b"host", b"a.example")])
        self.scope: Message = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
        self.scope |= {"client": ("10.0.0.9", 5), "scheme": "https", **more}
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self.received.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self.sent: asyncio.Queue[Message] = asyncio.Queue()

    def begin(self, pages: Forwarding) -> asyncio.Task[None]:
        return asyncio.create_task(pages(self.scope, self.received.get, self.sent.put))

    def leave(self) -> None:
        self.received.put_nowait({"type": "http.disconnect"})

    def rest(self) -> list[Message]:
        return [self.sent.get_nowait() for _ in range(self.sent.qsize())]

    async def answered(self, pages: Forwarding) -> tuple[int, dict[bytes, bytes], bytes]:
        await self.begin(pages)
        start, *pieces = self.rest()
        assert not pieces[-1].get("more_body")
        return start["status"], dict(start["headers"]), b"".join(each["body"] for each in pieces)


async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


# ------------------------------------------------------------------------------------------------------ what is a page


@pytest.mark.parametrize(
    ("method", "path", "page"),
    [
        ("GET", "/", True),
        ("HEAD", "/", True),
        ("POST", "/", False),
        ("GET", "/dashboard", True),
        ("GET", "/dashboard/", True),
        ("GET", "/dashboard/decisions/a/b", True),
        ("POST", "/dashboard/acts/stop", True),
        ("DELETE", "/dashboard/learning", False),
        ("OPTIONS", "/dashboard/learning", False),
        ("GET", "/dashboards", False),
        ("GET", "/v1/decide", False),
        ("GET", "/api/v1/admin/releases", False),
        ("GET", "//dashboard/", False),
    ],
)
def test_pages_are_at_the_root_and_below_the_dashboard(method: str, path: str, page: bool) -> None:
    assert is_page({"method": method, "path": path, "headers": []}) is page


@pytest.mark.parametrize(
    ("accepted", "page"),
    [(b"*/*", True), (b"text/html,application/json;q=0.9", True), (b"application/json", False)],
)
def test_at_the_root_programs_are_told_what_this_is(accepted: bytes, page: bool) -> None:
    assert is_page({"method": "GET", "path": "/", "headers": [(b"accept", accepted)]}) is page
    assert is_page({"method": "GET", "path": "/dashboard/health", "headers": [(b"accept", accepted)]})


class Noting:
    """Pages that say that they were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed = False

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a page"})

    async def close(self) -> None:
        self.closed = True


def test_the_interface_hands_over_pages_and_nothing_else() -> None:
    pages = Noting()
    for client in opened(decider(), pages=pages):
        assert client.get("/").text == "a page"
        assert client.get("/", accept="application/json").json()["domain"] == "shop"
        assert client.get("/dashboard/learning").text == "a page"
        assert client.post("/v1/decide", {"context": CONTEXT}).status_code == 200
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/nowhere").status_code == 404
        assert pages.asked == ["/", "/dashboard/learning"]
        assert not pages.closed
    assert pages.closed


def test_without_pages_the_root_says_what_this_is_and_nothing_is_below_the_dashboard() -> None:
    for client in opened(decider()):
        assert client.get("/").json()["domain"] == "shop"
        assert error(client.get("/dashboard/learning"), 404)["code"] == "not_found"


# ------------------------------------------------------------------------------------------------------ what is sent on


def test_the_whole_address_is_handed_on() -> None:
    call = Call("/dashboard/decisions/a b/é?#", root_path="/domains/one", query_string=b"q=%3Cb%3E&page=2&x=a+b")
    said = "/domains/one/dashboard/decisions/a%20b/%C3%A9%3F%23?q=%3Cb%3E&page=2&x=a+b"
    assert str(address(call.scope)) == f"http://pages{said}"
    assert address(Call("/dashboard/decisions/..").scope).raw_path == "/dashboard/decisions/.."


def test_a_stranger_cannot_pass_for_somebody_else() -> None:
    strange = [
        (b"host", b"a.example"),
        (b"x-bondhu-client", b"127.0.0.1"),
        (b"x-bondhu-request", b"forged"),
        (b"x-bondhu-scheme", b"http"),
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"x-api-key", b"bd_a_b"),
        (b"authorization", b"Bearer x"),
        (b"connection", b"x-part"),
        (b"transfer-encoding", b"chunked"),
        (b"cookie", b"a=b"),
        (b"x-part", b"main"),
    ]

    def of_this_request() -> dict[str, str]:
        passage.set((b"the-request", Limits()))
        return dict(told(Call(headers=strange).scope))

    assert copy_context().run(of_this_request) == {
        "host": "a.example",
        "cookie": "a=b",
        "x-part": "main",
        "x-bondhu-client": "10.0.0.9",
        "x-bondhu-request": "the-request",
        "x-bondhu-scheme": "https",
    }


def test_the_other_side_knows_whose_request_it_is() -> None:
    seen: list[tuple[Any, ...]] = []

    async def behind(scope: Message, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["scheme"], passage.get()[0]))

    async def play() -> None:
        passage.set((b"first", Limits()))
        headers = [(name.lower().encode(), value.encode()) for name, value in told(Call().scope).items()]
        await Received(behind, Limits())({"type": "http", "headers": headers}, None, None)  # type: ignore[arg-type]
        await Received(behind, Limits())({"type": "http", "headers": []}, None, None)  # type: ignore[arg-type]

    asyncio.run(play())
    assert seen == [(("10.0.0.9", 0), "https", b"first"), (("unknown", 0), "http", b"-")]


def test_a_request_and_its_answer_pass_through(tmp_path: Path) -> None:
    async def play() -> None:
        pages, there = Forwarding(str(tmp_path / "s")), Upstream(tmp_path / "s", hello)
        async with there.up():
            status, headers, body = await Call("/dashboard/acts/stop", "POST", b"a=b").answered(pages)
            assert (status, body) == (200, b"hello")
            assert headers[b"content-length"] == b"5"
            assert b"x-request-id" in headers
            await pages.close()
        assert there.heads[0].startswith(b"POST /dashboard/acts/stop HTTP/1.1\r\n")
        assert there.bodies[0] == b"a=b"
        assert pages.under_way == {"pages": 0, "streams": 0}

    asyncio.run(play())


def test_where_only_the_headers_are_asked_for_there_are_only_headers(tmp_path: Path) -> None:
    async def play() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(OK.removesuffix(b"hello"))

        pages, there = Forwarding(str(tmp_path / "s")), Upstream(tmp_path / "s", answer)
        async with there.up():
            for _ in range(2):  # on one connection
                status, headers, body = await Call(method="HEAD").answered(pages)
                assert (status, headers[b"content-length"], body) == (200, b"5", b"")
            await pages.close()
        assert there.heads[0].startswith(b"HEAD / HTTP/1.1\r\n")

    asyncio.run(play())


def test_headers_about_a_connection_stay_with_it(tmp_path: Path) -> None:
    async def play() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            lines = b"connection: keep-alive\r\nserver: x\r\ndate: x\r\nset-cookie: a=b\r\nx-request-id: x\r\n"
            writer.write(OK.replace(b"content-type", lines + b"content-type"))

        pages, there = Forwarding(str(tmp_path / "s")), Upstream(tmp_path / "s", answer)
        async with there.up():
            _, headers, _ = await Call().answered(pages)
            await pages.close()
        assert headers.keys() == {b"content-length", b"set-cookie", b"content-type", b"x-request-id"}
        assert headers[b"x-request-id"] != b"x"

    asyncio.run(play())


def test_a_form_that_is_too_large_is_not_handed_on(tmp_path: Path) -> None:
    async def play() -> None:
        passage.set((b"-", Limits(largest_body=3)))
        pages, there = Forwarding(str(tmp_path / "s")), Upstream(tmp_path / "s", hello)
        async with there.up():
            status, _, _ = await Call("/dashboard/login", "POST", b"key=").answered(pages)
            await pages.close()
        assert (status, there.heads) == (413, [])

    asyncio.run(play())


# ---------------------------------------------------------------------------------------------------- piece by piece


def test_events_come_as_they_are_sent_and_who_leaves_closes_the_connection_behind(tmp_path: Path) -> None:
    async def play() -> None:
        more = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(STREAM + b"3\r\none\r\n")
            await more.wait()
            writer.write(b"3\r\ntwo\r\n")
            await reader.read()  # until the other side is gone

        pages, there, call = (
            Forwarding(str(tmp_path / "s")),
            Upstream(tmp_path / "s", answer),
            Call("/dashboard/events"),
        )
        async with there.up():
            running = call.begin(pages)
            assert (await call.sent.get())["status"] == 200
            assert (await call.sent.get())["body"] == b"one"
            assert call.rest() == []
            more.set()
            assert (await call.sent.get())["body"] == b"two"
            assert pages.under_way["streams"] == there.open == 1
            call.leave()
            await running
            await until(lambda: there.open == 0)
            await pages.close()
        assert pages.under_way == {"pages": 0, "streams": 0}

    asyncio.run(play())


def test_who_leaves_before_the_answer_begins_closes_the_connection_as_well(tmp_path: Path) -> None:
    async def play() -> None:
        async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        pages, there, call = Forwarding(str(tmp_path / "s")), Upstream(tmp_path / "s", answer), Call()
        async with there.up():
            running = call.begin(pages)
            await until(lambda: there.open == 1)
            call.leave()
            await running
            await until(lambda: there.open == 0)
            await pages.close()
        assert call.rest() == []

    asyncio.run(play())


def test_only_so_many_listen_at_once_and_the_rest_come_later(tmp_path: Path) -> None:
    async def play() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(STREAM)
            await reader.read()

        pages, there = Forwarding(str(tmp_path / "s"), most=2), Upstream(tmp_path / "s", answer)
        calls = [Call("/dashboard/events") for _ in range(2)]
        async with there.up():
            running = [each.begin(pages) for each in calls]
            await until(lambda: there.open == 2)
            status, headers, body = await Call("/dashboard/events").answered(pages)
            assert (status, headers[b"content-type"], body) == (200, b"text/event-stream", b"retry: %d\n\n" % CROWD)
            page = Call()  # pages are counted apart
            looking = page.begin(pages)
            await until(lambda: there.open == 3)
            for each in [*calls, page]:
                each.leave()
            await asyncio.gather(*running, looking)
            await pages.close()

    asyncio.run(play())


def test_who_sends_half_a_form_keeps_nobody_out(tmp_path: Path) -> None:
    async def play() -> None:
        pages, there = Forwarding(str(tmp_path / "s"), most=1), Upstream(tmp_path / "s", hello)
        halves = [Call("/dashboard/login", "POST") for _ in range(5)]
        for each in halves:
            each.received.get_nowait()
            each.received.put_nowait({"type": "http.request", "body": b"key=", "more_body": True})
        async with there.up():
            running = [each.begin(pages) for each in halves]
            await until(lambda: all(each.received.empty() for each in halves))
            assert pages.under_way == {"pages": 0, "streams": 0}
            assert (await Call().answered(pages))[0] == 200
            halves[0].received.put_nowait({"type": "http.request", "body": b"x", "more_body": False})
            await running[0]
            for each in halves[1:]:
                each.leave()
            await asyncio.gather(*running)
            await pages.close()
        assert halves[0].rest()[0]["status"] == 200
        assert there.bodies == [b"key=x"]

    asyncio.run(play())


def test_too_many_pages_at_once_are_refused(tmp_path: Path) -> None:
    async def play() -> None:
        status, headers, body = await Call().answered(Forwarding(str(tmp_path / "s"), most=0))
        assert (status, headers[b"retry-after"]) == (503, b"2")
        assert b"Too many are looking" in body

    asyncio.run(play())


# ------------------------------------------------------------------------------------------------------ nobody is there


@pytest.mark.parametrize("there", ["nothing", "a socket that nobody listens at"])
def test_while_the_pages_start_a_page_says_so_and_asks_again(tmp_path: Path, there: str) -> None:
    async def play() -> None:
        if there != "nothing":
            server = await asyncio.start_unix_server(hello, str(tmp_path / "s"))
            (tmp_path / "s").rename(tmp_path / "kept")
            server.close()
            (tmp_path / "kept").rename(tmp_path / "s")
        pages = Forwarding(str(tmp_path / "s"))
        status, headers, body = await Call("/dashboard/health").answered(pages)
        assert (status, headers[b"retry-after"], headers[b"cache-control"]) == (503, b"2", b"no-store")
        assert headers[b"content-security-policy"] == b"default-src 'none'; frame-ancestors 'none'"
        assert b'<meta http-equiv="refresh" content="2">' in body
        assert b"The pages are starting" in body
        status, _, body = await Call("/dashboard/acts/stop", "POST", b"a=b").answered(pages)
        assert (status, b"refresh" in body, b"Nothing was done" in body) == (503, False, True)
        status, headers, body = await Call("/dashboard/events").answered(pages)
        assert (status, headers[b"content-type"], body) == (200, b"text/event-stream", b"retry: %d\n\n" % SOON)
        await pages.close()

    asyncio.run(play())


def test_what_dies_before_it_answers_may_have_done_what_was_asked(tmp_path: Path) -> None:
    async def play() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        pages, there = Forwarding(str(tmp_path / "s")), Upstream(tmp_path / "s", answer)
        async with there.up():
            status, _, body = await Call("/dashboard/acts/stop", "POST", b"a=b").answered(pages)
            assert (status, b"It is not known whether this was done" in body, b"refresh" in body) == (503, True, False)
            assert (await Call().answered(pages))[0] == 503
            await pages.close()

    asyncio.run(play())


def test_a_page_that_breaks_off_is_not_told_as_whole_and_a_stream_is_at_its_end(tmp_path: Path) -> None:
    async def play() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(STREAM + b"3\r\none\r\n")
            await writer.drain()
            writer.transport.abort()

        pages, there = Forwarding(str(tmp_path / "s")), Upstream(tmp_path / "s", answer)
        async with there.up():
            for path, ends in (("/dashboard/health", False), ("/dashboard/events", True)):
                call = Call(path)
                await call.begin(pages)
                assert (call.rest()[-1].get("more_body", False) is False) is ends
            await pages.close()

    asyncio.run(play())


def test_a_client_without_an_address_is_unknown() -> None:
    assert told({**Call().scope, "client": None})["x-bondhu-client"] == "unknown"


def test_pages_are_counted_but_not_that_they_are_away() -> None:
    class Counting:
        kind = ""

        def __init__(self) -> None:
            self.told: list[tuple[str, int]] = []

        def answered(self, route: str, status: int, seconds: float) -> None:
            self.told.append((route, status))

        def set(self, **gauges: float) -> None: ...

        def text(self, version: str, domain: str) -> bytes:
            return b""

    meter = Counting()
    for client in opened(decider(), pages=Noting(), meter=meter):
        client.get("/dashboard/learning")
    for client in opened(decider(), pages=Forwarding("/nowhere/at/all"), meter=meter):
        assert asking(client) == 503
    assert meter.told == [("other", 200)]


def asking(client: Client) -> int:
    return client.get("/dashboard/learning").status_code
