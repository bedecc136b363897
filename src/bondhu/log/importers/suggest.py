"""A declaration for a log that has none: the tables of bondhu.toml, read off the data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bondhu.errors import InvalidInput
from bondhu.log.importers.lines import Line
from bondhu.log.importers.source import NONE, blank, name

MOST_VALUES = 100  # a category with more different values is text
BINS = 5
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_DIGITS = re.compile(r"(\d+)")


def suggest(title: str, lines: Iterable[Line], wait: float, *, typed: bool, sparse: bool) -> dict[str, Any]:
    """Declare what the rows hold, with `wait` seconds for feedback. Cells that are all numbers are numbers unless the
    format is `typed`; where rows are `sparse`, a number that is not mentioned is 0."""
    columns: dict[str, _Column] = {}
    actions: dict[str, None] = {}
    signals: dict[str, tuple[float, float]] = {}
    rows, why = 0, "it is empty"
    for line in lines:
        if line.row is None:
            why = str(line.problem or line.skipped)
            continue
        rows += 1
        actions.update(dict.fromkeys((line.row.action, *(line.row.allowed or ()))))
        for field, value in line.row.context.items():
            columns.setdefault(field, _Column(typed=typed)).see(value)
        for signal, value in line.row.signals:
            low, high = signals.get(signal, (0.0, 1.0))
            signals[signal] = (min(low, value), max(high, value))
    if not rows:
        what = f"No row of the file is a decision: {why.rstrip('.')}."
        raise InvalidInput(what, field="file", fix="Check the kind and the mapping.")
    ordered = sorted(actions, key=_natural)
    context = {field: column.table(rows, sparse=sparse) for field, column in columns.items()}
    return {
        "domain": {"name": re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower() or "imported", "idle": 0},
        "context": context or {"text": {"kind": "text"}},
        "actions": {"names": ordered},
        "reward": {
            "default": 0.0,
            "wait": wait,
            "signals": {
                signal: {"weight": 1.0, "range": list(ends)}
                for signal, ends in (signals or {"reward": (0.0, 1.0)}).items()
            },
        },
        "baseline": {"default": ordered[0]},
    }


def to_toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """The tables as TOML; tables inside of lists are written inline."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in plain.items()]
    if path and (lines or not inner):
        lines.insert(0, f"[{'.'.join(map(_key, path))}]\n")
    blocks = ["".join(lines)] if lines else []
    blocks += [to_toml(value, (*path, key)) for key, value in inner.items()]
    return "\n".join(blocks)


class _Column:
    """What was seen in one column."""

    def __init__(self, *, typed: bool) -> None:
        self.typed = typed
        self.rows = 0
        self.values: set[str] = set()  # up to MOST_VALUES + 1
        self.numbers = True
        self.low = math.inf
        self.high = -math.inf
        self.sizes: set[int] = set()  # of vectors

    def see(self, value: Any) -> None:
        if blank(value):
            return
        self.rows += 1
        if isinstance(value, list):
            self.sizes.add(len(value))
            return
        if len(self.values) <= MOST_VALUES:
            self.values.add(name(value))
        if self.numbers:
            self._see_number(value)

    def table(self, rows: int, *, sparse: bool) -> dict[str, Any]:
        """The table of this field."""
        missing = self.rows < rows
        if len(self.sizes) == 1 and not self.values:
            return {"kind": "vector", "size": self.sizes.pop()}
        if self.numbers and self.values:
            low, high = (min(self.low, 0.0), max(self.high, 0.0)) if missing and sparse else (self.low, self.high)
            return {"kind": "number", "range": [low, high if high > low else low + 1.0], "bins": BINS}
        if not self.values or self.sizes or len(self.values) > MOST_VALUES:
            return {"kind": "text"}
        return {"kind": "category", "values": sorted(self.values | ({NONE} if missing else set()), key=_natural)}

    def _see_number(self, value: Any) -> None:
        try:
            number = math.nan if self.typed and isinstance(value, str) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        self.numbers = math.isfinite(number)
        self.low, self.high = min(self.low, number), max(self.high, number)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """item_2 before item_10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(text) if part]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)
