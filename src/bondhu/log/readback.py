"""Reads rows of a log back as columns, which the store packs: each column of a chunk of rows into one value.

A value of a row then costs a tenth of what it costs as a Python object of its own. SQLite packs in a thread, while the
chunk before is unpacked; what is not of SQLite here, other stores use as well.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count, islice
from typing import Any, NamedTuple

import apsw
import msgspec
import numpy as np

from bondhu.log.checks import encode
from bondhu.log.columns import memo_matrix
from bondhu.log.database import QUERIES
from bondhu.log.revisions import Said, superseded
from bondhu.types import Floats, Integers, Names

CHUNK = 2048  # decisions packed at a time: few enough for the processor's cache
AHEAD = 2  # chunks packed before they are asked for
SEPARATOR = b"\x1e"  # between contexts: no JSON text holds it as it is

Window = tuple[int, int, str, float, float]  # first and last seq, domain, start, end

_actions = msgspec.json.Decoder(list[str]).decode
_texts = msgspec.json.Decoder(list[str | None]).decode
_whole = msgspec.json.Decoder(list[int]).decode
_user = json.JSONDecoder().raw_decode
_real = msgspec.json.Decoder(list[float | None]).decode


Unpack = Callable[[Any], Any]
Chunk = tuple[Any, ...]


class Packing(NamedTuple):
    """How a store packs the columns of a chunk: what makes a list or an array of one."""

    names: Unpack
    people: Unpack  # names of users and sessions together: there are hardly more of them than of either
    person: Callable[[str], tuple[str | None, str]]  # user and session of one of these
    integers: Unpack
    floats: Unpack  # NaN where there is none


def read_decisions(connection: apsw.Connection, window: Window) -> tuple[Integers, dict[str, Any]]:
    """`seq` of the window's decisions, ascending, and their columns of Records."""

    def sets(used: list[int]) -> list[tuple[str, ...]]:
        query = connection.execute(QUERIES["action_sets"], (encode(used).decode(),))
        return [tuple(_actions(each)) for (each,) in query]

    return decision_columns(_packed(connection, "decisions", window), PACKING, sets)


def read_feedback(connection: apsw.Connection, seq: Integers) -> dict[str, Any]:
    """The feedback columns of Records, given `seq` of its decisions: in their order, then in that of arrival."""
    span = (int(seq[0]), int(seq[-1])) if len(seq) else (0, -1)

    def said_of(decisions: list[int]) -> Iterable[tuple[Any, ...]]:
        return connection.execute(QUERIES["revised"], (encode(decisions).decode(),))

    return feedback_columns(_packed(connection, "feedback", span), PACKING, seq, said_of)


def decision_columns(
    chunks: Iterable[Chunk], packing: Packing, sets_of: Callable[[list[int]], list[tuple[str, ...]]]
) -> tuple[Integers, dict[str, Any]]:
    """`seq` and the columns of Records from chunks in the order of the query `decisions`, at least one."""
    coded = {name: Coded(packing.names) for name in ("person", "action", "version", "variant")}
    coded["person"] = Coded(packing.people)
    plain: dict[str, Unpack] = {
        "seq": packing.integers,
        "id": packing.names,
        "time": packing.floats,
        "context": _lines,
        "allowed": packing.integers,
    }
    numbers: dict[str, Unpack] = {
        "probability": packing.floats,
        "assigned": packing.floats,
        "memo_lengths": packing.integers,
        "memo": _blob,
    }
    parts = unpacked(chunks, {**plain, **coded, **numbers})
    names = {name: Names(np.concatenate(parts[name]), list(codes.numbers)) for name, codes in coded.items()}
    people = list(map(packing.person, names["person"].values))
    used, allowed = np.unique(np.concatenate(parts["allowed"]), return_inverse=True)
    return np.concatenate(parts["seq"]), {
        "id": list(chain.from_iterable(parts["id"])),
        "time": np.concatenate(parts["time"]),
        "context": list(chain.from_iterable(parts["context"])),
        "allowed": allowed,
        "allowed_sets": sets_of(used.tolist()),
        "probability": np.concatenate(parts["probability"]),
        "assigned": np.concatenate(parts["assigned"]),
        "memo": memo_matrix(np.concatenate(parts["memo_lengths"]), np.concatenate(parts["memo"])),
        "user": Names.of([user for user, _ in people]).take(names["person"].codes),
        "session": Names.of([session for _, session in people]).take(names["person"].codes),
        **{name: names[name] for name in ("action", "version", "variant")},
    }


