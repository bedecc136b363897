"""Requests of OpenAI's Responses API that cannot be served: each gets one error that names the field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bondhu.errors import LONGEST_NAME, InvalidInput, nearest
from bondhu.serve.gateway.response_input import understood
from tests.gateway.place import Served, folder, served
from tests.gateway.scripted import Model, either, model, whole

ASKED = "What is a list?"


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    more = "[server]\nlargest_body = 4096\n"
    with served(folder(tmp_path_factory.mktemp("responses"), {"local": tiny}, more=more)) as one:
        yield one


SAY = {"role": "user", "content": "Hi."}
MISTAKES: list[tuple[Any, str | None, str]] = [
    (b"", None, "not JSON"),
    (b"\xff\xfe", None, "not JSON"),
    (b"[" * 3000, None, "not JSON"),
    ([], None, "not an object"),
    ({}, "input", "missing"),
    ({"messages": [SAY]}, "input", "missing"),
    ({"input": None}, "input", "null"),
    ({"input": []}, "input", "length"),
    ({"input": 7}, "input", "int"),
    ({"input": [7]}, "input[0]", "object"),
    ({"input": [{}]}, "input[0].role", "role"),
    ({"input": [{"role": "king", "content": ""}]}, "input[0].role", "king"),
    ({"input": [SAY, {"role": "user"}]}, "input[1].content", "missing"),
    ({"input": [{"role": "user", "content": 7}]}, "input[0].content", "int"),
    ({"input": [{"role": "user", "content": [{"text": "Hi."}]}]}, "input[0].content[0].type", "None"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text", "missing"),
    ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type", "input_audio"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
     "input[0].content[0].file_id", "'f'"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type", "item_reference"),
    ({"input": [{"type": ["message"]}]}, "input[0].type", "message"),
    ({"input": [{"type": "reasoning", "summary": []}]}, "input", "no message"),
    ({"input": [{"type": "function_call", "name": "look"}]}, "input[0].call_id", "missing"),
    ({"input": [{"type": "function_call_output", "call_id": "1", "output": None}]}, "input[0].output", "null"),
    ({"input": "Hi.", "previous_response_id": "resp_1"}, "previous_response_id", "resp_1"),
    ({"input": "Hi.", "conversation": {"id": "conv_1"}}, "conversation", "conv_1"),
    ({"input": "Hi.", "prompt": {"id": "pmpt_1"}}, "prompt", "pmpt_1"),
    ({"input": "Hi.", "store": True}, "store", "True"),
    ({"input": "Hi.", "background": True}, "background", "True"),
    ({"input": "Hi.", "truncation": "auto"}, "truncation", "auto"),
    ({"input": "Hi.", "include": ["message.output_text.logprobs"]}, "include[0]", "logprobs"),
    ({"input": "Hi.", "tools": [{"type": "web_search"}]}, "tools[0].type", "web_search"),
    ({"input": "Hi.", "tools": [{"type": "function"}]}, "tools[0].name", "missing"),
    ({"input": "Hi.", "tools": {}}, "tools", "array"),
    ({"input": "Hi.", "tool_choice": "some"}, "tool_choice", "some"),
    ({"input": "Hi.", "tool_choice": {"type": "web_search"}}, "tool_choice.type", "web_search"),
    ({"input": "Hi.", "tool_choice": {"type": "function"}}, "tool_choice.name", "missing"),
    ({"input": "Hi.", "reasoning": {"summary": "detailed"}}, "reasoning.summary", "detailed"),
    ({"input": "Hi.", "reasoning": "high"}, "reasoning", "object"),
    ({"input": "Hi.", "text": {"format": {"type": "grammar"}}}, "text.format.type", "grammar"),
    ({"input": "Hi.", "text": {"format": {"type": "json_schema"}}}, "text.format.name", "missing"),
    ({"input": "Hi.", "max_output_tokens": -1}, "max_output_tokens", ">= 0"),
    ({"input": "Hi.", "stream": "yes"}, "stream", "bool"),
    ({"input": "Hi.", "n": 2}, "n", "of its own"),
    ({"input": "Hi.", "user": "x" * 200}, "user", "128"),
    ({"input": "Hi.", "metadata": "x"}, "metadata", "object"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param", "says"), MISTAKES)
def test_mistakes_are_named(gateway: Served, tiny: Model, body: Any, param: str | None, says: str) -> None:
    tiny.plays(whole())
    status, headers, content = gateway.post("/v1/responses", body)
    assert status == 400, content
    error = json.loads(content)["error"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert says in error["message"]
    assert int(headers["content-length"]) == len(content)
    assert tiny.asked == []


@pytest.mark.parametrize(
    "more",
    [
        {
            "store": False,
            "background": False,
            "previous_response_id": None,
            "truncation": "disabled",
            "top_logprobs": 0,
        },
        {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}, "max_tool_calls": 3},
        {"tools": None, "text": None, "stream": None, "user": None, "metadata": None, "instructions": None},
        {"stream_options": {"include_obfuscation": False}, "stream": True},
    ],
)
def test_what_says_nothing_is_taken(gateway: Served, tiny: Model, more: dict[str, Any]) -> None:
    tiny.plays(either())
    status, headers, content = gateway.post("/v1/responses", {"input": ASKED, **more})
    assert status == 200, content
    assert gateway.facts(headers["x-bondhu-decision"])[2] is not None
    assert set(tiny.asked[0].body) <= {"messages", "model", "stream", "stream_options"}


LONG = "message" * 200_000


@pytest.mark.parametrize(
    "asked",
    [
        {"input": [{"type": LONG}]},
        {"input": [{"role": "user", "content": [{"type": LONG}]}]},
        {"input": "Hi.", "tool_choice": LONG},
        {"input": "Hi.", "text": {"format": {"type": LONG}}},
    ],
)
def test_of_a_name_that_is_endless_only_the_beginning_is_looked_at_and_told(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        understood(asked)
    assert refused.value.what.endswith(f" is '{LONG[:79]}, which is not served here.")
    assert "It must be one of" in refused.value.fix
    assert len(refused.value.fix) < 300


def test_names_are_compared_by_their_beginning() -> None:
    same = "a" * LONGEST_NAME
    assert nearest(same + "z" * 1_000_000, [same]) == f"Did you mean {same!r}?"


def test_other_methods_and_bodies_that_are_too_large(gateway: Served) -> None:
    status, _, content = gateway.post("/v1/responses", None)
    assert (status, json.loads(content)["error"]["code"]) == (405, "not_taken")
    status, _, content = gateway.post("/v1/responses", {"input": "x" * 5000})
    assert (status, json.loads(content)["error"]["message"].startswith("The body has more than 4096")) == (413, True)
    assert gateway.post("/v1/responses/resp_1", None)[0] == 404


def test_keys_are_asked_for_as_of_a_chat(tiny: Model, tmp_path: Any) -> None:
    with served(folder(tmp_path, {"local": tiny}, more="[server]\nkeys = true\n")) as one:
        status, _, content = one.post("/v1/responses", {"input": ASKED})
    assert (status, json.loads(content)["error"]["code"]) == (401, "invalid_api_key")


def test_the_document_describes_the_route(gateway: Served) -> None:
    document = json.loads(gateway.post("/openapi.json", None)[2])
    route = document["paths"]["/v1/responses"]["post"]
    assert route["operationId"] == "responses"
    assert route["requestBody"]["content"]["application/json"]["schema"]["required"] == ["input"]
    assert {"200", "400", "429"} <= set(route["responses"])
