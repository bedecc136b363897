"""OpenAI's Responses API at the same gateway, asked by the official client: a chat in other words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.gateway.place import LONG, Served, folder, served
from tests.gateway.scripted import Model, chunk, completion, model, plain, stream, streamed, told, whole
from tests.service.serving import eventually

ASKED = "What is a list?"
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"word": "list"}'}}
PARAMETERS = {"type": "object", "properties": {"word": {"type": "string"}}}
TOOLS: Any = [{"type": "function", "name": "look", "description": "Looks.", "parameters": PARAMETERS, "strict": True}]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    gateway = "breaker_failures = 1000"
    path = folder(tmp_path_factory.mktemp("responses"), {"local": tiny}, gateway=gateway)
    with served(path) as one:
        yield one


@pytest.fixture
def client(gateway: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base, api_key="any", max_retries=0, timeout=LONG) as made:
        yield made


def decided(answer: Any) -> str:
    """The id of the decision behind a response."""
    identity: str = answer.id
    assert identity.startswith("resp_")
    return identity.removeprefix("resp_")


def events_of(gateway: Served, **more: Any) -> list[dict[str, Any]]:
    """The events of a stream as they are sent, each of them as the protocol has it."""
    status, headers, content = gateway.post("/v1/responses", {"input": ASKED, "stream": True, **more})
    assert status == 200, content
    assert headers["content-type"].startswith("text/event-stream")
    events = []
    for each in content.decode().split("\n\n")[:-1]:
        kind, data = each.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert kind == f"event: {event['type']}"
        EVENT.validate_python(event)
        events.append(event)
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    return events


# --------------------------------------------------------------------------------------------------------------- whole


def test_an_answer(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(whole("A sequence."))
    answer = client.responses.create(
        model="bondhu", input=ASKED, instructions="Be short.", user="ann", temperature=0.5, max_output_tokens=50,
        metadata={"topic": "lists"},
    )  # fmt: skip
    Response.model_validate(answer.model_dump())
    assert (answer.output_text, answer.status, answer.model) == ("A sequence.", "completed", "tiny-1")
    assert (answer.instructions, answer.temperature, answer.metadata) == ("Be short.", 0.5, {"topic": "lists"})
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (11, 7, 18)
    sent = tiny.asked[0].body
    assert sent["messages"] == [{"role": "system", "content": "Be short."}, {"role": "user", "content": ASKED}]
    assert (sent["temperature"], sent["max_tokens"], sent["model"]) == (0.5, 50, "tiny")
    assert "metadata" not in sent
    assert "input" not in sent
    decision, said, kept = gateway.facts(decided(answer))
    assert decision.user == "ann"
    assert (said["tokens_in"], said["tokens_out"]) == (11.0, 7.0)
    assert said["cost"] > 0
    assert kept is not None
    assert kept.body["status"] == "answered"
    assert kept.body["messages"][1] == {"role": "user", "content": ASKED}
    assert kept.body["answer"] == {"role": "assistant", "content": "A sequence."}


def test_the_decision_is_told_as_in_a_chat(client: openai.OpenAI, tiny: Model) -> None:
    tiny.plays(whole())
    raw = client.responses.with_raw_response.create(model="bondhu", input=ASKED)
    assert raw.headers["x-bondhu-decision"] == decided(raw.parse())
    assert (raw.headers["x-bondhu-version"], raw.headers["x-bondhu-action"]) == ("baseline", "plain/small")
    assert float(raw.headers["x-bondhu-probability"]) == 1.0


def test_feedback_takes_the_id_of_a_response(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(whole())
    answer = client.responses.create(model="bondhu", input=ASKED, user="bob")
    said = {"decision_id": answer.id, "signal": "like", "user": "bob"}
    assert gateway.post("/v1/feedback", said)[0] == 200
    assert gateway.facts(decided(answer))[1]["like"] == 1.0
    status, _, content = gateway.post("/v1/feedback", {**said, "user": "eve"})
    assert status == 403, content
    status, _, content = gateway.post(f"/v1/decisions/{answer.id}", None)
    assert (status, json.loads(content)["decision"]["id"]) == (200, decided(answer))


def test_tools(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    second = {**CALL, "id": "call_2"}
    tiny.plays(whole("Let me look.", tool_calls=[CALL, second]))
    asked: list[Any] = [{"role": "user", "content": ASKED}]
    choice: Any = {"type": "function", "name": "look"}
    answer = client.responses.create(model="bondhu", input=asked, tools=TOOLS, tool_choice=choice)
    function = {"name": "look", "description": "Looks.", "parameters": PARAMETERS, "strict": True}
    assert tiny.asked[0].body["tools"] == [{"type": "function", "function": function}]
    assert tiny.asked[0].body["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert [each.type for each in answer.output] == ["message", "function_call", "function_call"]
    call = answer.output[1]
    assert call.type == "function_call"
    assert (call.call_id, call.name, call.arguments) == ("call_1", "look", '{"word": "list"}')
    assert gateway.facts(decided(answer))[2] is not None
    for each in answer.output:
        asked.append(each.model_dump(exclude_none=True))
    asked += [
        {"type": "function_call_output", "call_id": "call_1", "output": "a sequence"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "a row"}]},
    ]
    tiny.plays(whole("It is a sequence."))
    again = client.responses.create(model="bondhu", input=asked, tools=TOOLS)
    assert again.output_text == "It is a sequence."
    assert tiny.asked[0].body["messages"] == [
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a sequence"},
        {"role": "tool", "tool_call_id": "call_2", "content": "a row"},
    ]


class Entry(BaseModel):
    word: str


def test_an_answer_in_a_shape(client: openai.OpenAI, tiny: Model) -> None:
    tiny.plays(whole('{"word": "list"}'))
    answer = client.responses.parse(model="bondhu", input=ASKED, text_format=Entry, reasoning={"effort": "low"},
                                    max_output_tokens=9)  # fmt: skip
    assert answer.output_parsed == Entry(word="list")
    sent = tiny.asked[0].body
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["response_format"]["json_schema"]["name"] == "Entry"
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["word"]
    assert (sent["reasoning_effort"], sent["max_completion_tokens"]) == ("low", 9)


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_is_cut(client: openai.OpenAI, gateway: Served, tiny: Model, finish: str, reason: str) -> None:
    body = completion("Half")
    body["choices"][0]["finish_reason"] = finish
    tiny.plays(plain(200, body))
    answer = client.responses.create(model="bondhu", input=ASKED)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == reason
    tiny.plays(stream([chunk({"content": "Half"}), chunk({}, finish), b"data: [DONE]\n\n"]))
    last = events_of(gateway)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_a_refusal(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(whole(None, refusal="No."))
    (item,) = client.responses.create(model="bondhu", input=ASKED).output
    assert item.type == "message"
    assert [each.to_dict() for each in item.content] == [{"type": "refusal", "refusal": "No."}]
    tiny.plays(stream([chunk({"refusal": "N"}), chunk({"refusal": "o."}), *told([])[1:]]))
    events = events_of(gateway)
    assert [each["delta"] for each in events if each["type"] == "response.refusal.delta"] == ["N", "o."]
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_what_was_said_before_and_other_parts(client: openai.OpenAI, tiny: Model) -> None:
    tiny.plays(whole())
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
    asked: Any = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "See"}, picture]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "I see.", "annotations": []}]},
        {"role": "user", "content": "And?"},
    ]  # fmt: skip
    client.responses.create(model="bondhu", input=asked, extra_body={"top_k": 5}, top_p=0.5)
    sent = tiny.asked[0].body
    assert sent["messages"] == [
        {"role": "developer", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": "And?"},
    ]
    assert (sent["top_k"], sent["top_p"]) == (5, 0.5)


# -------------------------------------------------------------------------------------------------------------- streams


def test_a_stream(gateway: Served, tiny: Model) -> None:
    tiny.plays(streamed("A ", "sequence", "."))
    events = events_of(gateway)
    assert [each["type"].removeprefix("response.") for each in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 3,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert "".join(each["delta"] for each in events[4:7]) == "A sequence."
    assert events[7]["text"] == "A sequence."
    last = events[-1]["response"]
    assert last["output"] == [events[-2]["item"]]
    assert last["usage"]["total_tokens"] == 18
    assert {each["response"]["id"] for each in events if "response" in each} == {last["id"]}
    _, said, kept = gateway.facts(last["id"].removeprefix("resp_"))
    assert said["tokens_out"] == 7.0
    assert kept is not None
    assert kept.body["answer"] == {"role": "assistant", "content": "A sequence."}


def test_a_stream_as_the_client_gathers_it(client: openai.OpenAI, tiny: Model) -> None:
    tiny.plays(streamed("A ", "sequence."))
    with client.responses.stream(model="bondhu", input=ASKED) as events:
        texts = [each.delta for each in events if each.type == "response.output_text.delta"]
        answer = events.get_final_response()
    assert texts == ["A ", "sequence."]
    assert answer.output_text == "A sequence."


def test_tools_in_a_stream(gateway: Served, tiny: Model, client: openai.OpenAI) -> None:
    def call(index: int, **function: str) -> bytes:
        return chunk({"tool_calls": [{"index": index, "id": f"call_{index}", "function": function}]})

    pieces = [
        chunk({"content": "Let me look."}),
        call(0, name="look", arguments=""),
        call(0, arguments='{"word": '),
        call(1, name="find", arguments="{}"),
        call(0, arguments='"list"}'),
        chunk({}, "tool_calls"),
        b"data: [DONE]\n\n",
    ]
    tiny.plays(stream(pieces))
    events = events_of(gateway, tools=TOOLS)
    kinds = [each["type"].removeprefix("response.") for each in events]
    assert kinds.index("output_item.done") < kinds.index("function_call_arguments.delta")  # first the message ends
    deltas = [each for each in events if each["type"] == "response.function_call_arguments.delta"]
    assert [(each["output_index"], each["delta"]) for each in deltas] == [
        (1, '{"word": '), (2, "{}"), (1, '"list"}')
    ]  # fmt: skip
    done = [each for each in events if each["type"] == "response.function_call_arguments.done"]
    assert [each["arguments"] for each in done] == ['{"word": "list"}', "{}"]
    output = events[-1]["response"]["output"]
    assert [(each["type"], each.get("call_id"), each.get("name")) for each in output] == [
        ("message", None, None),
        ("function_call", "call_0", "look"),
        ("function_call", "call_1", "find"),
    ]
    tiny.plays(stream(pieces))
    with client.responses.stream(model="bondhu", input=ASKED, tools=TOOLS) as gathered:
        answer = gathered.get_final_response()
    assert [each.type for each in answer.output] == ["message", "function_call", "function_call"]


def test_halves_of_characters_are_put_together(gateway: Served, tiny: Model) -> None:
    halves = [chunk({"content": "x"}).replace(b'"x"', each) for each in (b'"a\\ud83d"', b'"\\ude00b"', b'"c"')]
    tiny.plays(stream([*halves, *told([])[1:]]))
    events = events_of(gateway)
    assert [each["delta"] for each in events if each["type"].endswith("text.delta")] == ["a", "\U0001f600b", "c"]
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "a\U0001f600bc"


def test_the_best_of_several_as_a_stream(tiny: Model, tmp_path: Any) -> None:
    strategies = '[strategies.model.small]\nupstream = "local"\nmodel = "tiny"\nsamples = 2\njudge = "longest"\n'
    with served(folder(tmp_path, {"local": tiny}, strategies=strategies)) as one:
        tiny.plays(whole("One."), whole("One or two."))
        events = events_of(one)
    assert [each["delta"] for each in events if each["type"].endswith("text.delta")] == ["One or two."]
    assert events[-1]["response"]["usage"]["output_tokens"] == 14  # of both


def test_a_fault_in_mid_stream(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(stream([chunk({"content": "Half"})], ends=False, closes=True))
    events: list[Any] = list(client.responses.create(model="bondhu", input=ASKED, stream=True))
    assert [each.type.removeprefix("response.") for each in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "failed",
    ]
    failed = events[-1].response
    EVENT.validate_python(events[-1].model_dump())
    assert (failed.status, failed.error.code) == ("failed", "server_error")
    assert "broke off" in failed.error.message
    _, said, kept = gateway.facts(decided(failed))
    assert (said["failed"], said["tokens_out"]) == (1.0, 1.0)
    assert kept is not None
    assert (kept.body["status"], kept.body["code"]) == ("failed", "upstream_broken")
    assert kept.body["answer"]["content"] == "Half"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("status", "answered", "error"),
    [(400, 400, openai.BadRequestError), (429, 429, openai.RateLimitError), (500, 502, openai.InternalServerError)],
)
def test_what_the_model_refuses(
    client: openai.OpenAI, tiny: Model, status: int, answered: int, error: type[openai.APIStatusError], streams: bool
) -> None:
    tiny.plays(plain(status, {"error": {"message": "Too long.", "code": "too_long"}}, {"retry-after": "7"}))
    with pytest.raises(error) as caught:
        client.responses.create(model="bondhu", input=ASKED, stream=streams)
    assert caught.value.status_code == answered
    assert caught.value.response.headers["x-bondhu-decision"]
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_a_client_that_leaves_in_mid_stream(client: openai.OpenAI, gateway: Served, tiny: Model) -> None:
    tiny.plays(tiny.held(stream([chunk({"content": "One "})], ends=False), stream([], starts=False)))
    left = tiny.left
    events = client.responses.create(model="bondhu", input=ASKED, stream=True)
    first: Any = next(iter(events))
    events.close()
    eventually(lambda: tiny.left > left, "The upstream was not told.")
    said = eventually(lambda: gateway.facts(decided(first.response))[1])
    assert said["disconnected"] == 1.0


def test_the_asynchronous_client(gateway: Served, tiny: Model) -> None:
    tiny.plays(streamed("A", "B"))

    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=gateway.base, api_key="any", max_retries=0, timeout=LONG) as made:
            events = await made.responses.create(model="bondhu", input=ASKED, stream=True)
            return "".join([each.delta async for each in events if each.type == "response.output_text.delta"])

    assert asyncio.run(ask()) == "AB"
