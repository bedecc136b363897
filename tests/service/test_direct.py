"""The short way to the hot routes says what the long way says; whatever is special goes the long way."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from bondhu.access.admission import Keys, Rules
from bondhu.log.memory import MemoryLedger
from bondhu.serve.decide import Decider
from bondhu.serve.direct import Direct
from bondhu.serve.http import interface
from bondhu.serve.parts import Parts
from bondhu.serve.protocol import MOST_WAITING, SLICE, Patient
from bondhu.serve.replies import Limits
from bondhu.serve.writing.thread import ThreadWriter
from bondhu.server.draining import http_server
from bondhu.server.sockets import listening
from bondhu.settings import from_tables
from tests.service.shop import CONTEXT, decider
from tests.service.web import KEY, Desk

LIMITS = Limits(largest_body=10_000, body_seconds=5.0)


@contextmanager
def served(
    one: Decider, *, short: bool, keys: bool = False, buffer: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """A port, and the paths of the requests that went the short way. `buffer`: bytes that the system holds for each
    connection, in each direction."""
    taken: list[str] = []
    access = Keys(MemoryLedger(), "shop", Rules(KEY, required=keys))
    whole = interface(Parts(one, ThreadWriter(one.deployment.log), Desk(), access, limits=LIMITS))

    class Noting(Direct):
        def answer(self, scope: Any, body: bytes, reply: Any) -> None:
            taken.append(scope["path"])
            super().answer(scope, body, reply)

    assert whole.direct is not None
    noting = Noting(whole.direct._hot, LIMITS)
    ready = threading.Event()
    server = http_server(whole._replace(direct=noting if short else None), from_tables({}), ready.set)
    with listening("127.0.0.1", 0) as listener:
        if buffer is not None:  # connections have it from there
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        thread = threading.Thread(target=lambda: asyncio.run(server._serve([listener])))
        thread.start()
        assert ready.wait(20)
        try:
            yield listener.getsockname()[1], taken
        finally:
            server.should_exit = True
            thread.join()


def request(path: str, body: Any, *headers: str, method: str = "POST") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(data)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def answers(port: int, *sent: bytes, count: int = 1) -> list[tuple[int, dict[str, str], Any]]:
    """Status, headers and body of the answers to what is sent in these pieces over one connection."""
    with closing(socket.create_connection(("127.0.0.1", port))) as connection, connection.makefile("rb") as file:
        connection.settimeout(20)
        for piece in sent:
            connection.sendall(piece)
        found = []
        for _ in range(count):
            status = int(file.readline().split()[1])
            headers = {}
            while (line := file.readline().strip()) != b"":
                name, _, value = line.decode("latin-1").partition(": ")
                headers[name] = value
            found.append((status, headers, json.loads(file.read(int(headers["content-length"])) or b"null")))
        return found


REQUESTS = [
    request("/v1/decide", {"context": CONTEXT, "id": "a"}),
    request("/v1/decide", {"context": CONTEXT, "id": "a"}),
    request("/v1/decide", {"context": {**CONTEXT, "age": 99}, "id": "a"}),
    request("/v1/decide/batch", {"requests": [{"context": CONTEXT, "id": "b"}, {"context": CONTEXT, "id": "c"}]}),
    request("/v1/decide/batch", {"requests": [{"context": {**CONTEXT, "mood": "hapy"}}]}),
    request("/v1/feedback", {"decision_id": "a", "signal": "like", "id": "f"}),
    request("/v1/feedback", {"decision_id": "a", "signal": "lik", "id": "g"}),
    request("/v1/feedback", {"decision_id": "nobody", "signal": "like", "id": "h"}),
    request("/v1/feedback/batch", {"feedback": [{"decision_id": "a", "signal": "like", "id": "i"}]}),
    request("/v1/decide", b'{"context": '),
    request("/v1/decide", b"\xff"),
    request("/v1/decide", b""),
    request("/v1/decide", {"context": [1]}),
    request("/v1/decide", {"context": CONTEXT, "alowed": ["red"]}),
    request("/v1/decide", {"context": CONTEXT, "allowed": []}),
    request("/v1/decide", b" " * 10_001),
]


def test_both_ways_give_the_same_answers_with_the_same_headers() -> None:
    told = []
    for short in (True, False):
        with served(decider(), short=short) as (port, taken):
            told.append([answers(port, each)[0] for each in REQUESTS])
            assert len(taken) == (len(REQUESTS) - 1 if short else 0)  # the last one is too large for it
    for one, other in zip(*told, strict=True):
        assert one[0] == other[0]
        assert one[2] == other[2]
        assert one[1].keys() == other[1].keys()
        assert {name: value for name, value in one[1].items() if name not in ("date", "x-request-id")} == {
            name: value for name, value in other[1].items() if name not in ("date", "x-request-id")
        }
    assert [each[0] for each in told[0]] == [
        200,
        200,
        409,
        200,
        422,
        200,
        422,
        404,
        200,
        400,
        400,
        400,
        422,
        422,
        422,
        413,
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["origin: https://app.example.org"], 200),
        (["x-request-id: mine"], 200),
        (["expect: 100-continue"], 100),
        (["connection: close"], 200),
    ],
)
def test_a_request_with_something_special_about_it_goes_the_long_way(headers: list[str], status: int) -> None:
    with served(decider(), short=True) as (port, taken):
        body = request("/v1/decide", {"context": CONTEXT}, *headers)
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.settimeout(20)
            connection.sendall(body)
            assert int(connection.recv(64).split()[1]) == status
        assert taken == []


def test_a_body_that_comes_in_pieces_goes_the_long_way_and_is_answered() -> None:
    whole = request("/v1/decide", {"context": CONTEXT, "id": "slowly"})
    with served(decider(), short=True) as (port, taken):
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.settimeout(20)
            connection.sendall(whole[:-10])
            threading.Event().wait(0.2)
            connection.sendall(whole[-10:])
            assert b"200 OK" in connection.recv(4096)
        assert taken == []


def test_requests_sent_without_waiting_are_answered_in_their_order() -> None:
    one = decider()
    paths = ["/v1/decide", "/health", "/v1/decide", "/nowhere", "/v1/decide"]
    sent = [
        request(path, {"context": CONTEXT, "id": f"p{place}"})
        if path == "/v1/decide"
        else request(path, b"", method="GET")
        for place, path in enumerate(paths)
    ]
    with served(one, short=True) as (port, taken):
        found = answers(port, b"".join(sent), count=5)
    assert [each[0] for each in found] == [200, 200, 200, 404, 200]
    assert [found[place][2]["id"] for place in (0, 2, 4)] == ["p0", "p2", "p4"]
    assert taken


def test_a_key_is_asked_for_on_the_short_way_too() -> None:
    with served(decider(), short=True, keys=True) as (port, taken):
        body = {"context": CONTEXT}
        assert answers(port, request("/v1/decide", body))[0][0] == 401
        assert answers(port, request("/v1/decide", body, f"x-admin-key: {KEY}"))[0][0] == 200
        assert taken == ["/v1/decide", "/v1/decide"]


def test_who_hangs_up_while_a_decision_is_committed_disturbs_nobody() -> None:
    one = decider()
    with served(one, short=True) as (port, _):
        for number in range(30):
            with closing(socket.create_connection(("127.0.0.1", port))) as connection:
                connection.sendall(request("/v1/decide", {"context": CONTEXT, "id": f"gone-{number}"}))
        assert answers(port, request("/v1/decide", {"context": CONTEXT, "id": "last"}))[0][0] == 200
    assert one.deployment.log.find("last") is not None


def test_what_nobody_foresaw_is_a_problem_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    one = decider()

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(type(one), "choose", broken)
    with served(one, short=True) as (port, _):
        status, headers, body = answers(port, request("/v1/decide", {"context": CONTEXT}))[0]
    assert (status, body["code"]) == (500, "internal_error")
    assert "secret" not in json.dumps(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] in body["detail"]


# ------------------------------------------------------------------------------------------- who sends without reading

SMALL = 4096  # bytes


def narrow(port: int) -> socket.socket:
    """A connection for which the system holds little."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    connection.connect(("127.0.0.1", port))
    return connection


