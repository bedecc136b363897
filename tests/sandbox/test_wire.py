"""What crosses the wall, and what must not."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.sandbox.inside import wire

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
HASHABLE = st.recursive(SCALARS, lambda each: st.tuples(each, each) | st.frozensets(each, max_size=4), max_leaves=5)
PLAIN = st.recursive(
    SCALARS,
    lambda each: st.lists(each) | st.tuples(each) | st.dictionaries(HASHABLE, each) | st.sets(HASHABLE),
    max_leaves=20,
)


def crossed(value: Any) -> Any:
    return wire.decode(wire.read(wire.frame(wire.encode(value))[4:]))


@settings(max_examples=40, deadline=None)
@given(PLAIN)
def test_plain_data_crosses_unchanged(value: Any) -> None:
    assert shape(crossed(value)) == shape(value)


def shape(value: Any) -> tuple[str, Any]:
    """Its type and what is in it; the order of sets is nobody's."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, [(shape(key), shape(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return kind, [shape(each) for each in value]
    if isinstance(value, set | frozenset):
        return kind, sorted(repr(shape(each)) for each in value)
    return kind, repr(value)


@pytest.mark.parametrize("value", [10**18, 10**19, 10**20, -(10**300), math.inf, 5e-324])
def test_numbers_cross_exactly(value: float) -> None:
    assert crossed([value]) == [value]
    assert type(crossed(value)) is type(value)


def test_nesting_has_an_end() -> None:
    value: Any = []
    for _ in range(wire.DEPTH - 1):
        value = [value]
    assert crossed(value) == value
    with pytest.raises(wire.Opaque, match="too deep"):
        wire.encode([value])
    with pytest.raises(wire.Opaque, match="too deep"):
        wire.decode([value])


def test_a_value_that_doubles_at_each_level_is_refused_early() -> None:
    value: Any = [1]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(wire.Opaque, match="too large"):
        wire.encode(value)


@pytest.mark.parametrize(
    "text",
    ["7" * 21, "1." + "7" * 40, "NaN", "Infinity", "[" * 100_000, "{", "\"\xff\"", "[1,]", "nul"],
)  # fmt: skip
def test_slow_or_broken_json_is_refused(text: str) -> None:
    with pytest.raises(wire.Opaque, match="unknown form"):
        wire.read(text.encode("latin-1"))


@pytest.mark.parametrize(
    "data",
    [
        {}, {"t": 1}, {"t": [], "s": []}, {"q": []}, {"s": [[1]]}, {"d": [1]}, {"d": [{"t": [1]}]},
        {"d": [{"t": [[], 1]}]}, {"b": "="}, {"b": 3}, {"b": "é"}, {"i": "x"}, {"i": 3}, {"f": "2"}, {"f": []},
        {"c": [1]}, {"c": ["a", 1]}, {"__class__": "int"},
    ],
)  # fmt: skip
def test_forms_that_nobody_makes_are_refused(data: Any) -> None:
    with pytest.raises(wire.Opaque, match="unknown form"):
        wire.decode(data)


def test_keys_of_one_hash_are_refused_before_a_table_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [number * (2**61 - 1) for number in range(1_000)]  # the hash of each is 0
    assert wire.decode({"s": keys[:10]}) == set(keys[:10])
    with pytest.raises(wire.Opaque, match="one hash"):
        wire.decode({"s": [{"i": hex(each)} for each in keys]})
    for table in ("set", "frozenset", "dict"):
        monkeypatch.setattr(wire, table, lambda _: pytest.fail("a table is built"), raising=False)
    for tag, members in (("s", keys), ("z", keys), ("d", [(each, 1) for each in keys])):
        with pytest.raises(wire.Opaque, match="one hash"):
            wire.MADE[tag](members)


def test_a_frame_is_limited() -> None:
    assert len(wire.frame("x" * 1000)) == 1006
    with pytest.raises(wire.Opaque, match="too large"):
        wire.frame("x" * wire.FRAME)


def test_instances_of_subclasses_do_not_cross() -> None:
    class Sly(int):
        pass

    for value in (Sly(1), [Sly(1)], {Sly(1): 1}, (1, {"a": Sly(2)})):
        with pytest.raises(wire.Opaque, match="a Sly"):
            wire.encode(value)
    assert json.loads(json.dumps(Sly(1))) == 1  # which JSON alone would have let through


def test_dictionaries_of_the_library_come_out_as_dictionaries_and_classes_made_of_them_do_not() -> None:
    class Own(Counter):
        pass

    for value in (Counter("aab"), OrderedDict(a=2, b=1), defaultdict(int, a=2, b=1)):
        out = wire.decode(wire.encode(value))
        assert type(out) is dict
        assert out == {"a": 2, "b": 1}
    with pytest.raises(wire.Opaque, match="a Own"):
        wire.encode(Own("aab"))
