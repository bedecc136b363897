"""What strangers send: nothing makes the server fail, hang or tell more than it should, over real sockets too."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from bondhu.access.admission import Rules
from bondhu.serve import protocol
from bondhu.serve.decide import Decider
from bondhu.serve.protocol import Patient
from bondhu.serve.replies import Application, Limits
from tests.service.shop import CONTEXT, decider
from tests.service.web import ADMIN, KEY, Client, application, error, opened, stored

HOT = ("/v1/decide", "/v1/decide/batch", "/v1/feedback", "/v1/feedback/batch")
COLD = ("/api/v1/admin/releases/stop", "/api/v1/admin/keys", "/api/v1/admin/keys/x/rotate")
TRACE = re.compile(r"Traceback|File \"|site-packages|\.py\b|0x[0-9a-f]{6}|sqlite|apsw", re.IGNORECASE)
GOOD = json.dumps({"context": CONTEXT}).encode()
TEXTS = (
    "'; DROP TABLE decisions; --",
    "' OR '1'='1",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/x}",
    "<script>alert(1)</script>",
    "%s%s%s%n",
    "{0.__class__}",
    "$(touch /tmp/x)",
    "../../../etc/passwd",
    "\u202e\u0000\u200b",
    "😀" * 50,
    "a" * 100_000,
)
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no json": b"<xml/>",
    "half": b'{"context": {"mood": "hap',
    "deep arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"context":' * 50_000 + b"1" + b"}" * 50_000,
    "deep context": b'{"context": {"mood": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
    "duplicate keys": b'{"context": {"mood": "happy", "age": 30}, "context": {"mood": "x", "mood": "sad", "age": 1e9}}',
    "NaN": b'{"context": {"mood": "happy", "age": NaN}}',
    "Infinity": b'{"context": {"mood": "happy", "age": -Infinity}}',
    "huge exponent": b'{"context": {"mood": "happy", "age": 1e999999}}',
    "huge integer": b'{"context": {"mood": "happy", "age": ' + b"9" * 100_000 + b"}}",
    "negative zero": b'{"context": {"mood": "happy", "age": -0.0, "x": 1}}',
    "UTF-16": '{"context": {"mood": "happy", "age": 30}}'.encode("utf-16"),
    "UTF-32": '{"context": {}}'.encode("utf-32-le"),
    "Latin-1": '{"context": {"mood": "fröhlich", "age": 30}}'.encode("latin-1"),
    "byte order mark": b"\xef\xbb\xbf" + b'{"context": {"mood": "x"}}',
    "lone surrogate": b'{"context": {"mood": "\\ud800", "age": 30}}',
    "raw surrogate": b'{"context": {"mood": "\xed\xa0\x80", "age": 30}}',
    "overlong": b'{"context": {"mood": "\xc0\xaf", "age": 30}}',
    "control": b'{"context": {"mood": "a\x00b\x1f", "age": 30}}',
    "two documents": GOOD[:-1] + b', "id": 5}' + b'{"context": {}}',
    "a number": b"7",
    "a text": b'"context"',
    "null": b"null",
    "null fields": b'{"context": null, "requests": null, "feedback": null, "reason": null, "name": null}',
    "wrong kinds": b'{"context": [], "requests": {}, "feedback": "x", "decision_id": {}, "reason": [], "name": 5}',
    "prototype": b'{"__proto__": {"admin": true}, "constructor": {}, "context": {}}',
    "many fields": json.dumps({f"field{number}": number for number in range(20_000)}).encode(),
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}


@pytest.fixture
def one() -> Decider:
    return decider()


@pytest.fixture
def client(one: Decider) -> Iterator[Client]:
    yield from opened(one)


@pytest.mark.parametrize("path", [*HOT, *COLD])
@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_gets_a_problem_with_what_to_do(client: Client, one: Decider, name: str, path: str) -> None:
    answer = client.post(path, BODIES[name], **ADMIN, **{"Content-Type": "application/json"})
    told = error(answer, answer.status_code)
    assert answer.status_code in (400, 413, 422)
    assert told["fix"]
    assert told["field"] or answer.status_code in (400, 413) or name in ("a number", "a text", "null", "deep arrays")
    assert not TRACE.search(answer.text), answer.text
    assert len(answer.text) < 2_000
    assert stored(one) == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "", "x" * 1_000])
def test_a_wrong_content_type_neither_fails_nor_changes_what_a_body_means(client: Client, kind: str) -> None:
    assert client.post("/v1/decide", GOOD, **{"Content-Type": kind}).json()["action"] == "blue"
    assert error(client.post("/v1/decide", b"a=b&c=d", **{"Content-Type": kind}), 400)["code"] == "malformed"
    answer = client.post(COLD[0], b"a=b", **ADMIN, **{"Content-Type": kind})
    assert error(answer, 400)["code"] == "malformed"


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_hostile_text_in_any_field_is_text_and_nothing_more(client: Client, one: Decider, text: str) -> None:
    answers = client(
        ("POST", "/v1/decide", {"context": {"mood": text, "age": 30}}),
        ("POST", "/v1/decide", {"context": CONTEXT, "id": text, "user": text, "session": text}),
        ("POST", "/v1/decide", {"context": CONTEXT, "allowed": [text]}),
        ("POST", "/v1/decide", {"context": {text: text}}),
        ("POST", "/v1/feedback", {"decision_id": text, "signal": text, "id": text}),
        ("POST", "/v1/feedback/batch", {"feedback": [{"decision_id": text, "signal": "like", "replaces": text}]}),
        ("POST", COLD[0], {"reason": text, "version": text}, ADMIN),
        ("POST", COLD[1], {"name": text, "role": text}, ADMIN),
        ("GET", f"/api/v1/admin/verdicts?version={text[:200].encode(errors='replace').hex()}", None, ADMIN),
    )
    for answer in answers:
        assert answer.status_code in (200, 404, 422), answer.text
        assert not TRACE.search(answer.text.replace(json.dumps(text)[1:-1], "")), answer.text
        assert len(answer.text.replace(text, "")) < 4_000
        assert "49" not in answer.text or text != TEXTS[2]
    for found in one.deployment.log.read("shop", 0, 1e12).id:
        assert found == text
        assert one.explain(found).decision["user"] == text


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PATCH", "CONNECT", "BREW", "HEAD"])
@pytest.mark.parametrize("path", [*HOT, *COLD, "/", "/health", "/openapi.json", "/v1/decisions/x", "/nowhere"])
def test_other_methods_are_refused_on_every_route(client: Client, method: str, path: str) -> None:
    answer = client((method, path, None, ADMIN))[0]
    expected = 404 if path == "/nowhere" else 405
    assert answer.status_code == expected
    assert method == "HEAD" or error(answer, expected)["fix"]
    assert path == "/nowhere" or answer.headers["allow"]
    assert KEY not in answer.text


# --------------------------------------------------------------------------------------------------------- real sockets

QUICK = Limits(largest_body=4_096, body_seconds=1.0)


class Hasty(Patient):
    """As the server's, with less patience."""

    head_seconds = 0.3
    largest_head = 16 * 1024


