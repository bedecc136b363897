"""Facts as they arrived in a pair of Parquet files: revisions, ids and order kept, contexts as JSON.

`NAME.decisions.parquet` and `NAME.feedback.parquet` are one pair; a folder may hold several, in order of their names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from bondhu.errors import InvalidInput, StoreTooNew
from bondhu.log.checks import decode, encode, encode_lines
from bondhu.ports import Facts
from bondhu.types import Decision, Feedback

FORMAT = 1  # raised when an older release could not read what this one writes
MARK = b"bondhu.facts"  # in a file's metadata: its format
OF = b"bondhu.domain"
MOST = 10_000  # rows in a group, decisions in a piece
DECISIONS, FEEDBACK = "decisions.parquet", "feedback.parquet"


Row = tuple[Any, ...]


class Pair(NamedTuple):
    """Where facts are kept."""

    decisions: Path
    feedback: Path

    @classmethod
    def called(cls, folder: Path, name: str = "") -> Pair:
        """The pair of this name in a folder; in a folder of its own it needs none."""
        prefix = f"{name}." if name else ""
        return cls(folder / f"{prefix}{DECISIONS}", folder / f"{prefix}{FEEDBACK}")


class Written(NamedTuple):
    """How many facts there are, and a digest over all of them in their order."""

    decisions: int
    feedback: int
    digest: str


def write_facts(pieces: Iterable[Facts], pair: Pair, domain: str) -> Written:
    """Write a pair, on disk when it returns; memory holds a piece at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {MARK: str(FORMAT).encode(), OF: domain.encode()}
    decisions, feedback = (pa.schema(fields).with_metadata(about) for fields in _columns())
    tally = Tally()
    for path in pair:
        path.touch(mode=0o600)  # people are in it
    with (
        pq.ParquetWriter(pair.decisions, decisions, compression="zstd") as made,
        pq.ParquetWriter(pair.feedback, feedback, compression="zstd") as said,
    ):
        for piece in pieces:
            plain = [*map(_plain, piece.decisions)]
            tally.add(plain, piece.feedback)
            if plain:
                made.write_table(_table(plain, decisions))
            if piece.feedback:
                said.write_table(_table(piece.feedback, feedback))
    for path in pair:
        flush(path)
    return tally.written()


def digested(pieces: Iterable[Facts]) -> Written:
    """Count facts and digest them, whatever pieces they come in."""
    tally = Tally()
    for piece in pieces:
        tally.add([*map(_plain, piece.decisions)], piece.feedback)
    return tally.written()


class Tally:
    """Counts and digests rows, a piece at a time."""

    def __init__(self) -> None:
        self._counts = [0, 0]
        self._digests = blake2b(), blake2b()

    def add(self, decisions: Sequence[Row], feedback: Sequence[Row]) -> None:
        for place, rows in enumerate((decisions, feedback)):
            self._counts[place] += len(rows)
            self._digests[place].update(encode_lines(rows))

    def written(self) -> Written:
        made, said = self._counts
        return Written(made, said, "-".join(each.hexdigest() for each in self._digests))


def facts_of(path: Path) -> Iterator[Facts]:
    """The facts of a pair, named by either file, or of all pairs of a folder, a piece at a time. Raises InvalidInput
    where there are none, StoreTooNew where a newer release wrote them."""
    for pair in pairs_of(path):
        yield from read_pair(pair)


def read_pair(pair: Pair) -> Iterator[Facts]:
    """The facts of two files, whatever they are called; raises as `facts_of`."""
    import pyarrow.parquet as pq

    for path in pair:
        _checked(path)
    with pq.ParquetFile(pair.decisions) as made, pq.ParquetFile(pair.feedback) as said:
        heard = map(Feedback._make, _rows(said, Feedback._fields))
        row = next(heard, None)
        rows = _rows(made, Decision._fields)
        while piece := _decisions(list(islice(rows, MOST))):
            ids = {each.id for each in piece}
            theirs = []
            while row is not None and row.decision_id in ids:
                theirs.append(row)
                row = next(heard, None)
            yield Facts(piece, theirs)
        waiting = chain([] if row is None else [row], heard)
        while some := list(islice(waiting, MOST)):
            yield Facts([], some)