@pytest.mark.parametrize("short", [True, False])
def test_who_reads_no_answer_is_not_read_any_more_and_closed_in_the_end(
    short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patient, "unread_seconds", 3.0)
    one = decider()
    many = request("/v1/decide", {"context": CONTEXT}) * 40_000
    with served(one, short=short, buffer=SMALL) as (port, _), closing(narrow(port)) as connection:
        connection.settimeout(1.5)
        with pytest.raises(TimeoutError):
            connection.sendall(many)
        assert answers(port, request("/v1/decide", {"context": CONTEXT, "id": "another"}))[0][0] == 200
        assert 0 < len(one.deployment.log.read("shop", 0, 1e12).id) < 2_000
        connection.settimeout(20)
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            connection.sendall(many)


@pytest.mark.parametrize("buffer", [None, SMALL])
@pytest.mark.parametrize("short", [True, False])
def test_two_thousand_requests_in_one_piece_are_answered_in_their_order(short: bool, buffer: int | None) -> None:
    sent = [request("/v1/decide", {"context": CONTEXT, "id": f"p{number}"}) for number in range(2_000)]
    with served(decider(), short=short, buffer=buffer) as (port, _):
        connection = narrow(port) if buffer else socket.create_connection(("127.0.0.1", port))
        with closing(connection), connection.makefile("rb") as file:
            connection.settimeout(30)
            sending = threading.Thread(target=connection.sendall, args=(b"".join(sent),))
            sending.start()
            threading.Event().wait(0.3 if buffer else 0.0)  # until no more answers fit
            found = []
            for _ in sent:
                assert file.readline() == b"HTTP/1.1 200 OK\r\n"
                length = 0
                while (line := file.readline().strip()) != b"":
                    length = int(line.split()[1]) if line.startswith(b"content-length") else length
                found.append(json.loads(file.read(length))["id"])
            sending.join()
    assert found == [f"p{number}" for number in range(2_000)]


