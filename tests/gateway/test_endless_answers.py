"""What an upstream may say in the words of the Responses API, and what it may not: endless answers, odd fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bondhu.serve.gateway.errors import MALFORMED, Failure, event
from bondhu.serve.gateway.response_output import Told, whole
from bondhu.serve.gateway.response_stream import Stream
from bondhu.serve.gateway.streaming import DONE, LONGEST_ANSWER, MOST_CALLS, Relay
from tests.gateway.place import HELLO, Served, folder, served
from tests.gateway.scripted import Model, chunk, completion, model, plain, stream

PIECE = "x" * (LONGEST_ANSWER // 16)


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = folder(tmp_path_factory.mktemp("endless"), {"local": tiny}, gateway="breaker_failures = 1000")
    with served(path) as one:
        yield one


def call(index: int, **function: str) -> bytes:
    return chunk({"tool_calls": [{"index": index, "id": f"call_{index}", "function": function}]})


def fed(*pieces: bytes) -> list[dict[str, Any]]:
    """The events that these pieces of a chat's stream become. Raises Failure."""
    made = Stream(Told("d", {"stream": True}))
    out = b"".join(made.feed(each) for each in pieces)
    return [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: ")]


def events_of(gateway: Served) -> list[dict[str, Any]]:
    status, _, content = gateway.post("/v1/responses", {"input": "Hi.", "stream": True})
    assert status == 200, content
    return [json.loads(line[6:]) for line in content.split(b"\n") if line.startswith(b"data: ")]


# ------------------------------------------------------------------------------------------------------------ endless


ENDLESS: dict[str, tuple[list[bytes], str]] = {
    "a text": ([chunk({"content": PIECE})] * 17, f"{LONGEST_ANSWER} characters"),
    "a refusal": ([chunk({"refusal": PIECE})] * 17, f"{LONGEST_ANSWER} characters"),
    "texts between calls": ([chunk({"content": PIECE}) + call(n, name="f") for n in range(17)], "characters"),
    "arguments": ([call(0, name="f")] + [call(0, arguments=PIECE)] * 17, f"{LONGEST_ANSWER} characters"),
    "arguments of nothing": ([call(0, arguments=PIECE)] * 17, f"{LONGEST_ANSWER} characters"),
    "a name": ([call(0, name=PIECE)] * 17, f"{LONGEST_ANSWER} characters"),
    "ids": ([chunk({"tool_calls": [{"id": PIECE + str(n), "function": {}}]}) for n in range(17)], "characters"),
    "calls": ([call(n, name="f") for n in range(MOST_CALLS + 1)], f"{MOST_CALLS} calls"),
    "parts": ([chunk({"content": "x", "refusal": "y"})] * MOST_CALLS, f"{MOST_CALLS} parts"),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
def test_an_answer_that_is_endless_is_malformed(what: str) -> None:
    pieces, limit = ENDLESS[what]
    with pytest.raises(Failure, match=limit) as failed:
        fed(*pieces)
    assert failed.value.code == MALFORMED


def test_an_answer_as_long_as_may_be_is_whole() -> None:
    pieces = [chunk({"content": PIECE})] * 15 + [call(n, name="f", arguments="{}") for n in range(MOST_CALLS)]
    last = fed(*pieces, DONE)[-1]
    assert last["type"] == "response.completed"
    assert len(last["response"]["output"]) == 1 + MOST_CALLS
    assert len(last["response"]["output"][0]["content"][0]["text"]) == 15 * len(PIECE)


def test_an_id_that_is_said_with_every_piece_counts_once() -> None:
    pieces = [chunk({"tool_calls": [{"id": PIECE, "function": {"name": "f", "arguments": "1"}}]})] * 30
    assert fed(*pieces, DONE)[-1]["response"]["output"][0]["arguments"] == "1" * 30


@pytest.mark.parametrize("last", [chunk({"content": PIECE * 2}), chunk({"content": PIECE * 2}, "stop")])
def test_an_endless_answer_fails_and_is_the_fault_of_its_upstream(gateway: Served, tiny: Model, last: bytes) -> None:
    said_first = stream([*[chunk({"content": PIECE})] * 15, last], ends=False)
    tiny.plays(tiny.held(said_first, stream([DONE], starts=False)))  # which it never comes to
    events = events_of(gateway)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["message"].startswith("The upstream answered with more than")
    assert events[-1]["response"]["output"] == []
    _, said, kept = gateway.facts(events[-1]["response"]["id"].removeprefix("resp_"))
    assert said["failed"] == 1.0
    assert kept is not None
    assert (kept.body["status"], kept.body["code"]) == ("failed", MALFORMED)


def test_of_a_chat_no_more_is_kept_either() -> None:
    relay = Relay("chatcmpl-1", usage=True)
    for _ in range(40):
        relay.feed(chunk({"refusal": PIECE, "tool_calls": [{"id": PIECE, "function": {"name": "f"}}]}))
    message = relay.answer.message()
    assert len(message["refusal"]) == LONGEST_ANSWER
    assert len(message["tool_calls"][0]["id"]) == 200


# ------------------------------------------------------------------------------------------------------- odd fields


@pytest.mark.parametrize("finish", [["length"], {"length": 1}, 5, None])
def test_a_reason_to_finish_that_is_no_text_is_none(gateway: Served, tiny: Model, finish: Any) -> None:
    body = completion("Hi.")
    body["choices"][0]["finish_reason"] = finish
    tiny.plays(plain(200, body))
    status, _, content = gateway.post("/v1/responses", {"input": "Hi."})
    assert (status, json.loads(content)["status"]) == (200, "completed")


def test_a_function_does_not_name_the_call() -> None:
    calls = [{"id": "right", "function": {"id": "wrong", "name": "f", "arguments": "{}"}}]
    said = whole(Told("d", {}), {"choices": [{"message": {"tool_calls": calls}}]})
    assert said["output"][0]["call_id"] == "right"


HALF = "\ud83d"
HALVES: dict[str, bytes] = {
    "model": chunk({"content": "Hi."}, model=HALF),
    "id of a call": chunk({"tool_calls": [{"index": 0, "id": HALF, "function": {"name": "f", "arguments": "{}"}}]}),
    "name of a call": chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": HALF}}]}),
    "reason to finish": chunk({"content": "Hi."}, HALF),
}


@pytest.mark.parametrize("where", HALVES)
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions"])
def test_half_of_a_character_is_marked_and_stored(gateway: Served, tiny: Model, path: str, where: str) -> None:
    tiny.plays(stream([HALVES[where], chunk({}, "stop"), DONE]))
    body = {"input": "Hi."} if path.endswith("responses") else HELLO
    status, headers, content = gateway.post(path, {**body, "stream": True})
    assert status == 200
    assert (b"response.completed" in content) or content.endswith(DONE)
    kept = gateway.facts(headers["x-bondhu-decision"])[2]
    assert kept is not None
    assert kept.body["status"] == "answered"


@pytest.mark.parametrize("where", HALVES)
def test_what_breaks_off_after_half_of_a_character_is_told(where: str) -> None:
    events = fed(HALVES[where], event(Failure("It broke.", MALFORMED)))
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["message"] == "It broke."


UNREAD: dict[str, bytes] = {
    "no UTF-8": b'data: {"id": "a", "x": "\xff", "choices": [{"delta": {"content": "y"}}]}',
    "an endless number": b'data: {"id": "a", "x": ' + b"1" * 5000 + b', "choices": [{"delta": {"content": "y"}}]}',
}


@pytest.mark.parametrize("what", UNREAD)
def test_what_nobody_reads_may_not_be_unreadable(gateway: Served, tiny: Model, what: str) -> None:
    with pytest.raises(Failure, match="cannot be understood"):
        fed(UNREAD[what] + b"\n\n")
    tiny.plays(stream([chunk({"content": "Half"}), UNREAD[what] + b"\n\n", chunk({}, "stop"), DONE]))
    assert events_of(gateway)[-1]["type"] == "response.failed"


@pytest.mark.parametrize(
    "data",
    [
        b'data: {"id": "\\ud83d", "choices": [{"delta": {"content": "x"}}]}\n\n',
        b'data: {"x": "\xff", "id": "a", "choices": [{"delta": {"content": "x"}}]}\n\n',
        b'data: {"x": ' + b"1" * 5000 + b', "id": "a", "choices": []}\n\n',
    ],
)
def test_an_event_that_cannot_be_renamed_is_malformed(data: bytes) -> None:
    with pytest.raises(Failure, match="cannot be understood") as failed:
        Relay("chatcmpl-1", usage=True).feed(data)
    assert failed.value.code == MALFORMED
