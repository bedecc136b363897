"""Connections to upstreams: which serve again, how answers end, and what is no answer."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bondhu.serve.gateway.answers import Begun, Out, beginning, passed_on
from bondhu.serve.gateway.breaker import Rules
from bondhu.serve.gateway.connection import LARGEST_HEAD
from bondhu.serve.gateway.errors import MALFORMED, Failure
from bondhu.serve.gateway.reaching import Origin, connected, in_turn
from bondhu.serve.gateway.trying import Question, Taken, Trying
from bondhu.serve.gateway.upstream import Upstream
from tests.gateway.place import HELLO, LONG, Served, folder, served
from tests.gateway.scripted import (
    Model,
    Writer,
    begin,
    chunk,
    completion,
    either,
    model,
    piece,
    plain,
    stream,
    told,
    whole,
)
from tests.service.serving import eventually

BODY = json.dumps(completion("Hello.")).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
TLS = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


@pytest.fixture(scope="module")
def one(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that asks once, and never leaves its upstream alone."""
    with served(folder(tmp_path_factory.mktemp("one"), {"local": tiny}, gateway="breaker_failures = 1000")) as made:
        yield made


def says(data: bytes, *, closes: bool = False) -> Any:
    """These bytes, whatever they are."""

    async def play(_: dict[str, Any], writer: Writer) -> None:
        writer.write(data)
        await writer.drain()
        if closes:
            writer.close()

    return play


def text(answer: tuple[int, Any, Any]) -> str:
    assert answer[0] == 200, answer
    said: str = answer[2]["choices"][0]["message"]["content"]
    return said


async def ends_later(_: dict[str, Any], writer: Writer) -> None:
    begin(writer)
    for each in told(["Hello."]):
        piece(writer, each)
        await writer.drain()
    writer.write(b"0\r\n\r\n")


def test_one_connection_is_enough_for_one_stream_after_the_other(tmp_path: Path) -> None:
    with model() as tiny, served(folder(tmp_path, {"local": tiny})) as one:
        tiny.plays(ends_later)
        answers = [one.events({**HELLO, "stream": True})[1] for _ in range(5)]
        assert [each[-1] for each in answers] == ["[DONE]"] * 5
        assert len(tiny.open) == 1


def test_the_end_of_a_stream_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    async def never_ends(_: dict[str, Any], writer: Writer) -> None:
        begin(writer)
        for each in told(["Hello."]):
            piece(writer, each)

    with model() as tiny, served(folder(tmp_path, {"local": tiny})) as one:
        tiny.plays(never_ends)
        answers = [one.events({**HELLO, "stream": True})[1] for _ in range(2)]
        assert [each[-1] for each in answers] == ["[DONE]"] * 2
        assert len(tiny.open) == 2


# ------------------------------------------------------------------------------------------------- how an answer ends


def test_an_answer_without_a_length_ends_with_its_connection(one: Served, tiny: Model) -> None:
    tiny.plays(says(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + BODY, closes=True), whole("Next."))
    assert text(one.ask()) == "Hello."
    assert text(one.ask()) == "Next."


def test_a_connection_that_its_upstream_wants_to_end_does_not_serve_again(one: Served, tiny: Model) -> None:
    tiny.plays(plain(200, completion("One."), {"connection": "close"}), whole("Two."))
    before = len(tiny.open)
    assert [text(one.ask()) for _ in range(2)] == ["One.", "Two."]
    assert len(tiny.open) >= before + 1


def test_a_connection_that_was_closed_while_nobody_asked_is_not_used(one: Served, tiny: Model) -> None:
    left: list[Writer] = []

    async def leaves(body: dict[str, Any], writer: Writer) -> None:
        left.append(writer)
        await whole("One.")(body, writer)
        await writer.drain()
        writer.close()

    tiny.plays(leaves, whole("Two."))
    assert text(one.ask()) == "One."
    eventually(lambda: left and left[0].is_closing())
    time.sleep(0.05)  # its end is on the way
    assert text(one.ask()) == "Two."


def test_what_comes_after_an_answer_is_not_taken_for_the_next_one(one: Served, tiny: Model) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    other = json.dumps(completion("Somebody else's.")).encode()
    for more in (head % len(other) + other, head % len(other) + other[:10], b"HTTP/1.1 200"):
        tiny.plays(says(head % len(BODY) + BODY + more), whole("Mine."))
        assert [text(one.ask()) for _ in range(2)] == ["Hello.", "Mine."]


def test_what_is_said_before_the_answer_is_passed_over(one: Served, tiny: Model) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    tiny.plays(says(hints + b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY))
    assert text(one.ask()) == "Hello."


# ------------------------------------------------------------------------------------------------- what is no answer


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (LARGEST_HEAD + 1),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + CHUNKED,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKED,
        b"SSH-2.0\r\n",
    ],
)
def test_what_is_not_http_is_a_failure(one: Served, tiny: Model, data: bytes) -> None:
    tiny.plays(says(data))
    status, _, body = one.ask()
    assert (status, body["error"]["code"]) == (502, "upstream_malformed")


