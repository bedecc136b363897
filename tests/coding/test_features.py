"""What a policy sees of an edit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bondhu.domains.coding.edits import OPERATORS, edits
from bondhu.domains.coding.features import NAMES, features
from bondhu.domains.coding.naturalness import corpus, naturalness
from bondhu.errors import InvalidInput

SOURCE = '''\
def f(items: list, limit: int, spare: int):
    """Counts up to 'limit' items above 10."""
    count = 0
    for item in items:
        if item > limit:
            count += item[0]
    return count
'''


def seen(edit, **given) -> dict[str, float]:
    source = given.pop("source", SOURCE)
    row = features(source, "f", [edit], **given)[0]
    return dict(zip(NAMES, row.tolist(), strict=True))


def made(operator: str, before: str, after: str):
    return next(each for each in edits(SOURCE, "f", {operator}) if (each.before, each.after) == (before, after))


def test_there_is_a_row_of_named_numbers_for_every_edit() -> None:
    found = edits(SOURCE, "f")
    rows = features(SOURCE, "f", found, "Count.", {5: 0.7}, ["failed", ""])
    assert rows.shape == (len(found), len(NAMES))
    assert rows.dtype == np.float32
    assert len(set(NAMES)) == len(NAMES)
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() <= 5.0
    assert (rows[:, : len(OPERATORS)].sum(1) == 1).all()


def test_no_edits_have_no_rows() -> None:
    assert features(SOURCE, "f", []).shape == (0, len(NAMES))


def test_the_place_is_told() -> None:
    row = seen(made("comparison_operator", "item > limit", "item >= limit"))
    told = (
        "operator comparison_operator",
        "node comparison",
        "parent if",
        "inside condition",
        "inside loop",
        "in entry",
    )
    assert [row[each] for each in told] == [1.0] * 6
    assert row["inside return"] == row["node name"] == 0.0
    assert row["place in function"] == pytest.approx(4 / 6)


def test_an_unused_parameter_is_a_hint() -> None:
    assert seen(made("variable", "limit", "spare"))["uses an unused variable"] == 1.0
    assert seen(made("variable", "limit", "count"))["uses an unused variable"] == 0.0


def test_the_only_use_of_a_variable_is_missed() -> None:
    assert seen(made("variable", "limit", "count"))["drops the last use"] == 1.0


def test_type_hints_agree_or_differ() -> None:
    row = seen(made("variable", "limit", "spare"))
    assert (row["kinds agree"], row["kinds differ"]) == (1.0, 0.0)
    row = seen(made("variable", "limit", "items"))
    assert (row["kinds agree"], row["kinds differ"]) == (0.0, 1.0)


def test_names_that_look_alike_are_told() -> None:
    row = seen(made("variable", "item", "items"))
    assert row["likeness of names"] == pytest.approx(2 * 3 / (3 + 4))


def test_what_the_statement_says_counts() -> None:
    edit = made("constant_changed", "0", "10")
    assert seen(edit)["new tokens seen in statement"] == 1.0
    assert seen(made("constant_changed", "0", "2"))["new tokens seen in statement"] == 0.0
    assert seen(made("constant_changed", "0", "2"), statement="2 of them")["new tokens seen in statement"] == 1.0


def test_suspicion_and_messages_of_the_tests_are_told() -> None:
    edit = made("constant_changed", "0", "1")
    inside = next(each for each in edits(SOURCE, "f", {"constant_changed"}) if each.line == 6 and each.after == "1")
    row = seen(inside, suspicion={6: 0.9, 3: 0.5}, problems=["raised IndexError: list index out of range", "failed"])
    assert row["suspicion"] == pytest.approx(0.9)
    assert (row["most suspicious"], row["place among suspects"], row["index error at an index"]) == (1.0, 0.0, 1.0)
    assert (row["errors"], row["wrong answers"]) == (0.5, 0.5)
    row = seen(edit, suspicion={6: 0.9, 3: 0.5}, problems=["raised NameError: name 'cuont' is not defined"])
    assert (row["most suspicious"], row["place among suspects"], row["index error at an index"]) == (0.0, 0.5, 0.0)


def test_a_message_that_names_a_variable_points_at_it() -> None:
    problems = ["raised NameError: name 'limit' is not defined"]
    assert seen(made("variable", "limit", "spare"), problems=problems)["message names what changes"] == 1.0
    assert seen(made("variable", "item", "spare"), problems=problems)["message names what changes"] == 0.0


def test_a_source_that_does_not_parse_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not parse"):
        features("def f(:", "f", [])


def test_an_edit_that_was_read_from_json_has_the_same_row() -> None:
    edit = made("variable", "item", "items")
    again = replace(edit, path=tuple(json.loads(json.dumps(edit.path))))
    np.testing.assert_array_equal(features(SOURCE, "f", [edit]), features(SOURCE, "f", [again]))


def test_what_people_write_reads_more_natural() -> None:
    model = corpus(["for i in range(len(a)):\n    total += a[i]\n"] * 5)
    source = "def f(a):\n    for i in range(sum(a)):\n        print(i)\n"
    found = [each for each in edits(source, "f", {"call_wrapped", "function_name"}) if each.before == "sum"]
    scores = dict(zip([each.after for each in found], naturalness(source, found, model).tolist(), strict=True))
    assert scores.pop("len") > max(scores.values())
