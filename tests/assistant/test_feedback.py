"""What answers are worth, how much of one is kept, and when a message says the same once more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains.assistant.feedback import CHARACTERS, REPHRASED, SIGNALS, edits, kept, rephrased

SHORT = st.text(alphabet="ab c", max_size=12)


def by_table(one, two):
    """Levenshtein's distance with the whole table."""
    table = [[i + j for j in range(len(two) + 1)] for i in range(len(one) + 1)]
    for i, x in enumerate(one, 1):
        for j, y in enumerate(two, 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (x != y))
    return table[-1][-1]


def test_the_project_began_with_three_weights():
    assert [SIGNALS[name].weight for name in ("accept", "clarification", "reject")] == [1.0, 0.5, -0.5]


@pytest.mark.parametrize("name", ["cost", "latency", "tokens_in", "tokens_out", "failed", "disconnected"])
def test_what_is_there_to_be_limited_has_no_weight(name):
    assert SIGNALS[name].weight == 0.0


def test_signs_of_the_others():
    assert {name for name, signal in SIGNALS.items() if signal.weight < 0} == {
        "reject", "thumbs_down", "retry", "abandoned"
    }  # fmt: skip
    assert {"thumbs_up", "copy", "kept", "resolved"} < {name for name, each in SIGNALS.items() if each.weight > 0}


@pytest.mark.parametrize(
    ("answer", "final", "distance", "share"),
    [
        ("", "", 0, 1.0),
        ("same", "same", 0, 1.0),
        ("abc", "", 3, 0.0),
        ("", "abc", 3, 0.0),
        ("abc", "xyz", 3, 0.0),
        ("kitten", "sitting", 3, 4 / 7),
        ("flaw", "lawn", 2, 0.5),
        ("abcd", "abxd", 1, 0.75),
        ("abcd", "abcde", 1, 0.8),
        ("abcd", "bcd", 1, 0.75),
        ("gumbo", "gambol", 2, 4 / 6),
        ("saturday", "sunday", 3, 5 / 8),
    ],
)
def test_shares_kept_by_hand(answer, final, distance, share):
    assert edits(answer, final) == distance
    assert kept(answer, final) == pytest.approx(share, abs=1e-12)


@settings(max_examples=300)
@given(SHORT, SHORT)
def test_edits_are_those_of_the_whole_table(one, two):
    assert edits(one, two) == edits(two, one) == by_table(one, two)


@given(st.text(max_size=60), st.text(max_size=60))
def test_the_share_is_symmetric_within_bounds_and_1_only_for_the_same(one, two):
    share = kept(one, two)
    assert 0.0 <= share <= 1.0
    assert share == pytest.approx(kept(two, one))
    assert (share == 1.0) == (one == two)


def test_what_is_left_of_a_long_text_counts_by_words():
    answer = " ".join(f"word{n}" for n in range(2_000))
    assert len(answer) > CHARACTERS
    half = " ".join(f"word{n}" if n < 1_000 else f"other{n}" for n in range(2_000))
    assert kept(answer, half) == pytest.approx(0.5, abs=1e-12)
    assert kept(answer, "") == 0.0
    assert kept(answer, " ".join(f"other{n}" for n in range(2_000))) == 0.0


def test_of_a_very_long_text_a_part_stands_for_the_whole():
    answer = " ".join(f"w{n}" for n in range(20_000))
    odd = " ".join(f"w{n}" if n % 2 else f"x{n}" for n in range(20_000))
    assert len(answer) > 100_000
    assert kept(answer, odd) == pytest.approx(0.5, abs=0.01)


def test_scripts_without_spaces_are_compared_sign_by_sign():
    answer = "我喜欢学习新的东西" * 1_000
    assert kept(answer, answer[:4_500] + "甲" * 4_500) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("How do I sort a list in Python?", "how can I sort lists in python"),
        ("My code is giving an error", "my code is still giving an error!!"),
        ("What is the capital of Australia?", "Australia: what's its capital?"),
        ("¿Cómo puedo ordenar una lista?", "quiero ordenar una lista"),
        ("如何对列表排序", "如何对列表进行排序"),
        ("What is it?", "what is  it?"),
    ],
)
def test_the_same_question_once_more(earlier, later):
    assert rephrased(earlier, later) >= REPHRASED


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("How do I sort a list in Python?", "How do I open a file in Python?"),
        ("Write an email to my boss", "Make it shorter"),
        ("What is the capital of Australia?", "And its population?"),
        ("Thanks!", "Now explain recursion"),
        ("如何对列表排序", "今天天气怎么样"),
        ("", ""),
        ("a", ""),
    ],
)
def test_another_question(earlier, later):
    assert rephrased(earlier, later) < REPHRASED


@given(st.text(max_size=80), st.text(max_size=80))
def test_likeness_is_symmetric_and_within_bounds(one, two):
    assert 0.0 <= rephrased(one, two) <= 1.0
    assert rephrased(one, two) == rephrased(two, one)
    assert rephrased(one, one) == (1.0 if one.split() else 0.0)