def test_an_encoding_that_was_not_asked_for_is_a_failure(one: Served, tiny: Model) -> None:
    tiny.plays(plain(200, gzip.compress(BODY), {"content-encoding": "gzip"}))
    status, _, body = one.ask()
    assert (status, body["error"]["code"]) == (502, "upstream_malformed")
    assert tiny.asked[0].headers["accept-encoding"] == "identity"


def test_nobody_is_sent_elsewhere(one: Served, tiny: Model) -> None:
    with model("other") as other:
        tiny.plays(plain(307, {}, {"location": f"{other.url}/chat/completions"}))
        assert one.ask()[0] == 502
        assert other.asked == []


# ------------------------------------------------------------------------------------------------------- slow readers


def test_of_a_model_no_more_is_read_than_somebody_takes(one: Served, tiny: Model) -> None:
    total, words = 400, "x" * 100_000
    sent = 0

    async def talks(_: dict[str, Any], writer: Writer) -> None:
        nonlocal sent
        begin(writer)
        for number in range(total):
            piece(writer, chunk({"content": words}))
            await writer.drain()
            sent = number + 1
        piece(writer, chunk({}, "stop") + b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")

    tiny.plays(talks)
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=LONG)
    connection.request("POST", "/v1/chat/completions", json.dumps({**HELLO, "stream": True}))
    answer = connection.getresponse()
    before = -1
    while sent != before:
        before = sent
        time.sleep(0.2)
    assert 0 < sent < total  # the rest waits until it is read
    got = answer.read()
    connection.close()
    assert got.count(words.encode()) == total
    assert got.endswith(b"data: [DONE]\n\n")


async def fails_at_once(_: bytes) -> None:
    raise OSError("The reader has gone.")


async def fails_later(_: bytes) -> None:
    await asyncio.sleep(0)
    raise OSError("The reader has gone.")


async def fails_as_the_upstream_does(_: bytes) -> None:
    await asyncio.sleep(0)
    raise Failure("It says too much.", MALFORMED)


@pytest.mark.parametrize(
    ("out", "error", "standing"),
    [(fails_at_once, OSError, "closed"), (fails_later, OSError, "closed"),
     (fails_as_the_upstream_does, Failure, "open")],
)  # fmt: skip
@pytest.mark.parametrize("finish", [None, "stop"])
def test_a_reader_that_fails_ends_the_stream(
    tiny: Model, out: Out, error: type[Exception], standing: str, finish: str | None
) -> None:
    async def live() -> dict[str, str]:
        upstream = Upstream("tiny", tiny.url, retries=0)
        trying = Trying({"tiny": upstream}, rules=Rules(failures=1))
        taken: Taken[Begun] = await trying.answered(Question("tiny", {}, True), beginning("a", usage=True))
        tiny.hold.set()
        with pytest.raises(error) as caught:
            await asyncio.wait_for(passed_on(taken, out), LONG)
        taken.response.close()
        trying.ended(upstream, caught.value)
        await trying.calls.close()
        return trying.standing()

    first, more = stream([chunk({"content": "a"})], ends=False), [chunk({"content": "b"}, finish), chunk({})]
    tiny.plays(tiny.held(first, stream(more, starts=False, ends=False)))
    assert asyncio.run(live()) == {"tiny": standing}


# ---------------------------------------------------------------------------------------------------------- addresses


def test_addresses_of_both_kinds_take_turns() -> None:
    found: list[Any] = [(family, socket.SOCK_STREAM, 6, "", at) for family, at in ((10, 1), (10, 2), (10, 3), (2, 4))]
    assert [each[-1] for each in in_turn(found)] == [1, 4, 2, 3]
    assert in_turn([]) == []


def test_an_address_that_leads_nowhere_does_not_stop_the_next() -> None:
    async def greets(_: asyncio.StreamReader, writer: Writer) -> None:
        writer.write(b"here")
        await writer.drain()
        writer.close()

    async def live() -> bytes:
        server = await asyncio.start_server(greets, "127.0.0.1", 0)
        good = server.sockets[0].getsockname()
        with socket.create_server(("127.0.0.1", 0)) as gone:
            bad = gone.getsockname()
        loop = asyncio.get_running_loop()

        async def both(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in (bad, good)]

        loop.getaddrinfo = both  # type: ignore[method-assign]  # of a name with two addresses
        came: asyncio.Future[bytes] = loop.create_future()

        class Told(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                came.set_result(data)

        made = await connected(Told, Origin(False, "both.invalid", 1), None)
        said = await came
        made.transport.close()
        server.close()
        return said

    assert asyncio.run(live()) == b"here"


@TLS
def test_tls_and_who_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(certificate, key)
    with model(secure=secure) as tiny:
        tiny.plays(either("Safe."))
        with served(folder(tmp_path / "stranger", {"local": tiny})) as stranger:
            status, _, body = stranger.ask()
            assert (status, body["error"]["code"]) == (502, "upstream_unreachable")
        assert tiny.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with served(folder(tmp_path / "known", {"local": tiny})) as known:
            assert [text(known.ask()) for _ in range(2)] == ["Safe.", "Safe."]
            assert known.events()[1][-1] == "[DONE]"
        assert len(tiny.open) == 1
