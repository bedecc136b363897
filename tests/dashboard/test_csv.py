"""Tables as CSV: numbers as they are, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
from io import StringIO

import numpy as np
import pytest

from bondhu.dashboard.page import Table
from bondhu.dashboard.web.spreadsheets import csv_of


def test_numbers_stay_numbers_and_what_is_missing_is_empty() -> None:
    table = Table(["day", "reward", "people"], [["Monday", -0.25, 3], ["Tuesday", float("nan"), None]])
    assert csv_of(table) == "day,reward,people\r\nMonday,-0.25,3\r\nTuesday,,\r\n"


def test_numbers_of_numpy_are_numbers() -> None:
    table = Table(["a", "b", "c"], [[np.float64(-1.5), np.int64(-7), np.float64("nan")]])
    assert csv_of(table) == "a,b,c\r\n-1.5,-7,\r\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("http://evil","x")'])
def test_text_that_would_be_a_formula_is_text(text: str) -> None:
    rows = list(csv.reader(StringIO(csv_of(Table([text, "b"], [[text, 1]])), newline="")))
    assert rows == [[f"'{text}", "b"], [f"'{text}", "1"]]


def test_quotes_commas_and_lines_stay_in_their_cell() -> None:
    told = 'he said "no", \nthen \u202eleft 🙂 <b>'
    assert list(csv.reader(StringIO(csv_of(Table(["a"], [[told]])), newline=""))) == [["a"], [told]]
