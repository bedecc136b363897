"""Reads rows of a SQLite log back as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, repeat
from typing import Any

import apsw
import numpy as np

from bondhu.log.checks import decode, encode
from bondhu.log.columns import memo_matrix
from bondhu.log.database import QUERIES
from bondhu.log.revisions import Said, superseded

CHUNK = 500  # rows turned into columns at a time: fewer new tuples than wake the garbage collector

Window = tuple[int, int, str, float, float]  # first and last seq, domain, start, end


def read_decisions(connection: apsw.Connection, window: Window) -> dict[str, Any]:
    """The window's decision columns of Records."""
    id_, session, user, time, context, sets, action, probability, memo, version, variant = _columns(
        connection.execute(QUERIES["decisions"], window),
        *("new", "same", "same", "float64", "new", "int64", "same", "float64", "new", "same", "same"),
    )
    used, allowed = np.unique(sets, return_inverse=True)
    names = connection.execute(QUERIES["action_sets"], (encode(used.tolist()).decode(),))
    return {
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


def read_feedback(connection: apsw.Connection, window: Window, ids: Sequence[str]) -> dict[str, Any]:
    """The window's feedback columns of Records, given `id` of its decisions."""
    row, number, signal, value, time, revises = _feedback_columns(connection, window, ids)
    kept = row >= 0
    if revises[kept].any():
        revised = encode([ids[each] for each in np.unique(row[kept & revises]).tolist()]).decode()
        gone = superseded(map(Said._make, connection.execute(QUERIES["revised"], (revised,))))
        kept &= np.isin(number, np.fromiter(gone, np.int64, len(gone)), invert=True)
    order = np.flatnonzero(kept)
    order = order[np.argsort(number[order], kind="stable")]
    if len(order) < len(row) or (np.diff(order) < 0).any():
        row, value, time = row[order], value[order], time[order]
        signal = list(map(signal.__getitem__, order.tolist()))
    return {
        "feedback_decision": row,
        "feedback_signal": signal,
        "feedback_value": value,
        "feedback_time": time,
    }


def _feedback_columns(connection: apsw.Connection, window: Window, ids: Sequence[str]) -> list[Any]:
    """Row of the decision (-1: outside of the window), and `seq`, signal, value, time and whether it replaces another.

    One pass over all feedback costs half as much a row as seeking it decision by decision, so it is worth it from half
    of the log on.
    """
    everything = 2 * len(ids) >= (connection.execute(QUERIES["newest"]).get or 0)
    rows = (
        connection.execute(QUERIES["feedback_of_all"])
        if everything
        else connection.execute(QUERIES["feedback_in_span"], window)
    )
    position = dict(zip(ids, range(len(ids)), strict=True))
    return _columns(rows, position, "int64", "same", "float64", "float64", "bool")


def _columns(rows: Iterator[tuple[Any, ...]], *kinds: str | dict[str, int]) -> list[Any]:
    """Rows as columns: "new": a list; "same": a list in which equal values are one object; a dictionary: the integers
    it has for the values, else -1; any other name: an array of that type.

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
            elif isinstance(kind, dict):
                column.append(np.array(list(map(kind.get, values, repeat(-1))), dtype=np.int64))
            else:
                column.append(np.array(values, dtype=kind))
    return [
        column
        if kind in ("new", "same")
        else np.concatenate([np.empty(0, "int64" if isinstance(kind, dict) else kind), *column])
        for column, kind in zip(columns, kinds, strict=True)
    ]
