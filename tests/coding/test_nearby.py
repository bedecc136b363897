"""Inputs near those of tests, and answers that are the same, of numbers of any size."""

from __future__ import annotations

from itertools import count
from math import factorial, inf, nan
from typing import Any

import pytest

from bondhu.domains.coding.nearby import alike, perturbed, written
from bondhu.sandbox.program import Call

LARGE = factorial(2_000)  # no float is as large, and `repr` refuses it


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (LARGE, LARGE, True),
        (LARGE, LARGE + 1, False),
        ([LARGE], (LARGE,), True),
        ({"a": LARGE}, {"a": -LARGE}, False),
        (LARGE, 1.0, False),
        (inf, LARGE, False),
        (nan, LARGE, False),
        (inf, inf, True),
        (inf, -inf, False),
        (nan, nan, True),
        (10**9, 10**9 + 1, False),  # only floats are rounded
        (10**9, 1e9 + 1, True),
        (2, 2.0, True),
    ],
    ids=count(),
)
def test_numbers_of_any_size_are_compared(left: Any, right: Any, same: bool) -> None:
    assert alike(left, right) is same
    assert alike(right, left) is same


def test_inputs_near_long_numbers_are_found() -> None:
    made = perturbed([Call((LARGE,)), Call(({LARGE, 1},))])
    assert Call((LARGE + 1,)) in made
    assert Call(({1},)) in made


def test_what_is_written_alike_is_of_the_same_types() -> None:
    values = [1, 1.0, True, "1", b"1", None, [1], (1,), {1}, frozenset({1}), {1: 1}, [], 0.0, -0.0, LARGE, -LARGE]
    assert len({written(each) for each in values}) == len(values)
    assert written({8, 16, 0}) == written({0, 16, 8})
