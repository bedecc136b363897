"""Writes decisions with what was said of them to a table that other tools, and `bondhu import`, read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bondhu.errors import InvalidInput, nearest
from bondhu.types import Records

Table = Mapping[str, Sequence[Any]]  # one list a column


def export(records: Records, path: Path) -> int:
    """Write a .parquet, .csv or .jsonl file by its suffix; returns the number of rows. Replaces the file when whole."""
    if path.suffix not in WRITERS:
        raise InvalidInput(
            f"Cannot write {path.name!r}.", field="path", value=str(path), fix=nearest(path.suffix, WRITERS)
        )
    beside = path.with_suffix(f"{path.suffix}.part")
    try:
        WRITERS[path.suffix](table(records), beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return len(records.id)


def table(records: Records) -> Table:
    """A row a decision: its facts, `context.*` fields as sent, and one column a signal with the sum of its values."""
    contexts = [msgspec.json.decode(context) for context in records.context]
    fields = dict.fromkeys(name for context in contexts for name in context)
    return {
        "id": list(records.id),
        "session": list(records.session),
        "user": list(records.user),
        "time": records.time.tolist(),
        "action": list(records.action),
        "probability": records.probability.tolist(),
        "allowed": ["|".join(records.allowed_sets[number]) for number in records.allowed.tolist()],
        "version": list(records.version),
        **{f"context.{name}": [_cell(context.get(name)) for context in contexts] for name in fields},
        **_signals(records),
    }


def _signals(records: Records) -> dict[str, list[float | None]]:
    signals = np.array(records.feedback_signal, dtype=object)
    columns: dict[str, list[float | None]] = {}
    for name in dict.fromkeys(records.feedback_signal):
        said = signals == name
        rows = records.feedback_decision[said]
        count = np.bincount(rows, minlength=len(records.id))
        total = np.bincount(rows, records.feedback_value[said], len(records.id))
        columns[name] = [value if heard else None for value, heard in zip(total.tolist(), count.tolist(), strict=True)]
    return columns


def _cell(value: Any) -> Any:
    """Lists as JSON, so that every table can hold them."""
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value


def _parquet(columns: Table, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), path, compression="zstd")


def _csv(columns: Table, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import csv

    csv.write_csv(pa.table(dict(columns)), path)


def _jsonl(columns: Table, path: Path) -> None:
    with path.open("wb") as file:
        for row in zip(*columns.values(), strict=True):
            file.write(msgspec.json.encode(dict(zip(columns, row, strict=True))) + b"\n")


WRITERS: Mapping[str, Callable[[Table, Path], None]] = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
