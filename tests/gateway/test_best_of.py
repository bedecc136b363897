"""Which of several answers is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from bondhu.serve.gateway.best_of import Answer, asking, chosen, preferred, said
from tests.gateway.place import HELLO, folder, served
from tests.gateway.scripted import model, plain, whole

TEXTS = ["Forty two.", "41", "forty  TWO.", "It is 41, and that is all there is to say.", ""]


@pytest.mark.parametrize(("judge", "number"), [("votes", 0), ("shortest", 1), ("longest", 3), ("", 0)])
def test_the_judges(judge: str, number: int) -> None:
    assert chosen([*map(Answer, TEXTS)], judge) == number


def test_an_empty_answer_is_taken_only_where_all_are() -> None:
    assert chosen([Answer(""), Answer("a")], "shortest") == 1
    assert chosen([Answer(""), Answer("")], "votes") == 0


def calling(arguments: str, name: str = "look", content: str | None = None) -> Answer:
    call = {"id": f"call_{arguments}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return said({"role": "assistant", "content": content, "tool_calls": [call]})


NO = Answer("I cannot")
ONE, ALIKE, OTHER = (
    calling('{"a": 1, "b": [2]}'),
    calling('{"b":[2],"a":1}', content="Let me see."),
    calling('{"a": 2}'),
)


@pytest.mark.parametrize(
    ("answers", "judge", "number"),
    [
        ([OTHER, ONE, ALIKE, NO], "votes", 1),  # whatever their ids, their order of keys, and what is said beside
        ([NO, ONE, ALIKE], "votes", 1),
        ([ONE, NO, NO, OTHER], "votes", 1),
        ([ONE, calling('{"a": 1, "b": [2]}', "find"), calling("not JSON"), calling(" not  JSON")], "votes", 2),
        ([ONE, NO], "shortest", 1),  # what people read, where there is some
        ([NO, ONE], "longest", 0),
        ([ONE, OTHER], "shortest", 1),
        ([OTHER, ONE], "longest", 1),
        ([Answer(""), ONE], "", 1),
    ],
)
def test_calls_of_tools_are_answers_too(answers: list[Answer], judge: str, number: int) -> None:
    assert chosen(answers, judge) == number


def test_calls_are_the_same_in_any_order_and_as_they_were_written_before_there_were_several() -> None:
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    assert said({"tool_calls": calls}) == said({"tool_calls": calls[::-1], "content": None})
    assert said({"function_call": calls[0]["function"]}) == said({"tool_calls": calls[:1]})
    assert said({"tool_calls": [None, {"function": 3}], "content": [1]}).calls == '["",""]'
    assert said({"tool_calls": None, "content": None}) == Answer("")


@pytest.mark.parametrize(("reply", "number"), [("2", 1), ("Answer 3 is best.", 2), ("99", 0), ("none", 0), ("0", 0)])
def test_a_judging_model_names_a_number(reply: str, number: int) -> None:
    assert preferred(reply, 3, 0) == number


def test_a_judging_model_is_shown_question_and_answers() -> None:
    body = asking([{"role": "user", "content": "Why?"}], ["a", "b"], "wise")
    assert body["model"] == "wise"
    assert "Why?" in body["messages"][1]["content"]
    assert "Answer 2:\nb" in body["messages"][1]["content"]


STRATEGIES = """
[strategies.model.small]
upstream = "local"
model = "tiny"
samples = 3
judge = "{judge}"
"""


def test_the_most_frequent_answer_is_given_and_all_are_paid(tmp_path: Path) -> None:
    with model() as tiny, served(folder(tmp_path, {"local": tiny}, strategies=STRATEGIES.format(judge="votes"))) as one:
        tiny.plays(whole("Five."), whole("Four."), whole("four."))
        status, _, body = one.ask()
        assert status == 200
        assert body["choices"][0]["message"]["content"].lower() == "four."
        assert body["usage"]["total_tokens"] == 3 * 18
        _, said, kept = one.facts(body["id"])
        assert said["tokens_in"] == 33.0
        assert kept is not None
        assert kept.body["answer"]["content"].lower() == "four."


def test_as_a_stream_it_is_told_whole(tmp_path: Path) -> None:
    with (
        model() as tiny,
        served(folder(tmp_path, {"local": tiny}, strategies=STRATEGIES.format(judge="longest"))) as one,
    ):
        tiny.plays(whole("Five."), plain(500, {}), whole("Four, I think."))
        _, events = one.events({**HELLO, "stream_options": {"include_usage": True}})
        assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Four, I think."}
        assert events[1]["choices"][0]["finish_reason"] == "stop"
        assert events[2]["usage"]["total_tokens"] == 36  # one of the three failed
        assert events[3] == "[DONE]"


def test_another_model_judges(tmp_path: Path) -> None:
    strategies = STRATEGIES.format(judge="judge:wise")
    with (
        model() as tiny,
        model("wise") as wise,
        served(folder(tmp_path, {"local": tiny, "judge": wise}, strategies=strategies)) as one,
    ):
        tiny.plays(whole("Five."), whole("Four."), whole("Six."))
        wise.plays(whole("2"))
        _, _, body = one.ask()
        shown = wise.asked[0].body["messages"][1]["content"]
        second = shown.partition("Answer 2:\n")[2].partition("\n")[0]
        assert body["choices"][0]["message"]["content"] == second
        assert body["usage"]["total_tokens"] == 4 * 18
        wise.plays(plain(500, {}))
        assert one.ask()[0] == 200  # a judge that fails costs no answer
