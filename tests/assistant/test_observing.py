"""What a conversation shows: each field by hand, and that whatever a client sends fits what the template declares."""

import tomllib

import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains import assistant, declared
from bondhu.domains.assistant.feedback import SIGNALS
from bondhu.domains.assistant.observing import FIELDS, FRESH, LONGEST, Past, observe
from bondhu.domains.assistant.strategies import strategies
from bondhu.settings import PROBLEM
from tests.assistant.sentences import SENTENCES

NOON = 1_704_110_400.0  # Monday, 1 January 2024, 12:00 UTC
TEMPLATE = tomllib.loads(assistant.template())
DOMAIN = declared.from_table({name: table for name, table in TEMPLATE.items() if name in PROBLEM})
NAMES = [field.name for field in DOMAIN.fields]


def seen(text, past=FRESH, now=NOON, **more):
    return observe([{"role": "user", "content": text}], now, past, **more)


@pytest.mark.parametrize(("language", "text"), [(name, text) for name in SENTENCES for text in SENTENCES[name]])
def test_the_language_of_ordinary_sentences(language, text):
    assert seen(text)["language"] == language


def test_there_are_eight_sentences_of_each_language():
    assert set(SENTENCES) == set(FIELDS["language"].values)
    assert all(len(set(texts)) >= 8 for texts in SENTENCES.values())


def test_code_does_not_change_the_language():
    assert seen("¿Qué hace esto?\n```python\nfor the in is and of to: print(that)\n```")["language"] == "es"


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("My code is giving an error", "code"),
        ("Why does this Python function raise a KeyError?", "code"),
        ("```\nlet x = 1\n```", "code"),
        ("Write a cover letter for a nurse", "writing"),
        ("Proofread this paragraph", "writing"),
        ("solve x^2 + 3x = 4", "maths"),
        ("What is the probability of two sixes?", "maths"),
        ("What is the capital of France?", "facts"),
        ("Who invented the telephone, and in which century?", "facts"),
        ("Should I quit my job?", "advice"),
        ("I feel stressed about my job interview", "advice"),
        ("hello", "chat"),
        ("Hi, how are you?", "chat"),
        ("blue seven table", "other"),
        ("নমস্কার, আপনি কেমন আছেন?", "other"),
        ("", "other"),
    ],
)
def test_topics_by_english_words(text, topic):
    assert seen(text)["topic"] == topic


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("What is a list?", "neutral"),
        ("Thank you, that worked", "pleased"),
        ("This still doesn't work", "frustrated"),
        ("It fails again!!", "frustrated"),
        ("WHY DOES THIS KEEP FAILING", "frustrated"),
        ("I don’t understand the second step", "confused"),
        ("What??", "confused"),
        ("I need this ASAP", "urgent"),
        ("The site is down, please hurry", "urgent"),
    ],
)
def test_moods_by_english_words_and_signs(text, mood):
    assert seen(text)["mood"] == mood


@pytest.mark.parametrize(
    "text",
    [
        "```\nx\n```",
        "def f(x):\n    return x",
        "What does `len(x)` do?",
        "console.log('hi')",
        "SELECT name FROM people",
        "int main() {\n return 0;\n}",
        "Traceback (most recent call last):",
        "I get a ValueError",
        "</div>",
        "import numpy\nprint(1)",
    ],
)
def test_code_is_seen(text):
    assert seen(text)["has_code"] == "yes"


@pytest.mark.parametrize("text", ["Hello there", "I want to import a car from Spain.", "Prices: 3, 4 and 5", "f of x"])
def test_prose_is_no_code(text):
    assert seen(text)["has_code"] == "no"


def test_more_that_is_asked_for_is_more_complex():
    texts = [
        "Hi",
        "What is a list?",
        "Compare lists and tuples, and explain when each of them is faster.",
        "Compare lists, tuples and dictionaries; explain memory consumption, asymptotic cost and typical mistakes:\n"
        "- insertion\n- deletion\n- iteration\nThen write `benchmark(x)`; because measurements differ, repeat them.",
    ]
    complexities = [seen(text)["complexity"] for text in texts]
    assert complexities == sorted(complexities)
    assert complexities[0] < 0.1
    assert complexities[-1] > 0.6


