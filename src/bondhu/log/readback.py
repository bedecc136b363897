"""Reads rows of a SQLite log back as columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import apsw
import numpy as np

from bondhu.log.checks import decode, encode
from bondhu.log.columns import memo_matrix
from bondhu.log.database import QUERIES
from bondhu.log.revisions import Said, superseded
from bondhu.types import Integers

CHUNK = 500  # rows turned into columns at a time: fewer new tuples than wake the garbage collector

Window = tuple[int, int, str, float, float]  # first and last seq, domain, start, end


def read_decisions(connection: apsw.Connection, window: Window) -> tuple[Integers, dict[str, Any]]:
    """`seq` of the window's decisions, ascending, and their columns of Records."""
    seq, id_, session, user, time, context, sets, action, probability, memo, version, variant = _columns(
        connection.execute(QUERIES["decisions"], window),
        *("int64", "new", "same", "same", "float64", "new", "int64", "same", "float64", "new", "same", "same"),
    )
    used, allowed = np.unique(sets, return_inverse=True)
    names = connection.execute(QUERIES["action_sets"], (encode(used.tolist()).decode(),))
    return seq, {
        "id": id_,
        "session": session,
        "user": user,
        "time": time,
        "context": context,
        "allowed": allowed,
        "allowed_sets": [tuple(decode(each)) for (each,) in names],
        "action": action,
        "probability": probability,
        "memo": memo_matrix(memo),
        "version": version,
        "variant": variant,
    }


def read_feedback(connection: apsw.Connection, seq: Integers) -> dict[str, Any]:
    """The feedback columns of Records, given `seq` of its decisions: in their order, then in that of arrival."""
    span = (int(seq[0]), int(seq[-1])) if len(seq) else (0, -1)
    decision, number, signal, value, time = _columns(
        connection.execute(QUERIES["feedback"], span), *("int64", "int64", "same", "float64", "float64")
    )
    row = np.searchsorted(seq, decision)
    kept = seq[row] == decision
    revised = np.unique(decision[kept & (number < 0)])
    if len(revised):
        said = connection.execute(QUERIES["revised"], (encode(revised.tolist()).decode(),))
        gone = superseded(map(Said._make, said))
        kept &= np.isin(np.abs(number), np.fromiter(gone, np.int64, len(gone)), invert=True)
    if not kept.all():
        row, value, time = row[kept], value[kept], time[kept]
        signal = list(map(signal.__getitem__, np.flatnonzero(kept).tolist()))
    return {
        "feedback_decision": row,
        "feedback_signal": signal,
        "feedback_value": value,
        "feedback_time": time,
    }


def _columns(rows: Iterator[tuple[Any, ...]], *kinds: str) -> list[Any]:
    """Rows as columns: "new": a list; "same": a list in which equal values are one object; else an array of that type.

    A chunk at a time, so that the rows never exist all at once.
    """
    columns: list[list[Any]] = [[] for _ in kinds]
    same: dict[Any, Any] = {}
    while chunk := list(islice(rows, CHUNK)):
        for column, kind, values in zip(columns, kinds, zip(*chunk, strict=True), strict=True):
            if kind == "new":
                column.extend(values)
            elif kind == "same":
                column.extend(map(same.setdefault, values, values))
            else:
                column.append(np.array(values, dtype=kind))
    return [
        column if kind in ("new", "same") else np.concatenate([np.empty(0, kind), *column])
        for column, kind in zip(columns, kinds, strict=True)
    ]
