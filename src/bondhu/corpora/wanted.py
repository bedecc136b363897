"""What is asked of an export, and what comes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Wanted:
    """What to export."""

    kind: str  # of KINDS
    form: str = "jsonl"  # of FORMS
    test: float = 0.1  # share of people in the test split
    since: float = float("-inf")  # seconds


class Exported(NamedTuple):
    """What a folder holds."""

    turns: int  # decisions looked at
    rows: Mapping[str, int]  # by split
    used: int  # turns that are in a record
    left_out: Counter[str]  # turns that are in none, by reason
