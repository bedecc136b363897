"""Actions as ways to ask: joined over parts, applied to a request, chosen by nothing that a request says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.domains.assistant.strategies import Strategy, applied, strategies
from bondhu.errors import SettingsInvalid, UnknownName

PARTS = {"style": ("plain", "steps", "shown"), "model": ("small", "large")}
TABLES = {
    "style": {
        "steps": {"system": "Step by step.", "temperature": 0.9},
        "shown": {"system": "As shown.", "examples": [["1 + 1?", "2"]]},
    },
    "model": {
        "small": {"upstream": "local", "model": "tiny", "temperature": 0.2},
        "large": {"upstream": "far", "model": "huge", "system": "Be brief.", "examples": [["2 + 2?", "4"]]},
    },
}
MADE = strategies(PARTS, TABLES)
USER = {"role": "user", "content": "How?"}
OWN = {"role": "system", "content": "You are Ada."}


def refused(tables, parts=PARTS):
    with pytest.raises(SettingsInvalid) as caught:
        strategies(parts, tables)
    return caught.value


def test_a_value_without_a_table_changes_nothing():
    assert MADE.of("plain/small") == Strategy(upstream="local", model="tiny", temperature=0.2)


def test_later_parts_win():
    assert MADE.of("steps/small").temperature == 0.2
    assert MADE.of("steps/large").temperature == 0.9


def test_systems_are_joined_by_a_blank_line_and_examples_follow_one_another():
    strategy = MADE.of("shown/large")
    assert strategy.system == "As shown.\n\nBe brief."
    assert strategy.examples == (("1 + 1?", "2"), ("2 + 2?", "4"))


def test_a_single_part_may_have_names_with_slashes():
    made = strategies({"action": ("a/b", "c")}, {"action": {"a/b": {"model": "m"}}})
    assert made.of("a/b").model == "m"


@pytest.mark.parametrize(
    ("action", "fix"),
    [
        ("stepz/small", "'steps'"),
        ("steps/smal", "'small'"),
        ("steps", "'plain/small'"),
        ("a/b/c", "'plain/small'"),
        ("", "'plain/small'"),
    ],
)
def test_an_action_that_is_none_is_refused_with_the_nearest(action, fix):
    with pytest.raises(UnknownName) as caught:
        MADE.of(action)
    assert fix in caught.value.fix
    assert caught.value.value == action


@pytest.mark.parametrize(
    ("tables", "field", "fix"),
    [
        ({"stile": {}}, "strategies.stile", "'style'"),
        ({"style": {"stepz": {}}}, "strategies.style.stepz", "'steps'"),
        ({"style": {"steps": {"sistem": "x"}}}, "strategies.style.steps.sistem", "'system'"),
        ({"style": {"steps": {"system": 3}}}, "strategies.style.steps.system", "text in quotes"),
        ({"style": {"steps": {"system": " "}}}, "strategies.style.steps.system", "text in quotes"),
        ({"style": {"steps": {"temperature": 2.5}}}, "strategies.style.steps.temperature", "0 to 2"),
        ({"style": {"steps": {"temperature": -1}}}, "strategies.style.steps.temperature", "at least 0"),
        ({"style": {"steps": {"temperature": "hot"}}}, "strategies.style.steps.temperature", "number"),
        ({"style": {"steps": {"temperature": True}}}, "strategies.style.steps.temperature", "number"),
        ({"style": {"steps": {"reasoning_effort": "hi"}}}, "strategies.style.steps.reasoning_effort", "'high'"),
        ({"style": {"steps": {"tools": "search"}}}, "strategies.style.steps.tools", '["search"]'),
        ({"style": {"steps": {"max_tokens": 0}}}, "strategies.style.steps.max_tokens", "from 1"),
        ({"style": {"steps": {"samples": 17}}}, "strategies.style.steps.samples", "to 16"),
        ({"style": {"steps": {"samples": 1.5}}}, "strategies.style.steps.samples", "whole"),
        ({"style": {"steps": {"judge": "shortes"}}}, "strategies.style.steps.judge", "'shortest'"),
        ({"style": {"steps": {"judge": "local:"}}}, "strategies.style.steps.judge", "upstream:model"),
        ({"style": {"steps": {"judge": 3}}}, "strategies.style.steps.judge", "upstream:model"),
        ({"style": {"steps": {"examples": "a"}}}, "strategies.style.steps.examples", "pairs"),
        ({"style": {"steps": {"examples": [["a"]]}}}, "strategies.style.steps.examples", "pairs"),
        ({"style": {"steps": {"examples": [["a", 2]]}}}, "strategies.style.steps.examples", "pairs"),
        ({"style": {"steps": {"model": ""}}}, "strategies.style.steps.model", "text in quotes"),
        ({"style": {"steps": {"upstream": None}}}, "strategies.style.steps.upstream", "text in quotes"),
        ({"style": {"steps": []}}, "strategies.style.steps", "table"),
        ({"style": 1}, "strategies.style", "table"),
        ([], "strategies", "table"),
    ],
)
def test_a_mistake_is_one_error_with_its_key_and_the_fix(tables, field, fix):
    error = refused(tables)
    assert error.field == field
    assert fix in error.fix


def test_every_action_needs_a_model_and_an_upstream_that_is_there():
    MADE.complete(["local", "far"])
    with pytest.raises(SettingsInvalid, match=r"model.large.upstream.*Did you mean 'fan'"):
        MADE.complete(["local", "fan"])
    with pytest.raises(SettingsInvalid) as caught:
        strategies(PARTS, {"model": {"small": {"upstream": "local", "model": "tiny"}}}).complete(["local"])
    assert (caught.value.field, "'plain/large'" in caught.value.what) == ("strategies.model.large.upstream", True)
    with pytest.raises(SettingsInvalid, match="judge"):
        strategies(PARTS, {"style": {"steps": {"samples": 3, "judge": "nobody:m"}}}).complete(["local"])


def test_several_samples_without_a_judge_are_voted_on():
    made = strategies(PARTS, {"style": {"steps": {"samples": 3}, "shown": {"samples": 2, "judge": "local:m"}}})
    assert [made.of(f"{style}/small").judge for style in PARTS["style"]] == ["", "votes", "local:m"]


# ------------------------------------------------------------------------------------------------------------- applying


def test_the_system_text_comes_first_then_the_clients_then_examples():
    body = {"model": "any", "messages": [OWN, USER]}
    strategy = Strategy(model="m", system="Be brief.", examples=(("1?", "2"),))
    assert applied(strategy, body)["messages"] == [
        {"role": "system", "content": "Be brief."},
        OWN,
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "2"},
        USER,
    ]
    assert body == {"model": "any", "messages": [OWN, USER]}


def test_what_the_strategy_sets_replaces_what_the_client_sent_and_the_rest_stays():
    body = {"model": "gpt", "messages": [USER], "temperature": 1.5, "reasoning_effort": "low", "top_p": 0.5, "seed": 3}
    asked = applied(Strategy(model="m", temperature=0.0, reasoning_effort="high"), body)
    assert asked == {**body, "model": "m", "temperature": 0.0, "reasoning_effort": "high"}
    assert applied(Strategy(model="m"), body) == {**body, "model": "m"}
    assert applied(Strategy(), body) == body


@pytest.mark.parametrize(
    ("sent", "effort", "key"),
    [
        ({}, None, "max_tokens"),
        ({"max_tokens": 9}, None, "max_tokens"),
        ({"max_completion_tokens": 9}, None, "max_completion_tokens"),
        ({"max_tokens": 9}, "low", "max_completion_tokens"),
    ],
)
def test_the_limit_of_an_answer_has_one_name(sent, effort, key):
    asked = applied(Strategy(max_tokens=50, reasoning_effort=effort), {"messages": [USER], **sent})
    assert {name: asked[name] for name in asked if "tokens" in name} == {key: 50}


def test_tools_are_narrowed_to_those_of_the_strategy():
    tools = [{"type": "function", "function": {"name": name}} for name in ("search", "pay")]
    body = {"messages": [USER], "tools": tools, "tool_choice": tools[1], "parallel_tool_calls": False}
    assert applied(Strategy(), body) == body
    assert applied(Strategy(tools=("search",)), body) == {
        "messages": [USER], "tools": tools[:1], "parallel_tool_calls": False
    }  # fmt: skip
    assert applied(Strategy(tools=("pay", "other")), body)["tool_choice"] == tools[1]
    assert applied(Strategy(tools=()), body) == {"messages": [USER]}
    assert applied(Strategy(tools=("search",)), {"messages": [USER]}) == {"messages": [USER]}


@given(st.text(), st.dictionaries(st.sampled_from(["strategy", "style", "action", "upstream", "judge"]), st.text()))
def test_nothing_that_a_request_says_chooses_the_strategy(text, keys):
    body = {"messages": [{"role": "user", "content": text}], "model": "huge", **keys}
    asked = applied(MADE.of("steps/small"), body)
    assert (asked["model"], asked["temperature"]) == ("tiny", 0.2)
    assert asked["messages"] == [{"role": "system", "content": "Step by step."}, *body["messages"]]
