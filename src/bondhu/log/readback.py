"""Reads rows of a SQLite log back as columns.

SQLite packs each column of a chunk of rows into one text, in a thread of its own, while the chunk before is unpacked:
a value then costs a tenth of what it costs as a Python object of a row.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count, islice
from typing import Any

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


def read_decisions(connection: apsw.Connection, window: Window) -> tuple[Integers, dict[str, Any]]:
    """`seq` of the window's decisions, ascending, and their columns of Records."""
    coded = {name: Coded() for name in ("person", "action", "version", "variant")}
    plain: dict[str, Unpack] = {
        "seq": _integers,
        "id": _texts,
        "time": _floats,
        "context": _lines,
        "allowed": _integers,
    }
    numbers: dict[str, Unpack] = {"probability": _floats, "assigned": _floats, "memo_lengths": _integers, "memo": _blob}
    parts = _columns(connection, "decisions", window, {**plain, **coded, **numbers})
    names = {name: Names(np.concatenate(parts[name]), list(codes.numbers)) for name, codes in coded.items()}
    people = list(map(_person, names["person"].values))
    used, allowed = np.unique(np.concatenate(parts["allowed"]), return_inverse=True)
    sets = connection.execute(QUERIES["action_sets"], (encode(used.tolist()).decode(),))
    return np.concatenate(parts["seq"]), {
        "id": list(chain.from_iterable(parts["id"])),
        "time": np.concatenate(parts["time"]),
        "context": list(chain.from_iterable(parts["context"])),
        "allowed": allowed,
        "allowed_sets": [tuple(_actions(each)) for (each,) in sets],
        "probability": np.concatenate(parts["probability"]),
        "assigned": np.concatenate(parts["assigned"]),
        "memo": memo_matrix(np.concatenate(parts["memo_lengths"]), np.concatenate(parts["memo"])),
        "user": Names.of([user for user, _ in people]).take(names["person"].codes),
        "session": Names.of([session for _, session in people]).take(names["person"].codes),
        **{name: names[name] for name in ("action", "version", "variant")},
    }


def read_feedback(connection: apsw.Connection, seq: Integers) -> dict[str, Any]:
    """The feedback columns of Records, given `seq` of its decisions: in their order, then in that of arrival."""
    span = (int(seq[0]), int(seq[-1])) if len(seq) else (0, -1)
    signals = Coded()
    unpack: dict[str, Unpack] = {
        "decision": _integers,
        "revised": _integers,
        "signal": signals,
        "value": _floats,
        "time": _floats,
    }
    parts = _columns(connection, "feedback", span, unpack)
    decision, revised, signal, value, time = (np.concatenate(parts[name]) for name in unpack)
    row = np.searchsorted(seq, decision)
    kept = seq[row] == decision
    revised = np.unique(revised[np.isin(revised, seq)])
    if len(revised):
        query = connection.execute(QUERIES["revised"], (encode(revised.tolist()).decode(),))
        said = list(map(Said._make, query))
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

    def __init__(self) -> None:
        self.numbers: defaultdict[str | None, int] = defaultdict(count().__next__)

    def __call__(self, text: str) -> Integers:
        names = _texts(text)
        return np.fromiter(map(self.numbers.__getitem__, names), np.int64, len(names))


def _columns(
    connection: apsw.Connection, query: str, window: tuple[Any, ...], unpack: Mapping[str, Unpack]
) -> dict[str, list[Any]]:
    """The chunks of each column of the query, in the order of `unpack`; at least one, which may be empty."""
    first, last, *rest = window
    starts = iter(range(first, max(first, last) + 1, CHUNK))
    columns: dict[str, list[Any]] = {name: [] for name in unpack}
    before: tuple[Any, ...] = ()

    def packed(start: int) -> Any:
        return connection.execute(QUERIES[query], (start, min(start + CHUNK - 1, last), *rest)).fetchone()

    with ThreadPoolExecutor(1) as thread:
        ahead = deque(thread.submit(packed, start) for start in islice(starts, AHEAD))
        while ahead:
            chunk = ahead.popleft().result()
            ahead.extend(thread.submit(packed, start) for start in islice(starts, 1))
            for (name, column), text, old in zip(columns.items(), chunk, before or chunk, strict=True):
                # a column of one value is the same text again and again
                column.append(column[-1] if column and text == old else unpack[name](text))
            before = chunk
    return columns


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
