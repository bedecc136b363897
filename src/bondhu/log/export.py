"""Writes decisions with what was said of them to a table that other tools, and `bondhu import`, read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bondhu.errors import InvalidInput, StoreError, nearest
from bondhu.log import dsjson
from bondhu.log.join import settlement
from bondhu.ports import Domain
from bondhu.types import SESSION_CUT, SESSION_END, Floats, Records

Table = Mapping[str, Sequence[Any]]  # one list a column


def export(records: Records, domain: Domain, path: Path, *, now: float = np.inf) -> int:
    """Write a .parquet, .csv, .jsonl or .dsjson file by its suffix; returns the number of rows. Replaces the file when
    whole. `now`: what is settled by then has the default reward in DSJSON, where nobody said anything; seconds."""
    if path.suffix not in WRITERS:
        raise InvalidInput(
            f"Cannot write {path.name!r}.", field="path", value=str(path), fix=nearest(path.suffix, WRITERS)
        )
    beside = path.with_suffix(f"{path.suffix}.part")
    try:
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600, exist_ok=False)  # people are in it
        more = dsjson.beside(records, domain, now) if WRITERS[path.suffix] is dsjson.write else {}
        WRITERS[path.suffix]({**table(records, domain), **more}, beside)
        beside.replace(path)
    except OSError as error:
        what = f"{path} cannot be written: {os.strerror(error.errno) if error.errno else error}."
        raise StoreError(what, field="path", value=str(path), fix="Mend that, or name another file.") from error
    finally:
        beside.unlink(missing_ok=True)
    return len(records.id)


def table(records: Records, domain: Domain) -> Table:
    """A row a decision: its facts, `context.*` fields as sent, and one column a signal.

    Feedback has no time of its own in a table, so what came too late to count has columns of its own, `late.*`.
    """
    contexts = [msgspec.json.decode(context) for context in records.context]
    fields = dict.fromkeys(name for context in contexts for name in context)
    return {
        "id": list(records.id),
        "session": list(records.session),
        "user": list(records.user),
        "time": records.time.tolist(),
        "action": list(records.action),
        "probability": records.probability.tolist(),
        "allowed": [_cell(records.allowed_sets[number]) for number in records.allowed.tolist()],
        "version": list(records.version),
        "variant": list(records.variant),
        "assigned": records.assigned.tolist(),
        **{f"context.{name}": [_cell(context.get(name)) for context in contexts] for name in fields},
        **_signals(records, domain),
    }


def _signals(records: Records, domain: Domain) -> dict[str, list[Any]]:
    """A value where a signal came once; all of its values, as a list, in a column where it came to one more often."""
    late = records.feedback_time > _deadline(records, domain)
    columns: dict[str, list[Any]] = {}
    for name in dict.fromkeys(records.feedback_signal):
        same = records.feedback_signal.among(name)
        for title, said in ((name, same & ~late), (f"late.{name}", same & late)):
            heard: list[list[float]] = [[] for _ in records.id]
            for row, value in zip(
                records.feedback_decision[said].tolist(), records.feedback_value[said].tolist(), strict=True
            ):
                heard[row].append(value)
            if said.any():
                several = max(map(len, heard)) > 1
                columns[title] = [(_cell(values) if several else values[0]) if values else None for values in heard]
    return columns


def _deadline(records: Records, domain: Domain) -> Floats:
    """Until when each feedback counts: `[K]` seconds."""
    marks = records.feedback_signal.among(SESSION_END, SESSION_CUT)
    wait = np.inf if domain.reward.count_late else domain.reward.wait
    deadline: Floats = records.time[records.feedback_decision] + np.where(marks, settlement(domain), wait)
    return deadline


def _cell(value: Any) -> Any:
    """Lists as JSON, so that every table can hold them."""
    return msgspec.json.encode(value).decode() if isinstance(value, list | tuple | dict) else value


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


WRITERS: Mapping[str, Callable[[Table, Path], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".dsjson": dsjson.write,
}