def test_requests_that_are_refused_at_once_behind_one_that_is_not_are_all_answered() -> None:
    good, bad = request("/v1/decide", {"context": CONTEXT}), request("/v1/decide", b"{")
    with served(decider(), short=True) as (port, _):
        found = answers(port, good + bad * 1_500 + good, count=1_502)
    assert [each[0] for each in found] == [200, *[400] * 1_500, 200]


def test_no_more_requests_wait_than_the_bound_and_one_slice_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = []
    before = Patient.on_headers_complete

    def noting(self: Patient) -> None:
        before(self)
        waiting.append(len(self.pipeline))

    monkeypatch.setattr(Patient, "on_headers_complete", noting)
    one = request("/v1/decide", {"context": CONTEXT})
    with served(decider(), short=True) as (port, _):
        assert len(answers(port, one * 1_000, count=1_000)) == 1_000
    assert 1 < max(waiting) <= MOST_WAITING + SLICE // len(one) + 1


def test_the_last_request_of_a_pipeline_may_come_in_pieces() -> None:
    one = request("/v1/decide", {"context": CONTEXT, "id": "a"})
    with (
        served(decider(), short=True) as (port, _),
        closing(socket.create_connection(("127.0.0.1", port))) as connection,
    ):
        connection.settimeout(20)
        connection.sendall(one * 3 + one[:-5])
        threading.Event().wait(0.3)
        connection.sendall(one[-5:])
        got = b""
        while got.count(b"HTTP/1.1 200") < 4:
            piece = connection.recv(65_536)
            assert piece
            got += piece


@pytest.mark.parametrize("short", [True, False])
def test_what_is_no_http_behind_requests_under_way_closes_without_an_answer_to_them_and_without_a_trace(
    short: bool, caplog: pytest.LogCaptureFixture
) -> None:
    one = decider()
    paths = [request("/v1/decide", {"context": CONTEXT}), request("/v1/decisions/x", b"", method="GET")]
    with served(one, short=short) as (port, _):
        for first in paths:
            for between, told in ((b"", 400), (paths[0], None), (paths[1], None)):
                with closing(socket.create_connection(("127.0.0.1", port))) as connection:
                    connection.settimeout(20)
                    connection.sendall(first + between + b"\x00\x01\xff /\r\n\r\n" * 5)
                    got = b""
                    while piece := connection.recv(65_536):
                        got += piece
                    assert [*map(int, re.findall(rb"HTTP/1\.1 (\d+)", got))] == ([told] if told else [])
        assert answers(port, paths[0])[0][0] == 200
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("short", [True, False])
def test_what_comes_behind_the_last_request_of_a_connection_is_not_done(short: bool) -> None:
    one = decider()
    last = request("/v1/decide", {"context": CONTEXT, "id": "last"}, "connection: close")
    with served(one, short=short) as (port, _), closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.settimeout(20)
        connection.sendall(last + request("/v1/decide", {"context": CONTEXT, "id": "after"}))
        got = b""
        while piece := connection.recv(65_536):
            got += piece
        assert got.count(b"HTTP/1.1 ") == 1
    assert one.deployment.log.find("last") is not None
    assert one.deployment.log.find("after") is None
