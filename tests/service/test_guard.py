"""What stands around every route: headers, request ids, calls from browsers, limits, and errors that tell nothing."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bondhu.access.admission import Rules
from bondhu.monitor.metrics import Metrics
from bondhu.serve import replies
from bondhu.serve.decide import Decider
from bondhu.serve.messages import Cut, TooLarge, TooSlow
from bondhu.serve.parts import Webhook
from bondhu.serve.replies import Limits, whole
from tests.service.shop import CONTEXT, decider
from tests.service.test_telemetry import samples
from tests.service.web import ADMIN, KEY, SYSTEM, TRIGGER, Client, Desk, error, opened

HOT = ("/v1/decide", "/v1/decide/batch", "/v1/feedback", "/v1/feedback/batch")
EVERY = [
    ("POST", "/v1/decide", {"context": CONTEXT}),
    ("POST", "/v1/decide", {}),
    ("GET", "/v1/decide", None),
    ("POST", "/v1/feedback/batch", {"feedback": []}),
    ("GET", "/", None),
    ("GET", "/health", None),
    ("GET", "/openapi.json", None),
    ("GET", "/v1/decisions/nothing", None),
    ("GET", "/nowhere", None),
    ("GET", SYSTEM, None),
    ("POST", TRIGGER, None),
    ("OPTIONS", "/v1/decide", None),
    ("HEAD", "/health", None),
]
SECURE = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
PAGE = "https://shop.example"


@pytest.fixture
def one() -> Decider:
    return decider()


@pytest.fixture
def client(one: Decider) -> Iterator[Client]:
    yield from opened(one)


@pytest.mark.parametrize(("method", "path", "body"), EVERY)
def test_every_answer_has_the_security_headers_once_and_a_request_id(
    client: Client, method: str, path: str, body: Any
) -> None:
    answer = client((method, path, body))[0]
    names = [name for name, _ in answer.headers.multi_items()]
    assert {name: answer.headers[name] for name in SECURE} == SECURE
    assert [names.count(name) for name in (*SECURE, "x-request-id", "content-type")] == [1] * 6
    assert re.fullmatch("[0-9a-f]{16}-[0-9]+", answer.headers["x-request-id"])
    assert not {name for name in names if name.startswith("access-control")}


def test_a_request_id_is_taken_where_it_can_stand_in_a_log_and_made_where_it_cannot(client: Client) -> None:
    for path in ("/v1/decide", "/health"):
        for given, taken in (
            ("order-7.a_B", True),
            ("x" * 64, True),
            ("x" * 65, False),
            ("", False),
            ("a b", False),
            ("a\tb", False),
            ('"><script>', False),
            ("../../etc", False),
        ):
            answered = client.get(path, **{"X-Request-Id": given}).headers["x-request-id"]
            assert (answered == given) is taken, (path, given)
    made = [client.get("/health").headers["x-request-id"] for _ in range(20)]
    assert len(set(made)) == 20


def test_the_request_id_is_known_where_the_log_is_written(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    class Failing(Desk):
        def train(self) -> Any:
            seen.append(replies.request_id())
            raise RuntimeError("the password is swordfish")

    for client in opened(decider(), Failing()):
        told = error(client.post(TRIGGER, None, **ADMIN, **{"X-Request-Id": "night-train"}), 500)
    assert seen == ["night-train"]
    assert "night-train" in caplog.text
    assert "night-train" in told["detail"]
    assert "swordfish" not in json.dumps(told)
    assert replies.request_id() == "-"


@pytest.mark.parametrize("path", ["/v1/decide", TRIGGER, "/v1/decisions/x"])
def test_what_nobody_foresaw_is_a_problem_without_a_trace(path: str, one: Decider) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("/secret/path.py line 7")

    one.choose = one.explain = broken  # type: ignore[method-assign]  # as a mistake of ours would
    for client in opened(one, Desk(KeyError("/secret/path.py line 7"))):
        call = ("GET", path) if "decisions" in path else ("POST", path, {"context": CONTEXT}, ADMIN)
        answer = client(call)[0]
        told = error(answer, 500)
        assert (told["code"], told["title"]) == ("internal_error", "Internal error")
        assert not re.search("secret|Traceback|KeyError|line", answer.text)
        assert answer.headers["x-request-id"] in told["detail"]


# ------------------------------------------------------------------------------------------------------------- browsers


SENT = {"content-type", "x-api-key", "authorization", "x-bondhu-user", "x-bondhu-session"}
SENT |= {
    f"x-stainless-{each}"
    for each in ["arch", "lang", "os", "package-version", "retry-count", "runtime", "runtime-version", "timeout"]
}
TOLD = {f"x-bondhu-{each}" for each in ("decision", "version", "action", "probability")}


def test_a_browser_may_not_call_from_anywhere_by_default(client: Client) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    for path in (*HOT, "/health"):
        answer = client(("OPTIONS", path, None, asks))[0]
        assert error(answer, 405)["code"] == "method_not_allowed"
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "access-control-allow-origin" not in client.post("/v1/decide", {"context": CONTEXT}, **asks).headers


def test_a_page_of_an_origin_of_the_settings_may_call_every_route_and_no_other_page_may() -> None:
    for client in opened(decider(), limits=Limits(origins=frozenset({PAGE}))):
        for path in (*HOT, "/health", SYSTEM):
            asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
            first = client(("OPTIONS", path, None, asks))[0]
            assert (first.status_code, first.headers["access-control-allow-origin"]) == (204, PAGE)
            assert "POST" in first.headers["access-control-allow-methods"]
            assert set(first.headers["access-control-allow-headers"].split(", ")) >= SENT
            assert {name: first.headers[name] for name in SECURE} == SECURE
        for body in ({"context": CONTEXT}, {}):
            answer = client.post("/v1/decide", body, Origin=PAGE)
            assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (PAGE, "origin")
            assert "access-control-allow-credentials" not in answer.headers
            assert set(answer.headers["access-control-expose-headers"].split(", ")) >= TOLD
        for other in ("https://shop.example.evil", "null", "https://SHOP.example", "*", f"{PAGE}:444"):
            answer = client(("OPTIONS", "/v1/decide", None, {**asks, "Origin": other}))[0]
            assert answer.status_code == 405
            assert "access-control-allow-origin" not in answer.headers


# --------------------------------------------------------------------------------------------------------------- bodies


class Arriving:
    """A body in pieces; None waits for ever. Counts how often it was asked for."""

    def __init__(self, *pieces: bytes | None, ends: str = "http.request") -> None:
        self._pieces = list(pieces)
        self._ends, self.asked = ends, 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if not self._pieces:
            return {"type": "http.disconnect"}
        piece = self._pieces.pop(0)
        if piece is None:
            await asyncio.Event().wait()
        await asyncio.sleep(0 if self.asked > 1 else 0.001)
        more = bool(self._pieces) or self._ends == "http.disconnect"
        return {"type": "http.request", "body": piece, "more_body": more}


def test_a_body_is_put_together_from_its_pieces() -> None:
    assert asyncio.run(whole(Arriving(b"ab", b"", b"cd"))) == b"abcd"
    assert asyncio.run(whole(Arriving(b""))) == b""

    async def at_once() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x"}

    assert asyncio.run(whole(at_once)) == b"x"


def test_a_body_that_grows_over_the_limit_is_refused_before_it_is_read_to_the_end() -> None:
    endless = Arriving(*[b"x" * 100] * 1_000)
    with pytest.raises(TooLarge):
        asyncio.run(whole(endless, Limits(largest_body=250)))
    assert endless.asked == 3


def test_a_body_that_never_ends_is_given_up() -> None:
    for pieces in ((None,), (b"x", None), (b"x", b"y", None)):
        with pytest.raises(TooSlow) as caught:
            asyncio.run(whole(Arriving(*pieces), Limits(body_seconds=0.02)))
        assert "0.02 seconds" in caught.value.what


def test_a_body_cut_off_is_not_taken_for_a_whole_one() -> None:
    with pytest.raises(Cut):
        asyncio.run(whole(Arriving(b'{"context": {}}', ends="http.disconnect")))
    with pytest.raises(Cut):
        asyncio.run(whole(Arriving()))


def test_whoever_waits_for_a_body_can_be_cancelled() -> None:
    async def cancelled() -> bool:
        task = asyncio.create_task(whole(Arriving(b"x", None)))
        await asyncio.sleep(0.01)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    assert asyncio.run(cancelled())


ROUTES_WITH_BODIES = [*HOT, "/api/v1/admin/releases/stop", "/api/v1/admin/keys"]


def streamed(client: Client, path: str, pieces: Any, **headers: str) -> tuple[httpx.Response, int]:
    """The answer to a body in pieces, and how many of them were read."""
    read = 0

    async def body() -> Any:
        nonlocal read
        for piece in pieces:
            read += 1
            if piece is None:
                await asyncio.Event().wait()
            yield piece

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(client.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.post(path, content=body(), headers={**ADMIN, **headers})

    return asyncio.run(call()), read


@pytest.mark.parametrize("path", ROUTES_WITH_BODIES)
def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read(path: str) -> None:
    for client in opened(decider(), limits=Limits(largest_body=2_000)):
        for length in ("2001", "9" * 5_000, "-1", "1e3", "0x10"):
            answer, read = streamed(client, path, [b"x"] * 10, **{"Content-Length": length})
            assert error(answer, 413)["code"] == "too_large"
            assert (read, answer.headers["connection"]) == (0, "close")


@pytest.mark.parametrize("path", ROUTES_WITH_BODIES)
def test_a_body_without_a_length_is_held_to_the_limits_on_every_route(path: str) -> None:
    for client in opened(decider(), limits=Limits(largest_body=2_000, body_seconds=0.05)):
        answer, read = streamed(client, path, [b" " * 500] * 1_000)
        assert error(answer, 413)["code"] == "too_large"
        assert read < 10
        answer, _ = streamed(client, path, [b"{", None])
        assert error(answer, 408)["code"] == "too_slow"
        assert answer.headers["connection"] == "close"


def test_more_headers_than_anybody_needs_are_refused(client: Client) -> None:
    many = {f"X-Header-{number}": "x" for number in range(101)}
    for path in ("/v1/decide", "/health"):
        assert error(client.get(path, **many), 431)["code"] == "headers_too_large"


def test_no_redirect_leads_to_a_host_that_the_request_names(client: Client) -> None:
    for path in ("/health/", "/v1/decide/", "/openapi.json/", "/%2fevil.example/"):
        answer = client.get(path, Host="evil.example")
        assert error(answer, 404)["code"] == "not_found"
        assert "location" not in answer.headers
        assert "evil.example" not in answer.headers.get("x-request-id", "")


def test_guarded_routes_are_shut_whatever_way_their_path_is_written() -> None:
    for client in opened(decider(), rules=Rules(KEY, required=True)):
        for path in (SYSTEM, TRIGGER, "/api/v1/admin/keys", "/v1/decisions/x", "/v1/decide"):
            for written in (path, f"/{path}", path + "/", path.replace("/v1", "/%76%31"), f"/x/..{path}", path + "%00"):
                for method in ("GET", "POST"):
                    assert client((method, written))[0].status_code in (401, 404, 405), (method, written)


@pytest.mark.parametrize("path", ["/api/v1/admin/releases/stop", "/v1/webhooks/feedback", "/v1/feedback"])
def test_a_body_that_drips_is_given_up_at_one_time_for_all_of_it(path: str) -> None:
    async def dripping() -> Any:
        nonlocal read
        for _ in range(1_000):
            read += 1
            await asyncio.sleep(0.02)
            yield b" "

    async def call(client: Client) -> httpx.Response:
        receive = Dripping(dripping())
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(name.lower().encode(), value.encode()) for name, value in ADMIN.items()]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
        await client.app(scope, receive, send)
        told = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        return httpx.Response(sent[0]["status"], headers=told, content=sent[1]["body"])

    read = 0
    for client in opened(decider(), limits=Limits(body_seconds=0.1), webhook=Webhook(b"0123456789abcdef")):
        answer = asyncio.run(call(client))
        assert error(answer, 408)["code"] == "too_slow"
        assert answer.headers["connection"] == "close"
        assert 1 < read < 20


class Dripping:
    """Single pieces of a body, each after a moment."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces

    async def __call__(self) -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(self._pieces), "more_body": True}


def test_what_is_answered_anywhere_is_counted() -> None:
    meter = Metrics()
    for client in opened(decider(), meter=meter, limits=Limits(largest_body=100, origins=frozenset({PAGE}))):
        client.get("/health")
        client.get("/nowhere")
        client.post(TRIGGER, b"x" * 101)
        client.post("/v1/decide", b"x" * 101)
        client.get("/health", **{f"X-{number}": "x" for number in range(101)})
        client(("OPTIONS", "/v1/decide", None, {"Origin": PAGE}))
        found = samples(meter.text("v1", "shop"))
    counts = {tuple(labels): count for (name, *labels), count in found.items() if name == "bondhu_requests_total"}
    assert {labels: count for labels, count in counts.items() if count} == {
        ("other", "2xx"): 1,
        ("other", "4xx"): 3,
        ("/v1/decide", "2xx"): 1,
        ("/v1/decide", "4xx"): 1,
    }
