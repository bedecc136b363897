"""Tables as CSV (RFC 4180), of which no cell is a formula: what people wrote must not run where somebody opens it."""

from __future__ import annotations

import csv
from io import StringIO
from math import isnan
from numbers import Real
from typing import Any

from bondhu.dashboard.page import Table

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a text begins with that a spreadsheet would compute


def csv_of(table: Table) -> str:
    """Its columns and rows; numbers as they are, nothing for NaN and None."""
    text = StringIO()
    write = csv.writer(text, lineterminator="\r\n").writerow
    write([shown(name) for name in table.columns])
    for row in table.rows:
        write([shown(value) for value in row])
    return text.getvalue()


def shown(value: Any) -> str:
    """One cell. Text that would be a formula has an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, Real):  # NumPy's numbers are
        return "" if isnan(value) else str(value)
    text = str(value)
    return f"'{text}" if text.startswith(FORMULAS) else text