def pairs_of(path: Path) -> list[Pair]:
    """The pairs at a path; raises InvalidInput where there are none or one is not whole."""
    names = sorted(path.glob(f"*{DECISIONS}")) if path.is_dir() else [path]
    pairs = [Pair(each, each.with_name(each.name.removesuffix(DECISIONS) + FEEDBACK)) for each in names]
    if not path.is_dir() and path.name.endswith(FEEDBACK):
        pairs = [Pair(path.with_name(path.name.removesuffix(FEEDBACK) + DECISIONS), path)]
    if not pairs:
        fix = "Name a folder that `bondhu export` or `bondhu archive` wrote."
        raise InvalidInput(f"{path} holds no facts.", field="path", value=str(path), fix=fix)
    for part in chain.from_iterable(pairs):
        if not part.is_file():
            fix = "Bring both files of the pair."
            raise InvalidInput(f"{part} is not there.", field="path", value=str(part), fix=fix)
    return pairs


def holds_facts(path: Path) -> bool:
    """Whether `facts_of` is the way to read this: a folder with pairs, or a file of one."""
    if path.is_dir():
        return any(path.glob(f"*{DECISIONS}"))
    if not path.is_file() or not path.name.endswith((DECISIONS, FEEDBACK)):
        return False
    try:
        return MARK in _metadata(path)
    except (InvalidInput, OSError):
        return False


def domain_of(pair: Pair) -> str:
    """Whose facts a pair holds; raises as `facts_of`."""
    about = _checked(pair.decisions)
    return about[OF].decode()


def rows_of(pair: Pair) -> int:
    """How many decisions a pair holds."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(pair.decisions).num_rows)


def _rows(file: Any, names: tuple[str, ...]) -> Iterator[Row]:
    for batch in file.iter_batches(MOST, columns=list(names)):
        yield from zip(*(_values(batch.column(name)) for name in names), strict=True)


def _values(column: Any) -> list[Any]:
    """As `to_pylist`; lists in a tenth of its time."""
    import pyarrow as pa

    if not pa.types.is_list(column.type):
        return list(column.to_pylist())
    inside = column.flatten().to_numpy(zero_copy_only=False).tolist()
    ends = (column.offsets.to_numpy() - column.offsets[0].as_py()).tolist()
    return [inside[start:end] for start, end in pairwise(ends)]


def _plain(row: Decision) -> Row:
    """With the context as JSON; the same from every store."""
    return (*row[:5], encode(row.context).decode(), *row[6:])


def _decisions(rows: list[Row]) -> list[Decision]:
    """Equal sets of allowed actions are held once."""
    sets: dict[tuple[str, ...], tuple[str, ...]] = {}
    kept = [sets.setdefault(each, each) for each in (tuple(row[6]) for row in rows)]
    return [
        Decision._make((*row[:5], decode(row[5]), allowed, *row[7:9], tuple(row[9]), *row[10:]))
        for row, allowed in zip(rows, kept, strict=True)
    ]


def _table(rows: Iterable[Row], schema: Any) -> Any:
    import pyarrow as pa

    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _columns() -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Names and types of the columns of both files."""
    import pyarrow as pa

    text, real = pa.string(), pa.float64()
    kinds = {"time": real, "allowed": pa.list_(text), "probability": real, "memo": pa.list_(real), "assigned": real}
    said = {"value": real, "time": real}
    return (
        [(name, kinds.get(name, text)) for name in Decision._fields],
        [(name, said.get(name, text)) for name in Feedback._fields],
    )


def _checked(path: Path) -> dict[bytes, bytes]:
    about = _metadata(path)
    if MARK not in about:
        fix = "Import it as a table, under another name."
        raise InvalidInput(f"{path} holds no facts as they arrived.", field="path", value=str(path), fix=fix)
    if int(about[MARK]) > FORMAT:
        raise StoreTooNew(f"{path} was written by a newer release of Bondhu.", fix="Upgrade Bondhu.")
    return about


def _metadata(path: Path) -> dict[bytes, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return dict(pq.read_schema(path).metadata or {})
    except pa.ArrowException as error:
        fix = "Bring a whole copy of it."
        raise InvalidInput(f"{path} is damaged: {error}.", field="path", value=str(path), fix=fix) from error


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
