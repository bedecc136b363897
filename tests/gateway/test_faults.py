"""Upstreams with faults, and clients that go away: nobody else suffers, and all of it is logged."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.place import HELLO, LONG, Served, decoded, folder, served
from tests.gateway.scripted import (
    Model,
    Script,
    begin,
    chunk,
    completion,
    either,
    hangs_up,
    model,
    nothing,
    piece,
    plain,
    stream,
    streamed,
    told,
    whole,
)
from tests.service.serving import eventually


@pytest.fixture(scope="module")
def models() -> Iterator[tuple[Model, Model]]:
    with model() as first, model("other") as second:
        yield first, second


@pytest.fixture(scope="module")
def both(models: tuple[Model, Model], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two upstreams: the second is asked where the first fails; both are asked again once."""
    lines = {
        "local": 'fallback = ["spare"]\nretries = 1\ntimeout = 4.0',
        "spare": 'retries = 0\nmodel = "spare-1"\ntimeout = 4.0',
    }
    gateway = "breaker_failures = 1000"
    path = tmp_path_factory.mktemp("both")
    with served(folder(path, {"local": models[0], "spare": models[1]}, upstream=lines, gateway=gateway)) as one:
        yield one


@pytest.fixture(scope="module")
def alone(models: tuple[Model, Model], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One upstream that is asked once."""
    path = folder(tmp_path_factory.mktemp("alone"), {"local": models[0]}, gateway="breaker_failures = 1000")
    with served(path) as one:
        yield one


FAULTS: dict[str, Script] = {
    "500": plain(500, {"error": {"message": "secret"}}),
    "overloaded": plain(529, b"busy"),
    "no JSON": plain(200, b"<html>"),
    "no completion": plain(200, {"choices": []}),
    "an error inside": plain(200, {"error": {"message": "secret"}}),
    "hangs up": hangs_up,
    "half of a body": plain(200, b"{", {"content-length": "500"}),
    "another protocol": stream([b"hello\r\n"], starts=False, ends=False, closes=True),
}
BROKEN: dict[str, Script] = {
    "malformed": stream([b"data: {oops\n\n"]),
    "nothing at all": stream([]),
    "an error first": stream([b'data: {"error": {"message": "secret"}}\n\n']),
    "hangs up after the headers": stream([], ends=False, closes=True),
}


async def half_closes(_: dict[str, Any], writer: Any) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
    await writer.drain()
    writer.close()


FAULTS["half of a body"] = half_closes


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("streams", [False, True])
def test_a_fault_is_tried_again_and_then_elsewhere(
    both: Served, models: tuple[Model, Model], fault: str, streams: bool
) -> None:
    first, second = models
    first.plays(FAULTS[fault])
    second.plays(either("Spare."))
    if streams:
        _, events = both.events()
        identity, said = events[0]["id"], events[1]["choices"][0]["delta"]["content"]
    else:
        status, _, body = both.ask()
        assert status == 200
        identity, said = body["id"], body["choices"][0]["message"]["content"]
    assert said == "Spare."
    assert len(first.asked) == 2
    assert [each.body["model"] for each in second.asked] == ["spare-1"]
    _, told_signals, kept = both.facts(identity)
    assert "failed" not in told_signals
    assert kept is not None
    assert (kept.body["upstream"], kept.body["model"], kept.body["status"]) == ("spare", "spare-1", "answered")


@pytest.mark.parametrize("fault", BROKEN)
def test_a_stream_that_never_begins_is_tried_elsewhere(both: Served, models: tuple[Model, Model], fault: str) -> None:
    models[0].plays(BROKEN[fault])
    models[1].plays(either("Spare."))
    _, events = both.events()
    assert events[1]["choices"][0]["delta"]["content"] == "Spare."
    assert len(models[0].asked) == 2


def test_a_fault_that_passes_needs_nobody_else(both: Served, models: tuple[Model, Model]) -> None:
    models[0].plays(plain(503, {}, {"retry-after": "0"}), whole("Back."))
    models[1].plays(whole("Spare."))
    assert both.ask()[2]["choices"][0]["message"]["content"] == "Back."
    assert models[1].asked == []


def test_who_never_answers_is_asked_once_and_then_another(both: Served, models: tuple[Model, Model]) -> None:
    models[0].plays(nothing)
    models[1].plays(whole("Spare."))
    assert both.ask()[2]["choices"][0]["message"]["content"] == "Spare."
    assert len(models[0].asked) == 1  # it may be at work still


def test_where_nobody_answers_in_time_the_status_says_so(both: Served, models: tuple[Model, Model]) -> None:
    for each in models:
        each.plays(nothing)
    status, headers, body = both.ask()
    assert status == 504
    assert body["error"]["code"] == "upstream_timeout"
    _, said, kept = both.facts(headers["x-bondhu-decision"])
    assert said["failed"] == 1.0
    assert kept is not None
    assert (kept.body["status"], kept.body["code"]) == ("failed", "upstream_timeout")


def test_too_much_is_asked_elsewhere_at_once_where_the_wait_is_long(both: Served, models: tuple[Model, Model]) -> None:
    models[0].plays(plain(429, {}, {"retry-after": "3600"}))
    models[1].plays(whole("Spare."))
    assert both.ask()[0] == 200
    assert len(models[0].asked) == 1


def test_what_is_the_requests_own_fault_is_not_asked_again(both: Served, models: tuple[Model, Model]) -> None:
    models[0].plays(plain(400, {"error": {"message": "No."}}))
    models[1].plays(whole("Spare."))
    status, _, body = both.ask()
    assert (status, body["error"]["message"]) == (400, "No.")
    assert models[1].asked == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1"])
def test_where_nobody_listens(tmp_path: Path, address: str) -> None:
    with served(folder(tmp_path, {"local": address})) as one:
        status, headers, body = one.ask()
        assert (status, body["error"]["code"]) == (502, "upstream_unreachable")
        assert address not in json.dumps(body)
        assert one.facts(headers["x-bondhu-decision"])[1]["failed"] == 1.0


ENDS: dict[str, Script] = {
    "hangs up": stream([], starts=False, ends=False, closes=True),
    "malformed": stream([b"data: {oops\n\n"], starts=False),
    "ends too soon": stream([], starts=False),
    "an error": stream([b'data: {"error": "secret"}\n\n'], starts=False),
    "no chunks any more": hangs_up,
}


@pytest.mark.parametrize("end", ENDS)
def test_an_answer_that_breaks_off_ends_with_an_error(alone: Served, models: tuple[Model, Model], end: str) -> None:
    first = models[0]
    first.plays(first.held(stream([chunk({"content": "Ha"})], ends=False), ENDS[end]))
    connection, answer = begun(alone, {**HELLO, "stream": True})
    assert answer is not None
    got = b""
    while b"Ha" not in got:
        got += answer.readline()
    first.hold.set()
    events = decoded(got + answer.read())
    gone(connection, answer)
    assert events[0]["choices"][0]["delta"]["content"] == "Ha"
    assert events[-1]["error"]["type"] == "upstream_error"
    assert "secret" not in json.dumps(events)
    _, said, kept = alone.facts(events[0]["id"])
    assert (said["failed"], said["tokens_out"]) == (1.0, 1.0)
    assert kept is not None
    assert kept.body["usage"]["estimated"]


def test_no_secret_of_the_gateway_is_told(models: tuple[Model, Model], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LOCAL_KEY", "sk-very-secret-key")
    models[0].plays(plain(400, {"error": {"message": "Bad key sk-very-secret-key", "code": "sk-very-secret-key"}}))
    path = folder(tmp_path, {"local": models[0]}, upstream={"local": 'retries = 0\nkey_from = "LOCAL_KEY"'})
    with served(path) as one:
        status, _, body = one.ask()
        assert status == 400
        assert models[0].asked[0].headers["authorization"] == "Bearer sk-very-secret-key"
        assert "secret" not in json.dumps(body)
        models[0].plays(plain(401, {"error": {"message": "Incorrect key sk-very****"}}))
        status, _, body = one.ask()
        assert (status, body["error"]["code"]) == (502, "upstream_key")
        assert "sk-" not in json.dumps(body)


# ---------------------------------------------------------------------------------------------------- clients, others


def begun(one: Served, body: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse | None]:
    """A request under way; of a stream its headers are there."""
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=LONG)
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection, connection.getresponse() if body.get("stream") else None


def gone(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse | None = None) -> None:
    for each in (answer, connection):
        if each is not None:
            each.close()


def ended(one: Served, identity: str) -> dict[str, Any]:
    """The transcript, once it is there."""

    def found() -> dict[str, Any] | None:
        kept = one.facts(identity)[2]
        return dict(kept.body) if kept else None

    body: dict[str, Any] = eventually(found)
    return body


def test_a_client_that_leaves_in_mid_stream(alone: Served, models: tuple[Model, Model]) -> None:
    first = models[0]

    async def some(_: dict[str, Any], writer: Any) -> None:
        begin(writer)
        for each in ("One ", "two "):
            piece(writer, chunk({"content": each}))

    first.plays(first.held(some, stream([], starts=False)))
    left = first.left
    connection, answer = begun(alone, {**HELLO, "stream": True})
    assert answer is not None
    identity = answer.headers["x-bondhu-decision"]
    while b"two" not in answer.readline():
        pass
    gone(connection, answer)
    body = ended(alone, identity)
    assert body["status"] == "disconnected"
    assert body["answer"]["content"] == "One two "
    eventually(lambda: first.left > left, "The upstream was not told.")
    eventually(lambda: "disconnected" in alone.facts(identity)[1])
    said = alone.facts(identity)[1]
    assert (said["disconnected"], said["tokens_out"]) == (1.0, 2.0)
    assert said["cost"] > 0
    assert "failed" not in said


@pytest.mark.parametrize("streams", [False, True])
def test_a_client_that_leaves_before_the_answer(alone: Served, models: tuple[Model, Model], streams: bool) -> None:
    first = models[0]

    async def silence(_: dict[str, Any], __: Any) -> None:
        pass

    first.plays(first.held(silence, whole()))
    before, left = set(alone.logged()), first.left
    connection = http.client.HTTPConnection("127.0.0.1", alone.port, timeout=LONG)
    connection.request("POST", "/v1/chat/completions", json.dumps({**HELLO, "stream": streams}))
    assert first.reached.acquire(timeout=LONG)
    gone(connection)
    (identity,) = set(alone.logged()) - before
    assert ended(alone, identity)["status"] == "disconnected"
    eventually(lambda: first.left > left, "The upstream was not told.")


def test_a_slow_answer_and_a_dead_upstream_hold_up_nobody(models: tuple[Model, Model], tmp_path: Path) -> None:
    """Many wait for an upstream that says nothing; what is asked of the other is answered meanwhile."""
    slow, quick = models
    strategies = '[strategies.model.slow]\nupstream = "slow"\nmodel = "tiny"\n'
    strategies += '[strategies.model.quick]\nupstream = "quick"\nmodel = "tiny"\n'
    rules = '[[baseline.rules]]\nwhen = { lane = "slow" }\nset = { model = "slow" }\n'
    path = folder(
        tmp_path,
        {"slow": slow, "quick": quick},
        models=("quick", "slow"),
        default="plain/quick",
        context='lane = { kind = "category", values = ["slow", "quick"] }',
        strategies=strategies + rules,
    )
    order: list[str] = []

    async def silence(_: dict[str, Any], __: Any) -> None:
        pass

    slow.plays(slow.held(silence, whole("slow")))
    quick.plays(either("quick"))
    with served(path) as one:

        def wait() -> None:
            assert one.ask({**HELLO, "metadata": {"lane": "slow"}})[0] == 200
            order.append("slow")

        waiting = [threading.Thread(target=wait) for _ in range(30)]
        for each in waiting:
            each.start()
        for _ in waiting:
            assert slow.reached.acquire(timeout=LONG)
        for streams in (False, True) * 10:
            body = {**HELLO, "metadata": {"lane": "quick"}, "stream": streams}
            assert one.post("/v1/chat/completions", body)[0] == 200
            order.append("quick")
        slow.hold.set()
        for each in waiting:
            each.join()
    assert order == ["quick"] * 20 + ["slow"] * 30


def test_an_upstream_that_keeps_failing_is_left_alone(models: tuple[Model, Model], tmp_path: Path) -> None:
    first = models[0]
    gateway = "breaker_failures = 3\nbreaker_seconds = 3600"
    with served(folder(tmp_path, {"local": first}, gateway=gateway)) as one:
        first.plays(plain(500, {}))
        assert [one.ask()[0] for _ in range(3)] == [502] * 3
        status, headers, body = one.ask()
        assert (status, body["error"]["code"]) == (503, "upstream_resting")
        assert int(headers["retry-after"]) > 60
        assert len(first.asked) == 3
        assert one.facts(headers["x-bondhu-decision"])[1]["failed"] == 1.0


def test_the_rest_of_an_answer_is_sent_as_it_comes(alone: Served, models: tuple[Model, Model]) -> None:
    """The first of a stream is there before the upstream has said the second."""
    first = models[0]
    events = told(["One ", "two."])
    first.plays(first.held(stream(events[:2], ends=False), stream(events[2:], starts=False)))
    connection, answer = begun(alone, {**HELLO, "stream": True})
    assert answer is not None
    got = b""
    while b"One" not in got:
        got += answer.readline()
    assert b"two" not in got
    first.hold.set()
    rest = decoded(got + answer.read())
    assert rest[-1] == "[DONE]"
    gone(connection, answer)


def test_big_answers_and_many_pieces(alone: Served, models: tuple[Model, Model]) -> None:
    words = [f"word{number} " for number in range(3_000)]
    models[0].plays(streamed(*words))
    _, events = alone.events()
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in events[:-1]) == "".join(words)
    models[0].plays(plain(200, completion("x" * 3_000_000)))
    assert len(alone.ask()[2]["choices"][0]["message"]["content"]) == 3_000_000
