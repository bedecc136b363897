"""The kinds of log that can be imported, and how to tell which kind a file is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bondhu.errors import UnknownName, nearest
from bondhu.log.importers import dsjson, open_bandit, rows, vw_json, vw_text
from bondhu.log.importers.lines import Line, TextFile
from bondhu.log.importers.mapping import ColumnMapping

Read = Callable[[Path, ColumnMapping], Iterator[Line]]


class Kind(NamedTuple):
    """One kind of log."""

    read: Read
    mapped: bool = False  # a table whose columns a mapping names
    typed: bool = True  # text is text, even where it looks like a number
    sparse: bool = False  # what a row does not mention is 0


KINDS: dict[str, Kind] = {
    "csv": Kind(rows.read_csv, mapped=True, typed=False),
    "jsonl": Kind(rows.read_jsonl, mapped=True),
    "parquet": Kind(rows.read_parquet, mapped=True),
    "open_bandit": Kind(lambda path, _: open_bandit.read(path)),
    "vw_text": Kind(lambda path, _: vw_text.read(path), sparse=True),
    "vw_json": Kind(lambda path, _: vw_json.read_json(path), sparse=True),
    "dsjson": Kind(lambda path, _: dsjson.read(path), sparse=True),
}
_SUFFIXES = {
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".dsjson": "dsjson",
    ".vw": "vw_text",
}


def kind_of(path: Path, name: str | None) -> str:
    """The kind of that name, or the one the file's name and first line suggest."""
    if name is None:
        return _guess(path)
    if name not in KINDS:
        raise UnknownName(f"No kind of log {name!r}.", field="kind", value=name, fix=nearest(name, KINDS))
    return name


def _guess(path: Path) -> str:
    if path.is_dir():
        return "open_bandit"
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    if plain.suffix in _SUFFIXES:
        return _SUFFIXES[plain.suffix]
    first = next((text for text in TextFile(path) if text.strip()), "")
    if first.lstrip().startswith("{"):
        return _guess_json(first)
    if {"item_id", "propensity_score", "user_feature_0"} <= set(first.strip().split(",")):
        return "open_bandit"
    if "|" in first and plain.suffix != ".csv":
        return "vw_text"
    return "parquet" if first.startswith("PAR1") else "csv"


def _guess_json(first: str) -> str:
    """By the names in the line, since it may be cut short."""
    tight = first.replace(" ", "")
    if '"c":{' in tight or '"_outcomes"' in tight or '"RewardValue"' in tight:
        return "dsjson"
    return "vw_json" if '"_label' in tight or '"_multi"' in tight else "jsonl"
