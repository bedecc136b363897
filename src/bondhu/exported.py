"""Takes people out of tables that were written before: Parquet, CSV and JSON lines. What stays keeps its bytes, but
that Parquet is packed anew."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from bondhu.errors import InvalidInput
from bondhu.privacy.persons import Whose, theirs

COLUMNS = ("user", "session")  # that say whose decision a row is

Rows = Iterator[tuple[Whose | None, bytes]]  # whose each row is, None for a header, and its bytes


def counted(path: Path, names: Collection[str]) -> int:
    """How many rows of a table are of the person with these names. Raises InvalidInput where it is no such table,
    OSError where it cannot be read."""
    with _readable(path):
        asked = theirs(names, WHOSE[path.suffix](path))
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
            WRITERS[path.suffix](path, beside, theirs(names, WHOSE[path.suffix](path)))
        beside.chmod(path.stat().st_mode & 0o777)  # whoever may read it still may
        _settled(beside)
        beside.replace(path)
        _settled(path.parent)
    finally:
        beside.unlink(missing_ok=True)
    return gone


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


def _whose_parquet(path: Path) -> Iterator[Whose]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if not set(COLUMNS) <= set(file.schema_arrow.names):
            raise ValueError("it does not say whose its rows are")
        for batch in file.iter_batches(columns=list(COLUMNS)):
            yield from map(Whose, *(batch.column(name).to_pylist() for name in COLUMNS))


def _write_parquet(path: Path, beside: Path, gone: Callable[[Whose], bool]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file, pq.ParquetWriter(beside, file.schema_arrow, compression="zstd") as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            rows = map(Whose, *(table.column(name).to_pylist() for name in COLUMNS))
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
    yield None, lines.taken()
    for row in rows:
        yield (Whose(row[user], row[session]) if row else None), lines.taken()


def _json_rows(file: BinaryIO) -> Rows:
    for line in file:
        record = msgspec.json.decode(line) if line.strip() else None
        yield (Whose(*(record[name] for name in COLUMNS)) if record is not None else None), line


def _whose(rows: Callable[[BinaryIO], Rows]) -> Callable[[Path], Iterator[Whose]]:
    def read(path: Path) -> Iterator[Whose]:
        with path.open("rb") as file:
            yield from (whose for whose, _ in rows(file) if whose is not None)

    return read


def _writer(rows: Callable[[BinaryIO], Rows]) -> Callable[[Path, Path, Callable[[Whose], bool]], None]:
    def write(path: Path, beside: Path, gone: Callable[[Whose], bool]) -> None:
        with path.open("rb") as old, beside.open("wb") as new:
            for whose, row in rows(old):
                if whose is None or not gone(whose):
                    new.write(row)

    return write


WHOSE: Mapping[str, Callable[[Path], Iterator[Whose]]] = {
    ".parquet": _whose_parquet,
    ".csv": _whose(_csv_rows),
    ".jsonl": _whose(_json_rows),
}
WRITERS: Mapping[str, Callable[[Path, Path, Callable[[Whose], bool]], None]] = {
    ".parquet": _write_parquet,
    ".csv": _writer(_csv_rows),
    ".jsonl": _writer(_json_rows),
}
