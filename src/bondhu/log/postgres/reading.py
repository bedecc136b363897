"""Reads rows of a PostgreSQL log back as columns: the server packs the next chunk while this one is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bondhu.log.checks import decode
from bondhu.log.postgres.database import View
from bondhu.log.postgres.schema import QUERIES
from bondhu.log.postgres.spelling import names, person, values
from bondhu.log.readback import Packing, decision_columns, feedback_columns
from bondhu.types import Floats, Integers

CHUNK = 8192  # rows packed at a time
LAST = (1 << 63) - 1

Window = tuple[str, float, float]  # domain, start, end


def read_decisions(view: View, window: Window) -> tuple[Integers, dict[str, Any]]:
    """`seq` of the window's decisions, ascending, and their columns of Records."""
    first, last = view.row(QUERIES["span"], *window)
    chunks = _decisions(view, (first or 0) - 1, -1 if last is None else last, window)

    def sets(used: list[int]) -> list[tuple[str, ...]]:
        known = dict(view.rows(QUERIES["action_sets"], used))
        return [tuple(decode(known[number])) for number in used]

    return decision_columns(chunks, PACKING, sets)


def read_feedback(view: View, seq: Integers) -> tuple[dict[str, Any], bool]:
    """The feedback columns of Records, given `seq` of its decisions: in their order, then in that of arrival; and
    whether any of it had not been matched with its decision."""
    (early,) = view.row(QUERIES["is_feedback_early"])
    table = "heard" if early else "feedback"
    span = (int(seq[0]), int(seq[-1])) if len(seq) else (0, -1)
    chunks = _feedback(view, QUERIES["feedback"].replace("FROM feedback", f"FROM {table}"), *span)
    revised = QUERIES["revised"].replace("FROM feedback", f"FROM {table}")
    return feedback_columns(chunks, PACKING, seq, lambda decisions: view.rows(revised, decisions)), early


def _decisions(view: View, after: int, last: int, window: Window) -> Iterator[tuple[Any, ...]]:
    """At least one chunk, which may be empty."""
    ahead = view.begin(QUERIES["decisions"], after, last, *window, CHUNK)
    while True:
        chunk = tuple(ahead.result())
        if not _is_full(chunk[0]):
            yield chunk
            return
        ahead = view.begin(QUERIES["decisions"], _last(chunk[0]), last, *window, CHUNK)
        yield chunk


def _feedback(view: View, query: str, first: int, last: int) -> Iterator[tuple[Any, ...]]:
    ahead = view.begin(query, first, -1, last, CHUNK)
    while True:
        decision, seq, *chunk = ahead.result()
        if not _is_full(decision):
            yield decision, *chunk
            return
        ahead = view.begin(query, _last(decision), _last(seq), last, CHUNK)
        yield decision, *chunk


def _is_full(packed: bytes | None) -> bool:
    return packed is not None and len(packed) == 8 * CHUNK


def _last(packed: bytes) -> int:
    return int.from_bytes(packed[-8:], "big")


def _integers(packed: bytes | None) -> Integers:
    return np.frombuffer(packed or b"", ">i8").astype(np.int64)


def _floats(packed: bytes | None) -> Floats:
    return np.frombuffer(packed or b"", ">f8").astype(np.float64)


PACKING = Packing(names=names, people=values, person=person, integers=_integers, floats=_floats)