class Listening(uvicorn.Server):
    """A real server in a thread of the test."""

    def __init__(self, app: Application) -> None:
        super().__init__(uvicorn.Config(app, port=0, log_level="critical", lifespan="on", http=Hasty))
        self._thread = threading.Thread(target=self.run)

    def __enter__(self) -> int:
        self._thread.start()
        while not self.started:
            time.sleep(0.005)
        return int(self.servers[0].sockets[0].getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with Listening(application(decider(), limits=QUICK, rules=Rules(KEY))) as number:
        yield number


def raw(port: int, *pieces: bytes | float) -> bytes:
    """What comes back for these bytes until the server closes, or is silent for 3 seconds; numbers are pauses."""
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        answer = b""
        try:
            for piece in pieces:
                if isinstance(piece, float):
                    time.sleep(piece)
                else:
                    connection.sendall(piece)
            while piece := connection.recv(65_536):
                answer += piece
        except (ConnectionError, TimeoutError):
            pass
        return answer


def request(path: str = "/v1/decide", body: bytes = GOOD, *, method: str = "POST", more: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode()
    return head + more + b"\r\n" + body


def told(answer: bytes) -> tuple[int, Any]:
    """Status and body of the last answer."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    assert not TRACE.search(answer.decode("latin-1")), answer
    return int(head.rsplit(b"HTTP/1.1 ", 1)[1].split()[0]), json.loads(body) if body else None


def healthy(port: int) -> bool:
    return told(raw(port, request()))[0] == 200


def test_a_request_in_single_bytes_is_answered(port: int) -> None:
    whole = request()
    status, answer = told(raw(port, *[whole[place : place + 1] for place in range(len(whole))]))
    assert (status, answer["action"]) == (200, "blue")


@pytest.mark.parametrize("path", ["/v1/decide", "/api/v1/admin/releases/stop"])
def test_a_body_that_stops_is_answered_with_408_and_the_connection_closed(port: int, path: str) -> None:
    more = b"X-Admin-Key: " + KEY.encode() + b"\r\n"
    sent = request(path, more=more)
    for short in (len(GOOD), 1):
        status, problem = told(raw(port, sent[:-short]))
        assert (status, problem["code"]) == (408, "too_slow")
    assert healthy(port)


def test_headers_that_stop_are_answered_with_408_and_the_connection_closed(port: int) -> None:
    for beginning in (b"", b"P", b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nX-A: ", b"\r\n\r\n"):
        status, problem = told(raw(port, beginning))
        assert (status, problem["code"]) == (408, "too_slow")
    dripping = [piece for _ in range(40) for piece in (b"X-A: b\r\n", 0.02)]
    answer = raw(port, b"GET /health HTTP/1.1\r\n", *dripping, b"Connection: close\r\n\r\n")
    assert answer == b"" or told(answer)[0] == 408  # a connection that was reset has no answer left to read
    assert healthy(port)


def test_a_declared_body_over_the_limit_is_answered_before_it_is_sent(port: int) -> None:
    head = b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
    answer = raw(port, head)
    assert told(answer)[0] == 413
    assert b"100 Continue" not in answer


def test_a_chunked_body_over_the_limit_is_cut_off(port: int) -> None:
    head = b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"400\r\n" + b" " * 0x400 + b"\r\n"
    assert told(raw(port, head, *[chunk] * 5))[0] == 413
    small = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
    assert told(raw(port, head.replace(b"Host: x", b"Host: x\r\nConnection: close"), small))[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\n" + b"X-A: " + b"a" * 3_000_000,
        b"GET /" + b"a" * 3_000_000,
        b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(200_000)),
    ],
    ids=["one long header", "a long path", "many headers"],
)
def test_endless_headers_are_cut_off(port: int, head: bytes) -> None:
    answer = raw(port, *[head[place : place + 65_536] for place in range(0, len(head), 65_536)])
    assert answer == b"" or told(answer)[0] == 431  # a connection that was reset has no answer left to read
    assert healthy(port)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX Y: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX\x00Y: z\r\n\r\n",
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n\n" * 3,
    ],
)
def test_what_is_no_http_is_refused_in_the_one_shape(port: int, sent: bytes) -> None:
    status, problem = told(raw(port, sent, 0.4))
    assert 400 <= status < 500
    assert {"title", "status", "code", "detail", "fix"} <= set(problem)
    assert healthy(port)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("//evil.example/", 404),
        ("//evil.example", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/../../etc/passwd", 404),
        ("/..%5c..%5cwindows", 404),
        ("/v1/%64ecide", 405),
        ("/v1//decide", 404),
        ("/v1/decide;x=y", 404),
        ("/v1/decisions/%00", 404),
        ("/v1/decisions/%ff%fe", 404),
        ("/v1/decisions/" + "a" * 5_000, 404),
        ("/v1/decisions/..%2f..%2fapi%2fv1%2fadmin%2fkeys", 404),
        ("/v1/decisions/../../api/v1/admin/keys", 404),
        ("/api/v1/admin/keys%00", 404),
        ("/api/v1/admin//keys", 404),
        ("/API/V1/ADMIN/KEYS", 404),
        ("/api/v1/admin/keys?x=%00&y=" + "a" * 5_000, 401),
        ("/api/v1/admin/audit?after=-1", 401),
        ("http://evil.example/api/v1/admin/keys", 401),
        ("/%", 404),
        ("/%zz%", 404),
        ("*", 404),
    ],
)
def test_paths_mean_what_they_say_and_no_trick_opens_anything(port: int, path: str, status: int) -> None:
    got, problem = told(raw(port, request(path, b"", method="GET")))
    assert got == status or (path == "*" and got == 400)
    assert problem["fix"]


@pytest.mark.parametrize(
    "sent",
    [
        request(),
        request().replace(b"Connection: close\r\n", b""),
        request(body=b"{}"),
        request("/health", b"", method="GET"),
    ],
)
def test_headers_that_are_written_at_once_are_those_that_the_library_would_write(sent: bytes) -> None:
    class Plain(Listening):
        def __init__(self, app: Application) -> None:
            super().__init__(app)
            self.config = uvicorn.Config(app, port=0, log_level="critical", lifespan="on", timeout_keep_alive=1)

    seen = []
    for kind in (Plain, Listening):
        with kind(application(decider(), limits=QUICK)) as number:
            answer = raw(number, sent.replace(b"Host: x", b"Host: x\r\nX-Request-Id: same"))
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = [each for each in head.lower().split(b"\r\n") if not each.startswith(b"date:")]
        seen.append((sorted(lines), len(body)))
    assert seen[0] == seen[1]
    assert b"x-request-id: same" in seen[0][0]
    assert b"x-content-type-options: nosniff" in seen[0][0]


def test_a_pipeline_is_answered_in_order_and_the_connection_stays_whole(port: int) -> None:
    one = request().replace(b"Connection: close\r\n", b"")
    answer = raw(port, one + one + request("/nowhere", b""))
    assert [int(each.split()[0]) for each in answer.split(b"HTTP/1.1 ")[1:]] == [200, 200, 404]


def test_many_connections_that_say_nothing_keep_nobody_out(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(200)]
    try:
        assert healthy(port)
        ended = [each.recv(65_536) for each in idle]
        assert all(b" 408 " in each for each in ended)
    finally:
        for each in idle:
            each.close()


# ------------------------------------------------------------------------------------------- bodies that nobody reads


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"POST /nowhere HTTP/1.1", 404),
        (b"GET /health HTTP/1.1", 200),
        (b"POST /api/v1/admin/keys HTTP/1.1", 401),
        (b"GET /v1/decide HTTP/1.1", 405),
    ],
)
def test_an_answer_before_the_body_is_whole_closes_the_connection(
    port: int, first: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(first + b"\r\nHost: x\r\nContent-Length: 900\r\n\r\n")
        got = connection.recv(65_536)
        assert int(got.split()[1]) == status
        assert b"connection: close" in got
        while got := connection.recv(65_536):
            pass
        assert got == b""


def test_a_body_that_nobody_wants_but_arrives_keeps_the_connection(port: int) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    answer = raw(port, head, 0.1, b"123456789", 0.2, request())
    assert [int(each.split()[0]) for each in answer.split(b"HTTP/1.1 ")[1:]] == [404, 200]


def test_an_answer_that_cannot_be_sent_has_no_second_one(one: Decider) -> None:
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": GOOD}

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            raise RuntimeError("the transport is closed")

    for client in opened(one):
        scope = {"type": "http", "method": "POST", "path": "/v1/decide", "headers": [], "query_string": b""}
        with pytest.raises(RuntimeError, match="closed"):
            asyncio.run(client.app({**scope}, receive, send))  # type: ignore[arg-type]  # a dictionary is a message
    assert sent == ["http.response.start", "http.response.body"]
