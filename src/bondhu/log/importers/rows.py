"""Tables of decisions: CSV, JSON lines and Parquet, with a mapping from columns to the parts of a decision."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from bondhu.errors import InvalidInput, nearest
from bondhu.log.importers.lines import Line, Row, TextFile, readable
from bondhu.log.importers.mapping import ColumnMapping

Record = Mapping[str, Any]  # column: value of one row
DELIMITERS = ",;\t|"


def read_csv(path: Path, mapping: ColumnMapping) -> Iterator[Line]:
    """The first line names the columns; comma, semicolon, tab or bar between them."""
    file = TextFile(path)
    lines = iter(file)
    first = readable(next(lines, ""))
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    header = next(reader, [])
    doubled = next((name for name in header if name and header.count(name) > 1), None)
    if doubled is not None:
        raise InvalidInput(f"Two columns are called {doubled!r}.", field="header", value=doubled, fix="Rename one.")
    parts = mapping.resolved(header)
    wanted = [(column, header.index(column)) for _, column in parts.columns()]
    while True:
        try:
            cells = next(reader)
            if not cells:
                continue
            if len(cells) != len(header):
                raise InvalidInput(
                    f"The row has {len(cells)} columns where the header has {len(header)}.",
                    field="row",
                    value=delimiter.join(cells)[:80],
                    fix="It may be cut short.",
                )
            readable("".join(cells))
            yield Line(file.number, file.done, _row({name: cells[at] for name, at in wanted}, parts))
        except StopIteration:
            return
        except csv.Error as error:
            problem = InvalidInput(f"The row is not CSV: {error}.", field="row", fix="A quote may be missing.")
            yield Line(file.number, file.done, problem=problem)
        except InvalidInput as error:
            if error.field == "file":
                raise
            yield Line(file.number, file.done, problem=error)


def read_jsonl(path: Path, mapping: ColumnMapping) -> Iterator[Line]:
    """One object a line; `{"context": {"mood": ...}}` is the column `context.mood`."""
    file = TextFile(path)
    known: dict[tuple[str, ...], ColumnMapping] = {}  # objects may differ in their names
    for text in file:
        if not text.strip():
            continue
        try:
            record = _flat(decoded(readable(text)))
            names = tuple(record)
            parts = known.get(names) or known.setdefault(names, mapping.resolved(names))
            yield Line(file.number, file.done, _row(record, parts))
        except InvalidInput as error:
            yield Line(file.number, file.done, problem=error)


def read_parquet(path: Path, mapping: ColumnMapping) -> Iterator[Line]:
    """Nested columns are named `outer.inner`."""
    import pyarrow
    import pyarrow.parquet

    size = path.stat().st_size
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            parts = mapping.resolved(_leaves(file.schema_arrow))
            batches = file.iter_batches(columns=[column for _, column in parts.columns()])
            records = chain.from_iterable(batch.to_pylist() for batch in batches)
            for row, record in enumerate(records, start=1):
                done = size * row // file.metadata.num_rows
                try:
                    yield Line(row, done, _row(_flat(record), parts))
                except InvalidInput as error:
                    yield Line(row, done, problem=error)
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidInput(
            f"{path.name} is not a whole Parquet file: {error}.", field="file", value=str(path), fix="Copy it again."
        ) from error


def decoded(text: str) -> dict[str, Any]:
    """The JSON object on this line."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        fix = "The line may be cut short." if not text.rstrip().endswith("}") else "Mend the line."
        raise InvalidInput(
            f"The line is not a JSON object: {error}.", field="line", value=text[:80], fix=fix
        ) from error


def seconds(value: Any) -> float:
    """UNIX seconds from ISO 8601 (UTC where no zone is given) or UNIX time in s, ms, µs or ns."""
    try:
        if not isinstance(value, datetime):
            try:
                return _scaled(float(value))
            except ValueError:
                value = datetime.fromisoformat(value)
        zoned: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return zoned.timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(
            f"Time {value!r} is neither ISO 8601 nor UNIX time.",
            field="time",
            value=value,
            fix="Write 2026-11-21T13:05:01Z or 1795266301.",
        ) from error


def number(part: str, value: Any) -> float:
    """A finite number in the column of this part."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise InvalidInput(f"{part} {value!r} is not a finite number.", field=part, value=value, fix="Mend the row.")
    return result


def _row(record: Record, parts: ColumnMapping) -> Row:
    def get(column: str | None) -> Any:
        return None if column is None else record.get(column)

    action = _value(record, "action", parts.action)
    constant = isinstance(parts.probability, float | int)
    probability = parts.probability if constant else _value(record, "probability", parts.probability)
    time = get(parts.time)
    return Row(
        context={field: record[column] for field, column in (parts.context or {}).items() if column in record},
        action=_name(action),
        probability=number("probability", probability),
        signals=tuple(
            (signal, number(signal, value))
            for signal, column in (parts.signals or {}).items()
            for value in _several(get(column))
        ),
        allowed=_names(get(parts.allowed)),
        id=_name(get(parts.id)),
        session=_name(get(parts.session)),
        user=_name(get(parts.user)) or None,
        time=None if _absent(time) else seconds(time),
        version=_name(get(parts.version)) or "imported",
    )


def _value(record: Record, part: str, column: Any) -> Any:
    """What must be there: a JSON object may lack any column."""
    value = record.get(column)
    if _absent(value):
        fix = nearest(column, record) if column not in record else "Fill the cell."
        raise InvalidInput(f"The row has no {part} (column {column!r}).", field=part, fix=fix)
    return value


def _absent(value: Any) -> bool:
    return value is None or value == ""


def _name(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _names(value: Any) -> tuple[str, ...] | None:
    """A list of names, a JSON list in a cell, or names with bars between them."""
    if _absent(value):
        return None
    if isinstance(value, str):
        value = _listed(value) if value.lstrip().startswith("[") else value.split("|")
    if not isinstance(value, list):
        raise InvalidInput(f"allowed {value!r} is not a list of actions.", field="allowed", value=value)
    return tuple(map(_name, value))


def _several(value: Any) -> list[Any]:
    """A value, or all of a list of them: a signal may have come more than once."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _listed(value)
    return value if isinstance(value, list) else [] if _absent(value) else [value]


def _listed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _scaled(value: float) -> float:
    """1e11 seconds is the year 5138: anything above counts in thousandths, again and again."""
    if not math.isfinite(value):
        raise ValueError(value)
    while abs(value) > 1e11:
        value /= 1000.0
    return value


def _flat(record: Record, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def _leaves(fields: Any, prefix: str = "") -> list[str]:
    """The columns of an Arrow schema as `_flat` names them."""
    names: list[str] = []
    for field in fields:
        nested = str(field.type).startswith("struct<")
        names += _leaves(field.type, f"{prefix}{field.name}.") if nested else [prefix + field.name]
    return names