def feedback_columns(
    chunks: Iterable[Chunk], packing: Packing, seq: Integers, said_of: Callable[[list[int]], Iterable[tuple[Any, ...]]]
) -> dict[str, Any]:
    """The columns of Records from chunks in the order of the query `feedback`, given `seq` of the decisions. `said_of`:
    by number of decision, what `Said` has of all their feedback, in the order of the chunks."""
    signals = Coded(packing.names)
    unpack: dict[str, Unpack] = {
        "decision": packing.integers,
        "revised": packing.integers,
        "signal": signals,
        "value": packing.floats,
        "time": packing.floats,
    }
    parts = unpacked(chunks, unpack)
    decision, revised, signal, value, time = (np.concatenate(parts[name]) for name in unpack)
    row = np.searchsorted(seq, decision)
    kept = seq[row] == decision
    revised = np.unique(revised[np.isin(revised, seq)])
    if len(revised):
        said = list(map(Said._make, said_of(revised.tolist())))
        gone = superseded(said)
        kept[np.isin(decision, revised)] = [each.seq not in gone for each in said]
    if not kept.all():
        row, signal, value, time = row[kept], signal[kept], value[kept], time[kept]
    return {
        "feedback_decision": row,
        "feedback_signal": Names(signal, list(signals.numbers)),
        "feedback_value": value,
        "feedback_time": time,
    }


class Coded:
    """Unpacks names as numbers, the same ones in every chunk."""

    def __init__(self, names: Unpack) -> None:
        self._names = names
        self.numbers: defaultdict[str | None, int] = defaultdict(count().__next__)

    def __call__(self, packed: Any) -> Integers:
        names = self._names(packed)
        return np.fromiter(map(self.numbers.__getitem__, names), np.int64, len(names))


def unpacked(chunks: Iterable[Chunk], unpack: Mapping[str, Unpack]) -> dict[str, list[Any]]:
    """The parts of each column, in the order of `unpack`."""
    columns: dict[str, list[Any]] = {name: [] for name in unpack}
    before: Chunk = ()
    for chunk in chunks:
        for (name, column), packed, old in zip(columns.items(), chunk, before or chunk, strict=True):
            # a column of one value is packed the same again and again
            column.append(column[-1] if column and packed == old else unpack[name](packed))
        before = chunk
    return columns


def _packed(connection: apsw.Connection, query: str, window: tuple[Any, ...]) -> Iterator[Chunk]:
    """The chunks of the query; at least one, which may be empty."""
    first, last, *rest = window
    starts = iter(range(first, max(first, last) + 1, CHUNK))

    def packed(start: int) -> Any:
        return connection.execute(QUERIES[query], (start, min(start + CHUNK - 1, last), *rest)).fetchone()

    with ThreadPoolExecutor(1) as thread:
        ahead = deque(thread.submit(packed, start) for start in islice(starts, AHEAD))
        while ahead:
            chunk = ahead.popleft().result()
            ahead.extend(thread.submit(packed, start) for start in islice(starts, 1))
            yield chunk


def _person(text: str) -> tuple[str | None, str]:
    """User, which is in JSON, and session."""
    user, end = _user(text)
    return user, text[end:]


def _integers(text: str) -> Integers:
    return np.array(_whole(text), np.int64)


def _floats(text: str) -> Floats:
    """NaN where there is none."""
    return np.array(_real(text), np.float64)


def _blob(numbers: bytes | None) -> Floats:
    return np.frombuffer(numbers or b"", "<f8")


def _lines(text: bytes | None) -> list[bytes]:
    return text.split(SEPARATOR) if text else []


PACKING = Packing(names=_texts, people=_texts, person=_person, integers=_integers, floats=_floats)
