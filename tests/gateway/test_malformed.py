"""Whatever is sent: an answer, or an error in the one shape, and the server goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.place import HELLO, Served, folder, served
from tests.gateway.scripted import Model, either, model

SAY = {"role": "user", "content": "Hi."}


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


@pytest.fixture(scope="module")
def one(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    context = 'plan = { kind = "category", values = ["free", "paid"] }\nage = { kind = "number", range = [0, 100] }'
    with served(folder(tmp_path_factory.mktemp("malformed"), {"local": tiny}, context=context)) as made:
        tiny.plays(either())
        yield made


GOOD: dict[str, Any] = {**HELLO, "metadata": {"plan": "free", "age": "30"}}


def refused(one: Served, body: Any, status: int = 400, **headers: str) -> dict[str, Any]:
    got, told, content = one.post("/v1/chat/completions", body, **headers)
    assert got == status, content
    assert told["content-type"] == "application/json"
    answer = json.loads(content)
    assert set(answer) == {"error"}
    error: dict[str, Any] = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


MISTAKES: list[tuple[Any, str | None, str]] = [
    (b"", None, "not JSON"),
    (b"{", None, "not JSON"),
    (b"\xff\xfe", None, "not JSON"),
    (b'{"messages": [{"role": "user", "content": "\xff"}]}', None, "not JSON"),
    (b"[" * 200_000, None, "not JSON"),
    (b"[]", None, "not an object"),
    (b"null", None, "not an object"),
    (b"12", None, "not an object"),
    (b'{"messages": NaN}', None, "not JSON"),
    ({}, "messages", "missing"),
    ({"messages": None}, "messages", "array"),
    ({"messages": "Hi."}, "messages", "array"),
    ({"messages": []}, "messages", "length"),
    ({"messages": [3]}, "messages[0]", "object"),
    ({"messages": [{}]}, "messages[0].role", "role"),
    ({"messages": [{"role": "root", "content": "Hi."}]}, "messages[0].role", "root"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "int"),
    ({"messages": [{"role": "user", "content": ["Hi."]}]}, "messages[0].content[0]", "object"),
    ({"messages": [SAY], "stream": "yes"}, "stream", "bool"),
    ({"messages": [SAY], "stream_options": []}, "stream_options", "object"),
    ({"messages": [SAY], "tools": {}}, "tools", "array"),
    ({"messages": [SAY], "metadata": "x"}, "metadata", "object"),
    ({"messages": [SAY], "max_tokens": -1}, "max_tokens", ">= 0"),
    ({"messages": [SAY], "max_tokens": 1e400}, None, "not JSON"),
    ({"messages": [SAY], "n": 3}, "n", "of its own"),
    ({"messages": [SAY], "user": 5}, "user", "str"),
    ({"messages": [SAY], "user": "a\nb"}, "user", "printable"),
    ({"messages": [SAY], "user": "x" * 129}, "user", "128"),
    ({"messages": [SAY], "metadata": {"session": 3}}, "session", "printable"),
    ({"messages": [SAY]}, "metadata.plan", "plan"),
    ({"messages": [SAY], "metadata": {"plan": "gold", "age": 3}}, "plan", "gold"),
    ({"messages": [SAY], "metadata": {"plan": "free", "age": "old"}}, "age", "old"),
    ({"messages": [SAY], "metadata": {"plan": "free", "age": 1e9}}, "age", "100"),
]


@pytest.mark.parametrize(("body", "param", "says"), MISTAKES)
def test_mistakes_are_named(one: Served, body: Any, param: str | None, says: str) -> None:
    error = refused(one, body)
    assert error["param"] == param
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"


def test_other_methods_and_paths(one: Served) -> None:
    status, _, content = one.post("/v1/chat/completions", None)
    assert (status, json.loads(content)["error"]["code"]) == (405, "not_taken")
    assert one.post("/v1/models", HELLO)[0] == 405
    assert one.post("/v1/models/nothing", None)[0] == 404
    assert one.post("/v1/chat/completions/", HELLO)[0] == 404  # the framework's own


@pytest.mark.parametrize("name", ["x_bondhu_user", "x_bondhu_session"])
def test_names_in_headers_are_checked_as_those_in_bodies(one: Served, name: str) -> None:
    assert "printable" in refused(one, GOOD, **{name: "x" * 129})["message"]
    assert one.ask(GOOD, **{name: "somebody"})[0] == 200


FINE: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi."}, {"type": "image_url", "image_url": {}}]}
        ]
    },
    {"messages": [{"role": "user", "content": None}]},
    {"messages": [{"role": "assistant", "content": "Hi."}]},
    {"messages": [{"role": "user", "content": [{"type": "text"}, {"text": 3}, {}]}]},
    {"messages": [SAY], "stream": None, "n": None, "tools": None, "user": None, "stream_options": None},
    {"messages": [SAY], "stream_options": {"include_usage": True}},
    {"messages": [SAY], "temperature": "warm", "logit_bias": {"1": [None]}},
    {"messages": [{"role": "user", "content": "\0\u202e" + "x" * 100_000}]},
]


@pytest.mark.parametrize("body", FINE)
@pytest.mark.parametrize("streams", [False, True])
def test_what_is_odd_but_right_is_answered(one: Served, body: dict[str, Any], streams: bool) -> None:
    sent = {**body, "metadata": GOOD["metadata"], "stream": streams}
    status, headers, _ = one.post("/v1/chat/completions", sent)
    assert status == 200
    assert one.facts(headers["x-bondhu-decision"])[2] is not None


def test_half_of_a_character_is_refused_or_stored(one: Served) -> None:
    body = b'{"messages": [{"role": "user", "content": "\\ud800"}], "metadata": {"plan": "free", "age": 1}}'
    status, headers, content = one.post("/v1/chat/completions", body)
    assert status == (200 if "x-bondhu-decision" in headers else 400), content


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELD = st.sampled_from(
    [
        "messages",
        "stream",
        "n",
        "user",
        "metadata",
        "tools",
        "max_tokens",
        "stream_options",
        "model",
        "store",
        "strategy",
    ]
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(changes=st.dictionaries(FIELD, JSON, max_size=3))
def test_any_json_is_answered_or_refused_in_the_one_shape(one: Served, changes: dict[str, Any]) -> None:
    body = json.dumps({**GOOD, **changes}).encode()
    status, headers, content = one.post("/v1/chat/completions", body)
    assert status in (200, 400), content
    if status == 400:
        assert set(json.loads(content)["error"]) == {"message", "type", "param", "code"}
    else:
        assert headers["x-bondhu-action"] == "plain/small"


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused(one: Served, body: bytes) -> None:
    assert refused(one, body)["code"] in ("malformed", "invalid_input")


def test_the_document_describes_the_routes(one: Served) -> None:
    status, _, content = one.post("/openapi.json", None)
    document = json.loads(content)
    assert status == 200
    assert document["paths"]["/v1/chat/completions"]["post"]["security"] == []
    assert "429" in document["paths"]["/v1/models"]["get"]["responses"]
    assert "user" in document["components"]["schemas"]["Said"]["properties"]
