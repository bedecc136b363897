"""Takes people out of tables that were written before: Parquet, CSV and JSON lines. What stays keeps its bytes, but
that Parquet is packed anew."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, starmap
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from bondhu.errors import InvalidInput
from bondhu.privacy.persons import Whose, theirs

COLUMNS = ("user", "session")  # that say whose decision a row is
SECOND = ("rejected_user", "rejected_session")  # and in records of two answers, whose the other one is

Whoses = tuple[Whose, ...]  # of one row
Rows = Iterator[tuple[Whoses, bytes]]  # whose each row is, nobody's for a header, and its bytes


def counted(path: Path, names: Collection[str]) -> int:
    """How many rows of a table are of the person with these names. Raises InvalidInput where it is no such table,
    OSError where it cannot be read."""
    with _readable(path):
        asked = _asked(path, names)
        return sum(map(asked, WHOSE[path.suffix](path)))


def without(path: Path, names: Collection[str]) -> int:
    """Rewrite a table without the rows of the person with these names, in one step, on disk when this returns. Returns
    how many rows are gone; raises as `counted`."""
    gone = counted(path, names)
    if not gone:
        return 0
    beside = path.with_suffix(f"{path.suffix}.part")
    try:
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600, exist_ok=False)
        with _readable(path):
            WRITERS[path.suffix](path, beside, _asked(path, names))
        beside.chmod(path.stat().st_mode & 0o777)  # whoever may read it still may
        _settled(beside)
        beside.replace(path)
        _settled(path.parent)
    finally:
        beside.unlink(missing_ok=True)
    return gone


def _asked(path: Path, names: Collection[str]) -> Callable[[Whoses], bool]:
    """What tells the rows of a person from all rows of a table: those in which anything is theirs."""
    asked = theirs(names, chain.from_iterable(WHOSE[path.suffix](path)))
    return lambda row: any(map(asked, row))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says of a file that is no such table what is wrong with it."""
    if path.suffix not in WHOSE:
        what = f"{path.name} is no table that was exported."
        raise InvalidInput(what, field="path", value=str(path), fix="Take the rows out by hand.")
    try:
        yield
    except (ValueError, KeyError, TypeError, csv.Error, msgspec.MsgspecError) as error:  # Arrow's are ValueErrors
        what = f"{path.name} cannot be read as it was exported: {error}."
        fix = "Delete it, or take the rows out by hand."
        raise InvalidInput(what, field="path", value=str(path), fix=fix) from error


def _settled(path: Path) -> None:
    """Wait until it is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -------------------------------------------------------------------------------------------------------------- Parquet


def _whose_parquet(path: Path) -> Iterator[Whoses]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = _columns(file.schema_arrow.names)
        for batch in file.iter_batches(columns=columns):
            yield from _people(batch, columns)


def _columns(names: Collection[str]) -> list[str]:
    """Those that say whose a row is."""
    if not set(COLUMNS) <= set(names):
        raise ValueError("it does not say whose its rows are")
    return [*COLUMNS, *(SECOND if set(SECOND) <= set(names) else ())]


def _people(table: Any, columns: Sequence[str]) -> Iterator[Whoses]:
    """Whose the rows of a table of Arrow are."""
    values = [table.column(name).to_pylist() for name in columns]
    return zip(*(map(Whose, *pair) for pair in _two_and_two(values)), strict=True)


def _two_and_two(values: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Two and two."""
    return zip(values[::2], values[1::2], strict=True)


def _write_parquet(path: Path, beside: Path, gone: Callable[[Whoses], bool]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file, pq.ParquetWriter(beside, file.schema_arrow, compression="zstd") as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            rows = _people(table, _columns(table.column_names))
            kept = table.filter(pa.array([not gone(row) for row in rows], pa.bool_()))
            if kept.num_rows:
                writer.write_table(kept)


# ----------------------------------------------------------------------------------------------------------------- text


class _Lines:
    """Text lines of a file, whose bytes are kept until they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._read: list[bytes] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self._read.append(line)
            yield line.decode("utf-8")

    def taken(self) -> bytes:
        """What was read since the last time."""
        read, self._read = b"".join(self._read), []
        return read


def _csv_rows(file: BinaryIO) -> Rows:
    lines = _Lines(file)
    rows = csv.reader(lines, strict=True)
    header = next(rows, [])
    user, session = map(header.index, COLUMNS)
    yield (), lines.taken()
    for row in rows:
        yield ((Whose(row[user], row[session]),) if row else ()), lines.taken()


def _json_rows(file: BinaryIO) -> Rows:
    for line in file:
        record: dict[str, Any] = msgspec.json.decode(line) if line.strip() else {}
        names = _columns(record) if line.strip() else ()
        yield tuple(starmap(Whose, _two_and_two([record[name] for name in names]))), line


def _whose(rows: Callable[[BinaryIO], Rows]) -> Callable[[Path], Iterator[Whoses]]:
    def read(path: Path) -> Iterator[Whoses]:
        with path.open("rb") as file:
            yield from (whose for whose, _ in rows(file) if whose)

    return read


def _writer(rows: Callable[[BinaryIO], Rows]) -> Callable[[Path, Path, Callable[[Whoses], bool]], None]:
    def write(path: Path, beside: Path, gone: Callable[[Whoses], bool]) -> None:
        with path.open("rb") as old, beside.open("wb") as new:
            for whose, row in rows(old):
                if not gone(whose):
                    new.write(row)

    return write


WHOSE: Mapping[str, Callable[[Path], Iterator[Whoses]]] = {
    ".parquet": _whose_parquet,
    ".csv": _whose(_csv_rows),
    ".jsonl": _whose(_json_rows),
}
WRITERS: Mapping[str, Callable[[Path, Path, Callable[[Whoses], bool]], None]] = {
    ".parquet": _write_parquet,
    ".csv": _writer(_csv_rows),
    ".jsonl": _writer(_json_rows),
}
