"""Streams, cut anywhere: what is forwarded, what is taken from them, and what is not whole."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.serve.gateway.errors import Failure
from bondhu.serve.gateway.streaming import LARGEST_EVENT, Events, Relay
from bondhu.serve.gateway.usage import Usage
from tests.gateway.place import decoded
from tests.gateway.scripted import USAGE, chunk, told

OWN = "chatcmpl-0199b0a4-7c00-7000-8000-000000000001"
STREAM = b"".join(told(["Grüß ", "dich, ", 'say "id":"chatcmpl-upstream"', " 你好\\n"]))


def relayed(pieces: list[bytes], *, usage: bool = False) -> tuple[Relay, list[Any]]:
    relay = Relay(OWN, usage=usage)
    out = b"".join([relay.feed(each) for each in pieces]) + relay.end()
    events = [each for each in out.split(b"\n\n") if each and not each.startswith(b":")]
    return relay, [json.loads(each.removeprefix(b"data: ")) for each in events]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[first:last] for first, last in pairwise(edges)]


@given(places=st.lists(st.integers(0, 10_000), max_size=40), ending=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_is_the_same_wherever_it_is_cut(places: list[int], ending: bytes) -> None:
    relay, events = relayed(cut(STREAM.replace(b"\n", ending), places))
    assert relay.done
    assert {each["id"] for each in events} == {OWN}
    assert relay.answer.text == 'Grüß dich, say "id":"chatcmpl-upstream" 你好\\n'
    assert relay.answer.usage == Usage(11, 7)
    assert relay.answer.finish == "stop"
    assert len(events) == 6  # the role, four texts, the end; the usage was not asked for
    assert events[3]["choices"][0]["delta"]["content"] == 'say "id":"chatcmpl-upstream"'


def test_each_byte_alone() -> None:
    relay, events = relayed([bytes([each]) for each in STREAM], usage=True)
    assert relay.done
    assert events[-1]["usage"] == USAGE


def test_fields_in_another_order_and_without_an_id() -> None:
    rows = [{"choices": [{"delta": {"content": "a"}}], "id": "x"}, {"choices": [{"delta": {"content": "b"}}]},
            {"id": None, "choices": [{"delta": {}, "finish_reason": "length"}], "extra": {"id": "x"}}]  # fmt: skip
    relay, events = relayed([b"data: " + json.dumps(row).encode() + b"\n\n" for row in rows])
    assert [each["id"] for each in events] == [OWN] * 3
    assert events[2]["extra"] == {"id": "x"}
    assert relay.answer.text == "ab"
    assert relay.answer.finish == "length"  # it has ended, though nobody said [DONE]


def test_comments_go_through_and_several_lines_of_data_are_one_event() -> None:
    first = b': waiting\n\nevent: chunk\ndata: {"id": "a", "choices":\ndata: [{"delta": {"content": "x"}}]}\n\n'
    relay = Relay(OWN, usage=False)
    out = relay.feed(first + b"retry: 10\n\n")
    assert out.startswith(b": waiting\n\n")
    assert relay.answer.text == "x"
    assert out.count(b"\n\n") == 2


def test_calls_of_tools_are_put_together() -> None:
    named = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": ""}}
    rest = {"index": 0, "function": {"arguments": " 1}"}}
    pieces = [
        chunk({"role": "assistant", "tool_calls": [named]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        chunk({"tool_calls": [rest, {"index": 1, "id": "c2"}, 7, {"index": "x"}]}),
        chunk({"tool_calls": "none"}, "tool_calls"),
    ]
    relay, events = relayed(pieces)
    assert events[0]["choices"][0]["delta"]["tool_calls"][0]["id"] == "c1"
    assert relay.answer.message() == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}},
            {"id": "c2", "type": "function", "function": {}},
        ],
    }


def test_nothing_goes_out_after_the_end() -> None:
    relay = Relay(OWN, usage=True)
    out = relay.feed(b"data: [DONE]\n\n" + chunk({"content": "more"}))
    assert out == b""
    assert relay.done
    assert relay.end() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"data: {not json}\n\n",
        b"data: [1, 2]\n\n",
        b'data: {"choices": 3}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
        b'data: {"error": {"message": "overloaded"}}\n\n',
    ],
)
def test_what_cannot_be_understood_is_a_failure(data: bytes) -> None:
    with pytest.raises(Failure) as failure:
        Relay(OWN, usage=False).feed(data)
    assert failure.value.status == 502


def test_a_stream_that_breaks_off_is_not_whole() -> None:
    relay = Relay(OWN, usage=False)
    relay.feed(chunk({"content": "Half of"}))
    with pytest.raises(Failure, match="broke off"):
        relay.end()
    assert relay.answer.text == "Half of"


@pytest.mark.parametrize("head", [b'{"id": "chatcmpl-upstream", ', b"{"])
def test_a_character_may_come_in_two_halves(head: bytes) -> None:
    relay = Relay(OWN, usage=False)
    rest = b'"choices": [{"delta": {"content": "%b"}}]}\n\n'
    halves = [b"data: " + head + rest % half for half in (rb"\ud83d", rb"\ude00")]
    out = b"".join(relay.feed(each) for each in [*halves, chunk({"content": "!"}, "stop")])
    assert "".join(each["choices"][0]["delta"]["content"] for each in decoded(out)) == "\ud83d\ude00!"
    assert OWN.encode() in out
    assert relay.answer.message()["content"] == "\U0001f600!"
    alone = Relay(OWN, usage=False)
    alone.feed(halves[0])
    assert alone.answer.text == "\ufffd"  # can be stored


@pytest.mark.parametrize("data", [b"data: {oops\n\n", b'data: {"error": {"message": "late"}}\n\n', b"data: {oops"])
def test_what_goes_wrong_after_all_was_said_is_an_end(data: bytes) -> None:
    relay = Relay(OWN, usage=False)
    out = relay.feed(chunk({"content": "All."}) + chunk({}, "stop") + data) + relay.end()
    assert len(decoded(out)) == 2
    assert relay.answer.text == "All."


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    events = Events()
    events.feed(b"x" * LARGEST_EVENT)
    with pytest.raises(Failure, match="without an end"):
        events.feed(b"x")


@given(st.binary(max_size=300))
def test_any_bytes_are_events_or_a_failure(data: bytes) -> None:
    relay = Relay(OWN, usage=False)
    out = b""
    with suppress(Failure):
        out = relay.feed(b"data: " + data + b"\n\n")
    assert not out or OWN.encode() in out or out.startswith(b":")
