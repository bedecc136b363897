"""The official client, unchanged, against a gateway: only its address is another one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway.place import LONG, Served, folder, served
from tests.gateway.scripted import Model, chunk, completion, model, plain, stream, streamed, told, whole

MESSAGES: Any = [{"role": "user", "content": "What is a list?"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"word": "list"}'}}
TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    more = "[server]\nlargest_body = 4096\n"
    with served(folder(tmp_path_factory.mktemp("gateway"), {"local": tiny}, more=more)) as one:
        yield one


@pytest.fixture
def client(gateway: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base, api_key="any", max_retries=0, timeout=LONG) as made:
        yield made


def test_an_answer(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(whole("A sequence."))
    answer = client.chat.completions.create(model="bondhu", messages=MESSAGES, user="ann")
    assert answer.choices[0].message.content == "A sequence."
    assert answer.usage is not None
    assert answer.usage.total_tokens == 18
    decision, said, kept = gateway.facts(answer.id)
    assert decision.user == "ann"
    assert said["tokens_out"] == 7.0
    assert kept is not None
    assert kept.body["status"] == "answered"


def test_a_stream(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(streamed("A ", "sequence", "."))
    with client.chat.completions.create(model="bondhu", messages=MESSAGES, stream=True) as events:
        chunks = list(events)
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == "A sequence."
    assert all(each.usage is None for each in chunks)
    assert len({each.id for each in chunks}) == 1
    _, said, kept = gateway.facts(chunks[0].id)
    assert said["tokens_in"] == 11.0  # counted, though nobody asked to see it
    assert kept is not None
    assert kept.body["answer"] == {"role": "assistant", "content": "A sequence."}


def test_a_stream_with_its_usage(client: openai.OpenAI, tiny: Model) -> None:
    tiny.plays(streamed("Yes."))
    chunks = list(
        client.chat.completions.create(
            model="bondhu", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 7
    assert chunks[-1].choices == []


def test_tools(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(whole(None, tool_calls=[CALL]))
    answer = client.chat.completions.create(model="bondhu", messages=MESSAGES, tools=TOOLS, tool_choice="auto")
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].id == "call_1"
    assert tiny.asked[0].body["tools"] == TOOLS
    assert tiny.asked[0].body["tool_choice"] == "auto"
    _, _, kept = gateway.facts(answer.id)
    assert kept is not None
    assert kept.body["answer"]["tool_calls"][0]["function"]["name"] == "look"
    told_back = [*MESSAGES, {"role": "assistant", "tool_calls": [CALL]},
                 {"role": "tool", "tool_call_id": "call_1", "content": "a sequence"}]  # fmt: skip
    tiny.plays(whole("It is a sequence."))
    again = client.chat.completions.create(model="bondhu", messages=told_back, tools=TOOLS)
    assert again.choices[0].message.content == "It is a sequence."
    assert tiny.asked[0].body["messages"] == told_back


def test_tools_in_a_stream(client: openai.OpenAI, tiny: Model) -> None:
    named = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    rest = {"index": 0, "function": {"arguments": '{"word": "list"}'}}
    tiny.plays(stream([chunk({"tool_calls": [named]}), chunk({"tool_calls": [rest]}), *told([])[1:]]))
    chunks = list(client.chat.completions.create(model="bondhu", messages=MESSAGES, tools=TOOLS, stream=True))
    calls = [
        each.choices[0].delta.tool_calls[0] for each in chunks if each.choices and each.choices[0].delta.tool_calls
    ]
    assert "".join(each.function.arguments or "" for each in calls if each.function) == '{"word": "list"}'
    assert calls[0].id == "call_1"


def test_headers_name_the_decision(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(whole())
    raw = client.chat.completions.with_raw_response.create(model="bondhu", messages=MESSAGES)
    answer = raw.parse()
    assert answer.id == f"chatcmpl-{raw.headers['x-bondhu-decision']}"
    assert raw.headers["x-bondhu-version"] == "baseline"
    assert raw.headers["x-bondhu-action"] == "plain/small"
    assert float(raw.headers["x-bondhu-probability"]) == 1.0
    tiny.plays(streamed("a"))
    with client.chat.completions.with_streaming_response.create(
        model="bondhu", messages=MESSAGES, stream=True
    ) as response:
        identity = response.headers["x-bondhu-decision"]
        assert next(iter(response.parse())).id == f"chatcmpl-{identity}"
    assert gateway.facts(identity)[0].id == identity


def test_the_asynchronous_client(gateway: Served, tiny: Model) -> None:
    tiny.plays(streamed("A", "B"))

    async def ask() -> tuple[str, Any]:
        async with openai.AsyncOpenAI(base_url=gateway.base, api_key="any", max_retries=0, timeout=LONG) as made:
            events = await made.chat.completions.create(model="bondhu", messages=MESSAGES, stream=True)
            text = "".join([each.choices[0].delta.content or "" async for each in events])
            tiny.plays(whole("C"))
            return text, await made.chat.completions.create(model="bondhu", messages=MESSAGES)

    text, answer = asyncio.run(ask())
    assert text == "AB"
    assert answer.choices[0].message.content == "C"


def test_models(client: openai.OpenAI) -> None:
    assert [each.id for each in client.models.list()] == ["bondhu", "chat"]
    assert client.models.retrieve("chat").id == "chat"
    with pytest.raises(openai.NotFoundError, match="'bondhu'"):
        client.models.retrieve("gpt-unknown")


@pytest.mark.parametrize(
    ("asked", "status", "error", "message"),
    [
        ({"messages": []}, 400, openai.BadRequestError, "length >= 1"),
        ({"messages": MESSAGES, "n": 2}, 400, openai.BadRequestError, "'n' is 2"),
        ({"messages": MESSAGES, "user": "x" * 200}, 400, openai.BadRequestError, "'user'"),
        ({"messages": [{"role": "king", "content": ""}]}, 400, openai.BadRequestError, "king"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, 413, openai.APIStatusError, "4096 bytes"),
    ],
)
def test_what_is_asked_wrongly(
    client: openai.OpenAI, asked: dict[str, Any], status: int, error: type[openai.APIStatusError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        client.chat.completions.create(model="bondhu", **asked)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "answered", "error"),
    [
        (400, 400, openai.BadRequestError),
        (404, 404, openai.NotFoundError),
        (422, 422, openai.UnprocessableEntityError),
        (429, 429, openai.RateLimitError),
        (401, 502, openai.InternalServerError),
        (403, 502, openai.InternalServerError),
        (500, 502, openai.InternalServerError),
        (503, 502, openai.InternalServerError),
        (504, 504, openai.InternalServerError),
        (302, 502, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
def test_what_the_model_refuses(
    client: openai.OpenAI, tiny: Model, status: int, answered: int, error: type[openai.APIStatusError], streams: bool
) -> None:
    body = {"error": {"message": "The context is too long.", "type": "odd", "param": "messages", "code": "too_long"}}
    tiny.plays(plain(status, body, {"retry-after": "7", "location": "http://127.0.0.1:9/"}))
    with pytest.raises(error) as caught:
        client.chat.completions.create(model="bondhu", messages=MESSAGES, stream=streams)
    assert caught.value.status_code == answered
    assert caught.value.response.headers["x-bondhu-decision"]
    own = status in (400, 404, 422)
    assert ("context is too long" in caught.value.message) is own
    assert caught.value.code == ("too_long" if own else caught.value.code)
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"
    tiny.plays(whole())
    for _ in range(2):  # the breaker stays closed for the next case
        client.chat.completions.create(model="bondhu", messages=MESSAGES)


def test_a_stream_that_breaks_off_is_an_error(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(stream([chunk({"content": "Half"})], ends=False, closes=True))
    events = client.chat.completions.create(model="bondhu", messages=MESSAGES, stream=True)
    first = next(events)
    assert first.choices[0].delta.content == "Half"
    with pytest.raises(openai.APIError, match="broke off"):
        list(events)
    _, said, kept = gateway.facts(first.id)
    assert said["failed"] == 1.0
    assert said["tokens_out"] == 1.0
    assert kept is not None
    assert (kept.body["status"], kept.body["code"]) == ("failed", "upstream_broken")
    assert kept.body["answer"]["content"] == "Half"


def test_the_client_tries_again_by_itself_and_that_is_no_complaint(gateway: Served, tiny: Model) -> None:
    tiny.plays(plain(500, {}), whole("There."))
    with openai.OpenAI(base_url=gateway.base, api_key="any", max_retries=1, timeout=LONG) as made:
        answer = made.chat.completions.create(model="bondhu", messages=MESSAGES, user="bob")
    assert answer.choices[0].message.content == "There."
    decisions = [gateway.facts(each) for each in gateway.logged()]
    said = [each for decision, each, _ in decisions if decision.user == "bob"]
    assert [each.get("failed") for each in said] == [1.0, None]
    assert not any("retry" in each for each in said)


def test_fields_that_are_not_known_go_through(client: openai.OpenAI, tiny: Model) -> None:
    body = {**completion("ok"), "service_tier": "default", "x": {"y": [1]}}
    tiny.plays(plain(200, body))
    answer = client.chat.completions.create(
        model="bondhu", messages=MESSAGES, seed=7, response_format={"type": "json_object"}, extra_body={"top_k": 5}
    )
    sent = tiny.asked[0].body
    assert (sent["seed"], sent["top_k"], sent["response_format"]) == (7, 5, {"type": "json_object"})
    assert answer.model_dump()["x"] == {"y": [1]}
