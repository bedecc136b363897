"""Fields and encoders: what is accepted, what it becomes, and what is said of what is not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains import encoders
from bondhu.domains.encoders import CodeEncoder, Decoder, FeatureEncoder
from bondhu.domains.fields import Category, Number
from bondhu.domains.wide_fields import Person, Text, Vector
from bondhu.errors import InvalidInput

MOOD = Category("mood", ("neutral", "happy", "sad"))
AGE = Number("age", 0.0, 100.0)
WEIGHT = Number("weight", -1.5, 4.0, edges=(0.0, 1.0))
NOTE = Text("note", 16)
TASTE = Vector("taste", 3, bits=4)
WHO = Person("who", 1_000)
ALL = (MOOD, AGE, WEIGHT, NOTE, TASTE, WHO)
GOOD: dict[str, Any] = {
    "mood": "sad",
    "age": 20,
    "weight": 0.5,
    "note": "Quiet  piano",
    "taste": [1.0, -2, 0.5],
    "who": "u1",
}

contexts = st.fixed_dictionaries(
    {
        "mood": st.sampled_from(MOOD.values),
        "age": st.one_of(st.floats(0, 100), st.integers(0, 100)),
        "weight": st.floats(-1.5, 4.0),
        "note": st.text(max_size=20),
        "taste": st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
        "who": st.text(max_size=5),
    }
)


@pytest.mark.parametrize(
    ("value", "code"), [(0, 0), (19.99, 0), (20, 1), (39.999, 1), (40, 2), (80, 4), (99.9, 4), (100, 4)]
)
def test_a_number_falls_into_five_bins_by_the_published_rule(value: float, code: int) -> None:
    assert AGE.code(value) == code == min(int(value / (100.0 / 5)), 4)


def test_bins_start_at_the_low_end_of_the_range() -> None:
    field = Number("x", -10.0, 10.0, bins=4)
    assert [field.code(value) for value in (-10, -5.001, -5, 0, 4.99, 5, 10)] == [0, 0, 1, 2, 2, 3, 3]
    assert field.middles == [-7.5, -2.5, 2.5, 7.5]


def test_a_value_on_an_edge_belongs_to_the_upper_bin() -> None:
    assert [WEIGHT.code(value) for value in (-1.5, -0.01, 0.0, 0.99, 1.0, 4.0)] == [0, 0, 1, 1, 2, 2]
    assert WEIGHT.middles == [-0.75, 0.5, 2.5]
    assert WEIGHT.cardinality == 3


def test_categories_are_numbered_in_the_order_of_their_list() -> None:
    assert [MOOD.code(value) for value in MOOD.values] == [0, 1, 2]
    assert MOOD.features(MOOD.column(["happy", "neutral"])).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_number_features_are_the_scaled_number_and_its_bin() -> None:
    assert AGE.features(AGE.column([50])).tolist() == [[0.5, 0, 0, 1, 0, 0]]


def test_text_ignores_case_and_spacing_and_counts_words() -> None:
    assert NOTE.code("Quiet  PIANO") == NOTE.code("quiet piano")
    row = NOTE.features(NOTE.column(["a a a b"]))[0]
    assert sorted(row[row > 0].tolist()) == pytest.approx([1 / 10**0.5, 3 / 10**0.5])
    assert not NOTE.features(NOTE.column([""])).any()


def test_the_code_of_a_text_is_the_same_in_every_process() -> None:
    program = "from bondhu.domains.wide_fields import Text; print(Text('note', 4096).code('Quiet piano'))"
    codes = {subprocess.check_output([sys.executable, "-c", program]) for _ in range(2)}
    assert {int(code) for code in codes} == {Text("note", 4096).code("quiet piano")} == {2460}


def test_opposite_vectors_lie_on_opposite_sides_of_every_plane() -> None:
    vector = np.array([0.3, -1.2, 0.7])
    assert TASTE.code(vector) + TASTE.code(-vector) == TASTE.cardinality - 1
    assert TASTE.code(vector) == TASTE.code(5 * vector)


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"mood": "hapy"}, "mood", "Did you mean 'happy'?"),
        ({"mood": None}, "mood", "It must be one of 'neutral', 'happy', 'sad'."),
        ({"mood": ["sad"]}, "mood", "not in its list"),
        ({"age": 100.5}, "age", "outside 0 to 100"),
        ({"age": float("nan")}, "age", "not a finite number"),
        ({"age": float("inf")}, "age", "not a finite number"),
        ({"age": True}, "age", "not a finite number"),
        ({"age": 10**400}, "age", "outside 0 to 100"),
        ({"age": "20"}, "age", "Send a number from 0 to 100."),
        ({"age": None}, "age", "not a finite number"),
        ({"note": 3}, "note", "not text"),
        ({"taste": [1.0, 2.0]}, "taste", "Send a list of 3 numbers."),
        ({"taste": [1.0, 2.0, float("nan")]}, "taste", "not 3 finite numbers"),
        ({"taste": [[1.0], 2.0, 3.0]}, "taste", "not 3 finite numbers"),
        ({"taste": "abc"}, "taste", "not 3 finite numbers"),
        ({"taste": [True, False, True]}, "taste", "not 3 finite numbers"),
        ({"who": None}, "who", '"" where nobody is known'),
    ],
)
@pytest.mark.parametrize("encoder", [CodeEncoder(ALL), FeatureEncoder(ALL)], ids=["codes", "features"])
def test_a_bad_value_is_named_with_its_field_and_the_fix(
    encoder: CodeEncoder | FeatureEncoder, change: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        encoder.one({**GOOD, **change})
    assert error.value.field == field
    assert says in str(error.value)
    assert "Row" not in str(error.value)


@pytest.mark.parametrize("encoder", [CodeEncoder(ALL), FeatureEncoder(ALL)], ids=["codes", "features"])
def test_a_missing_or_unknown_field_is_named_with_the_nearest(encoder: CodeEncoder | FeatureEncoder) -> None:
    with pytest.raises(InvalidInput, match="Field 'mood' is missing"):
        encoder.one({name: value for name, value in GOOD.items() if name != "mood"})
    renamed = {("moood" if name == "mood" else name): value for name, value in GOOD.items()}
    with pytest.raises(InvalidInput, match=r"'moood' is not declared. Did you mean 'mood'\?"):
        encoder.one(renamed)
    with pytest.raises(InvalidInput, match="'extra' is not declared"):
        encoder.one({**GOOD, "extra": 1})


@settings(deadline=None, max_examples=60)
@given(st.lists(contexts, min_size=1, max_size=8))
def test_one_context_and_columns_of_contexts_are_encoded_alike(rows: list[dict[str, Any]]) -> None:
    columns = {field.name: field.column([row[field.name] for row in rows]) for field in ALL}
    decoded = Decoder(ALL).columns([json.dumps(row).encode() for row in rows])
    for encoder in (CodeEncoder(ALL), FeatureEncoder(ALL)):
        many = encoder.many(columns)
        assert many.shape == (len(rows), *encoder.space.shape)
        assert np.array_equal(many, np.stack([encoder.one(row) for row in rows]))
        assert np.array_equal(many, encoder.many(decoded))
        assert all(encoder.space.contains(row) for row in many)


def test_the_unknown_person_has_a_code_of_its_own() -> None:
    assert WHO.code("") == 0
    codes = WHO.codes(WHO.column([f"user {number}" for number in range(2_000)]))
    assert codes.min() >= 1
    assert codes.max() <= 999
    assert len(np.unique(codes)) == pytest.approx(999 * (1 - (1 - 1 / 999) ** 2_000), rel=0.05)  # as hashing would
    assert WHO.features(np.array(["a", "b"], object)).shape == (2, 0)


def test_features_end_with_a_bias() -> None:
    row = FeatureEncoder(ALL).one(GOOD)
    assert row[-1] == 1.0
    assert len(row) == 3 + 6 + 4 + 16 + 3 + 1


@pytest.mark.parametrize(
    ("bad", "field", "says"),
    [
        (b'{"mood":"hapy","age":20}', "mood", "Row 70000: Field 'mood' got 'hapy'"),
        (b'{"mood":"sad","age":-1}', "age", "Row 70000: Field 'age' got -1"),
        (b'{"mood":"sad","age":true}', "age", "Row 70000"),
        (b'{"mood":"sad"}', "age", "Row 70000: Field 'age' is missing"),
        (b'{"mood":"sad","aeg":20}', "aeg", "Row 70000: Field 'aeg' is not declared. Did you mean 'age'?"),
        (b'{"mood":"sad","age":20', None, "Row 70000: the context is not what was declared"),
        (b'{"mood":"sad","age":NaN}', None, "Row 70000: the context is not what was declared"),
        (b'{"mood":"sad","age":20},{"mood":"sad","age":20}', None, "Row 70000"),
        (b"[1]", None, "Row 70000: The context is [1]"),
        (b"\xff", None, "Row 70000"),
    ],
)
def test_a_bad_context_in_a_log_is_named_with_its_row(bad: bytes, field: str | None, says: str) -> None:
    rows = [b'{"mood":"sad","age":20}'] * 70_000 + [bad, b'{"mood":"sad","age":20}']
    with pytest.raises(InvalidInput) as error:
        Decoder((MOOD, AGE)).columns(rows)
    assert error.value.field == field
    assert says in str(error.value)


def test_contexts_are_decoded_chunk_by_chunk_in_order() -> None:
    count = encoders.CHUNK + 3
    columns = Decoder((MOOD, AGE)).columns([b'{"age":%d,"mood":"happy"}' % (row % 101) for row in range(count)])
    assert np.array_equal(columns["age"], np.arange(count) % 101)
    assert set(columns["mood"]) == {"happy"}


def test_no_contexts_are_columns_of_length_nothing() -> None:
    columns = Decoder(ALL).columns([])
    assert CodeEncoder(ALL).many(columns).shape == (0, 6)
    assert FeatureEncoder(ALL).many(columns).shape == (0, 33)


def test_a_field_may_be_called_anything() -> None:
    fields = (Number("time of day", 0.0, 24.0), Category("class", ("a", "b")))
    columns = Decoder(fields).columns([b'{"class":"b","time of day":12}'])
    assert CodeEncoder(fields).many(columns).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("field", "values", "row"),
    [
        (MOOD, ["sad", "bored"], 1),
        (AGE, [1, 2, 101], 2),
        (AGE, [1, True], 1),
        (AGE, [1, 10**400], 1),
        (AGE, np.array([1.0, np.nan]), 1),
        (NOTE, ["a", 2], 1),
        (TASTE, [[1, 2, 3], [1, 2]], 1),
        (TASTE, np.array([[0.0, 1.0, 2.0], [0.0, np.inf, 1.0]]), 1),
    ],
)
def test_a_bad_column_is_named_with_its_row(field: Any, values: Any, row: int) -> None:
    with pytest.raises(InvalidInput, match=f"^Row {row}: Field '{field.name}'"):
        field.column(values)


def test_numpy_numbers_are_numbers() -> None:
    assert AGE.code(np.float32(19.5)) == AGE.code(np.int64(19)) == 0
    assert AGE.column([np.int16(3), 4.5]).tolist() == [3.0, 4.5]


def test_other_bins_encode_the_same_columns() -> None:
    columns = Decoder((MOOD, AGE)).columns([b'{"mood":"sad","age":34}'])
    reordered = (Category("mood", ("sad", "happy", "neutral")), Number("age", 0.0, 100.0, bins=3))
    assert CodeEncoder(reordered).many(columns).tolist() == [[0, 1]]
    with pytest.raises(InvalidInput, match="Row 0: Field 'mood' got 'sad'"):
        CodeEncoder((Category("mood", ("calm",)), AGE)).many(columns)