def test_numbers_of_a_conversation():
    messages = [
        {"role": "system", "content": "You are Ada."},
        {"role": "user", "content": "one two three"},
        {"role": "assistant", "content": "four five"},
        {"role": "user", "content": [{"type": "text", "text": "six"}, {"type": "image_url"}, {"text": "seven"}]},
    ]
    found = observe(messages, NOON, Past(7, 0.25, None, "good"), "ann")
    assert (found["text"], found["words"], found["turn"], found["length"]) == ("six seven", 2.0, 2.0, 10.0)
    assert (found["user_turns"], found["user_reward"], found["feedback"]) == (7.0, 0.25, "good")
    assert (found["person"], observe(messages, NOON)["person"]) == ("ann", "nobody")


def test_the_time_is_that_of_greenwich():
    assert (seen("", now=NOON)["hour"], seen("", now=NOON)["weekday"]) == (12.0, "mon")
    assert (seen("", now=0.0)["hour"], seen("", now=0.0)["weekday"]) == (0.0, "thu")
    assert (seen("", now=-1.0)["weekday"], seen("", now=NOON + 6 * 86_400)["weekday"]) == ("wed", "sun")


def test_tools_are_seen_in_the_conversation():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert seen("x")["has_tools"] == "no"
    assert observe([call, {"role": "user", "content": "x"}], NOON)["has_tools"] == "yes"
    assert observe([{"role": "tool", "content": "3"}], NOON)["has_tools"] == "yes"


def test_saying_it_again_is_a_retry():
    again = Past(1, 0.0, "How do I sort a list in Python?")
    assert seen("how to sort lists in python", again)["retry"] == "yes"
    assert seen("and how do I print it?", again)["retry"] == "no"
    messages = [{"role": "user", "content": "sort a list"}, {"role": "user", "content": "Sort a list!"}]
    assert observe(messages, NOON)["retry"] == "yes"


def test_the_text_is_redacted_and_cut():
    assert seen("I am ann@example.com, sk-abcdefghijklmnop1234")["text"] == "I am <email>, <key>"
    assert len(seen("word " * 100_000)["text"]) == LONGEST
    assert seen("a\0b\ud800")["text"] == "ab?"


def test_an_embedding_is_of_the_redacted_text():
    asked = []
    found = seen("ann@example.com", embed=lambda text: asked.append(text) or (1, 2.5))
    assert (asked, found["embedding"]) == (["<email>"], [1.0, 2.5])
    assert "embedding" not in seen("x")


def test_all_fields_are_observed():
    assert set(seen("x", embed=lambda _: [0.0])) == set(FIELDS)


# --------------------------------------------------------------------------------------------------------- the template

part = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=30)}),
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=2),
    st.none(),
)
content = st.one_of(st.text(max_size=200), st.lists(part, max_size=4), st.none(), st.integers())
message = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": content}),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.none(),
)
past = st.builds(
    Past, st.integers(), st.floats(), st.none() | st.text(max_size=50), st.sampled_from(["none", "good", "bad", "?"])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(message, max_size=6), st.floats(-1e11, 1e11), past, st.none() | st.text(max_size=20))
def test_whatever_is_sent_fits_what_the_template_declares(messages, now, before, user):
    found = observe(messages, now, before, user)
    context = {name: found[name] for name in NAMES}
    for space in (MultiDiscrete, Box):
        encoder = DOMAIN.encoder(space)
        assert encoder.one(context).shape == encoder.space.shape
    assert observe(messages, now, before, user) == found


def test_the_template_declares_fields_as_they_are_observed():
    for field in DOMAIN.fields:
        said, known = field.describe(), FIELDS[field.name]
        assert (said["kind"], tuple(said.get("values", ()))) == (known.kind, known.values)
        assert tuple(said.get("range", (0.0, 0.0))) == known.range
    assert set(FIELDS) - set(NAMES) == {"person", "embedding"}


def test_the_template_weighs_signals_as_the_table_does():
    assert DOMAIN.reward.signals == SIGNALS


def test_the_template_gives_every_action_a_model():
    made = strategies(DOMAIN.parts, TEMPLATE["strategies"])
    made.complete(TEMPLATE["upstreams"])
    assert {made.of(action).model for action in DOMAIN.actions} == {"small", "large"}
    assert made.of("steps/large").system.startswith("Think it through")


def test_what_is_liked_is_the_reward():
    liked = DOMAIN.reward.objectives["liked"].signals
    assert liked == {name: signal.weight for name, signal in DOMAIN.reward.signals.items() if signal.weight}


def test_the_baseline_asks_the_large_model_for_code():
    context = {name: seen("My code is giving an error")[name] for name in NAMES}
    codes = DOMAIN.encoder(MultiDiscrete).one(context)[None]
    chances = DOMAIN.baseline().distribution(codes, np.ones((1, len(DOMAIN.actions)), bool))
    assert chances[0][DOMAIN.actions.index("plain/large")] == 1.0
