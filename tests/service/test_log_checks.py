"""Decisions checked together, as each would be checked alone."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.errors import InvalidInput
from bondhu.log.checks import checked_context, checked_contexts
from bondhu.types import Decision

GOOD = Decision("d", "shop", "s", None, 1.7e9, {"age": 3}, ("red", "blue"), "red", 0.5, (0.1,), "baseline", "live")
CHANGES: list[dict[str, Any]] = [
    {},
    {"user": "ann", "context": {"age": None}},
    {"context": MappingProxyType({"note": "null\n\r\u2028", "age": np.float64(2.5)})},
    {"context": msgspec.json.decode(b'{"a": 1}')},
    {"context": {"raw": msgspec.Raw(b"[1,\n2]")}},
    {"id": ""},
    {"id": "x" * 129},
    {"id": 5},
    {"session": "\ud800"},
    {"user": 7},
    {"user": []},
    {"time": float("nan")},
    {"context": {"age": float("nan")}},
    {"context": {"age": object()}},
    {"context": [1]},
    {"allowed": ["red", "blue"]},
    {"action": "green"},
    {"probability": 0.0},
    {"probability": float("nan")},
    {"probability": 1.5},
    {"memo": [0.1]},
]


@given(st.lists(st.sampled_from(CHANGES), min_size=0, max_size=6))
def test_many_rows_are_judged_as_each_of_them_is(changes: list[dict[str, Any]]) -> None:
    rows = [GOOD._replace(id=f"d{number}")._replace(**change) for number, change in enumerate(changes)]

    def judged(check: Any) -> Any:
        try:
            return check()
        except InvalidInput as error:
            return str(error), error.field

    assert judged(lambda: checked_contexts(rows)) == judged(lambda: [checked_context(row) for row in rows])


def test_the_bad_row_of_many_is_the_one_that_is_named() -> None:
    rows = [GOOD._replace(id=f"d{number}", probability=0.5 if number != 3 else 0.0) for number in range(5)]
    with pytest.raises(InvalidInput, match="'d3' got probability"):
        checked_contexts(rows)
