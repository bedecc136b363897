"""The environment in words: what is accepted, what it earns, and what is said of everything else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bondhu.domains.coding.dialogue import MOST_BRACES, Dialogue, Turn, schema
from bondhu.domains.coding.env import CodingEnv
from bondhu.domains.coding.rules import OPERATIONS
from bondhu.errors import InvalidInput
from tests.coding.inside import Inside
from tests.coding.toys import BROKEN, RIGHT, SMALL, TASK

MEND = {"action": "edit", "line": 4, "text": "        if value > 0:"}


def begun(**more: Any) -> Dialogue:
    dialogue = Dialogue(CodingEnv([TASK], Inside(), rules=SMALL, **more))
    dialogue.begin(seed=0)
    return dialogue


def answered(dialogue: Dialogue, **fields: Any) -> Turn:
    return dialogue.answer(json.dumps(fields))


def test_what_is_seen_and_what_may_be_answered_is_one_text() -> None:
    text = Dialogue(CodingEnv([TASK], Inside(), rules=SMALL)).begin(seed=0)
    assert "## Code\n   1  def positives(values):\n" in text
    assert "## Conversation\nTask: Count the values above zero." in text
    assert "64 steps are left. Answer with one JSON object:" in text
    offered = [name for name in OPERATIONS if f'{{"action": "{name}"' in text]
    assert offered == ["generate", "edit", "search", "compile", "test", "ask", "submit"]  # nothing to undo or to show


def test_an_episode_in_words_earns_what_was_worked_out_by_hand() -> None:
    dialogue = begun()
    turns = [answered(dialogue, action="test"), answered(dialogue, **MEND), answered(dialogue, action="test")]
    assert [turn.reward for turn in turns] == pytest.approx([0.25 - 0.02, -0.25 - 0.01, -0.5 - 0.02 + 4 + 10])
    assert [turn.terminated for turn in turns] == [False, False, True]
    assert turns[0].text.startswith("test: 2 of 4 pass\n\n## Code")
    assert "2 of 4 tests pass (before the last change)" in turns[1].text
    assert turns[2].info["is_success"] is True
    assert turns[2].text == "test: 4 of 4 pass\n\nThis is the end: solved."
    assert dialogue.env.work.source == RIGHT
    with pytest.raises(InvalidInput, match="No episode is under way"):
        answered(dialogue, action="test")


def test_tokens_and_money_are_paid_with_the_answer_that_took_them() -> None:
    dialogue = begun()
    first = dialogue.answer('{"action": "compile"}', tokens=500, cost=0.02)
    assert first.reward == pytest.approx(-0.01 - 0.05 - 0.02)
    last = dialogue.answer('{"action": "submit"}', tokens=1_000)
    assert last.info["components"]["tokens"] == pytest.approx(-0.1)
    assert last.reward == pytest.approx(0 - 5 - 0.1)


def test_lines_are_replaced_removed_and_added_and_a_change_is_taken_back() -> None:
    dialogue = begun()
    source = lambda: dialogue.env.work.source  # noqa: E731  as it is now
    answered(dialogue, action="edit", line=4, to=5, text="        count += value > 0\n")
    assert source() == BROKEN.replace(
        "        if value >= 0:\n            count += 1\n", "        count += value > 0\n"
    )
    answered(dialogue, action="undo")
    assert source() == BROKEN
    answered(dialogue, action="edit", line=2, text="    count = 0\n    count = 1\n    count = 0")
    assert source() == BROKEN.replace("count = 0", "count = 0\n    count = 1\n    count = 0")
    answered(dialogue, action="edit", line=3, text="")
    assert source() == BROKEN.replace("count = 0", "count = 0\n    count = 0")


def test_a_whole_program_may_be_given() -> None:
    dialogue = begun()
    turn = answered(dialogue, action="generate", code=RIGHT)
    assert (dialogue.env.work.source, turn.reward) == (RIGHT, -0.05)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({**MEND, "text": "        if value > 0"}, "Line 4 does not parse: expected ':' in 'if value > 0'."),
        (
            {"action": "generate", "code": "def positives(values):\nreturn"},
            "Line 2 does not parse: expected an indented",
        ),
        ({"action": "generate", "code": "def f(:\n"}, "Line 1 does not parse: invalid syntax in 'def f(:'."),
        ({"action": "generate", "code": "x\ny\0"}, "Line 2 does not parse: source code string cannot contain null"),
        (
            {"action": "generate", "code": "def positive():\n    pass"},
            "no function 'positives'. Did you mean 'positive'?",
        ),
        ({"action": "generate", "code": "#" * 300_000}, "The program is longer than 256 KiB."),
    ],
)
def test_what_cannot_stand_is_refused_at_its_price_and_changes_nothing(answer: dict[str, Any], says: str) -> None:
    dialogue = begun()
    turn = answered(dialogue, **answer)
    assert turn.text.startswith("Not done: ")
    assert says in turn.text.split("\n")[0]
    assert says in turn.info["error"]
    assert "## Error messages\n" in turn.text
    price = {"edit": -0.01, "generate": -0.05}[answer["action"]]
    assert turn.reward == pytest.approx(price - 1.0)
    assert turn.info["components"]["invalid"] == -1.0
    assert (dialogue.env.work.source, turn.terminated) == (BROKEN, False)


@pytest.mark.parametrize(
    "text",
    [
        'I run the tests first: {"action": "test"} and see.',
        '```json\n{"action": "test"}\n```',
        'A set such as {1, 2} is no answer, {"action": "test", "line": null} is.',
        'Of {"an": "object"} I know nothing. {"action": "test"}',
    ],
)
def test_prose_around_the_object_is_no_matter(text: str) -> None:
    assert begun().answer(text).text.startswith("test: 2 of 4 pass")


def test_line_ends_within_a_text_need_no_escape() -> None:
    dialogue = begun()
    dialogue.answer('{"action": "edit", "line": 2, "text": "    count = 0\n    # from here"}')
    assert dialogue.env.work.source == BROKEN.replace("count = 0", "count = 0\n    # from here")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "The answer holds no JSON object. Write one, such as"),
        ("run the tests", "The answer holds no JSON object."),
        ('{"action": "test"', "The answer is not valid JSON: Expecting ',' delimiter at line 1, column 18."),
        ('{"action": "tset"}', "No action 'tset'. Did you mean 'test'?"),
        ('{"action": ["test"]}', "No action ['test']."),
        ('{"line": 3}', "The JSON object has no 'action'. It must be one of 'generate', 'edit',"),
        ('{"action": "test"} {"action": "submit"}', "The answer holds 2 actions. Give one JSON object."),
        ('{"action": "edit", "lin": 3, "text": ""}', "'edit' has no 'lin'. Did you mean 'line'?"),
        ('{"action": "edit", "line": 3}', "'edit' needs 'text'. Write {\"action\": \"edit\""),
        ('{"action": "edit", "line": "3", "text": ""}', "'line' is '3', not a whole number."),
        ('{"action": "edit", "line": true, "text": ""}', "'line' is True, not a whole number."),
        ('{"action": "edit", "line": 3, "text": 4}', "'text' is 4, not a text."),
        ('{"action": "edit", "line": 7, "text": ""}', "Line 7. The module has the lines 1 to 6."),
        ('{"action": "edit", "line": 4, "to": 2, "text": ""}', "The lines 4 to 2. The module has"),
        ('{"action": "search", "for": " "}', "'for' is empty."),
        ('{"action": "test", "quickly": 1}', "'test' has no 'quickly'. Leave it out."),
        ('{"action": "undo"}', "'undo' cannot be done now. Nothing was changed."),
        ('{"action": "context"}', "'context' cannot be done now. Everything is shown."),
        ('{"action": "generate"}', "'generate' cannot be done now. Nobody proposes programs"),
        (
            f'{{"action": "edit", "line": {"9" * 5_000}, "text": ""}}',
            "The answer is one with a number that is too long.",
        ),
        (f'{{"action": "{"x" * 5_000}"}}', "No action 'xxxxxxxxxxxx...xxxxxxxxxxxxx'. It must be one of"),
        ("{" * (MOST_BRACES + 5), "The answer is not valid JSON"),
        ('{"a":' * 50_000, "The answer is nested too deeply."),
    ],
)
def test_an_answer_that_cannot_be_understood_gets_one_error_and_uses_up_a_step(text: str, says: str) -> None:
    dialogue = begun()
    turn = dialogue.answer(text)
    assert turn.info["error"].startswith(says)
    assert turn.text.startswith(f"Not done: {says}")
    assert (turn.reward, turn.terminated, turn.truncated) == (0.0, False, False)
    assert (dialogue.env.work.source, dialogue.env.work.steps) == (BROKEN, 1)


def test_tools_answer_in_the_text() -> None:
    dialogue = begun(answers=lambda task, question: f"{question} Yes.", proposer=lambda task, rng: [RIGHT])
    assert answered(dialogue, action="search", **{"for": "COUNT"}).text.startswith(
        "search: COUNT:\n   2      count = 0\n"
    )
    assert answered(dialogue, action="search", **{"for": "nowhere"}).text.startswith("search: nowhere:\nnothing found")
    assert answered(dialogue, action="compile").text.startswith("compile: compiles")
    assert "You: Is zero positive?\nAnswer: Is zero positive? Yes." in answered(
        dialogue, action="ask", question="Is zero positive?"
    ).text  # fmt: skip
    answered(dialogue, action="generate")
    assert dialogue.env.work.source == RIGHT


def test_a_program_that_parses_may_still_not_compile_and_the_tool_says_where() -> None:
    dialogue = begun()
    answered(dialogue, action="edit", line=6, text="    return count\nbreak")
    turn = answered(dialogue, action="compile")
    assert turn.text.startswith("compile: error: line 7: 'break' outside loop")
    assert "## Error messages\ncompile: error: line 7" in turn.text


def test_the_step_limit_ends_a_dialogue_too() -> None:
    dialogue = Dialogue(CodingEnv([TASK], Inside(), rules=replace(SMALL, steps=2)))
    dialogue.begin(seed=0)
    first, second = dialogue.answer("nothing"), dialogue.answer("nothing")
    assert (first.truncated, second.truncated) == (False, True)
    assert second.text.endswith("This is the end: not solved.")


def test_words_and_numbers_may_take_turns() -> None:
    dialogue = begun()
    answered(dialogue, **MEND)
    env = dialogue.env
    assert np.flatnonzero(env.action_mask).tolist() == [1, 2, 3, 4, 5, 6, 8]
    *_, terminated, _, info = env.step(5)
    assert (terminated, info["is_success"]) == (True, True)


def test_characters_of_all_kinds_are_kept() -> None:
    dialogue = begun()
    answered(dialogue, action="edit", line=2, text="    count = 0  # größer als 0 😀")
    assert "größer als 0 😀" in dialogue.env.work.source
    turn = answered(dialogue, action="edit", line=2, text="    count = '\ud800'")  # half a character
    assert turn.info["error"] == "Line 2 does not parse: it holds a character that cannot be written."


def test_the_schema_of_an_answer_is_flat_and_says_yes_to_what_is_accepted() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    whole = schema()
    assert whole["properties"]["action"]["enum"] == list(OPERATIONS)
    assert set(whole["required"]) == set(whole["properties"])  # as strict structured output wants it
    empty = dict.fromkeys(whole["properties"])
    jsonschema.validate({**empty, **MEND}, whole)
    jsonschema.validate({**empty, "action": "search", "for": "x"}, whole)
    for wrong in ({"action": "tset"}, {"action": "edit", "line": 0}, {"action": "test", "quickly": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**empty, **wrong}, whole)
    assert begun().answer(json.dumps({**empty, **MEND})).info.get("error") is None
