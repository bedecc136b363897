"""Which feedback still counts once revisions and revocations are applied."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple


class Said(NamedTuple):
    """The part of a stored feedback that decides whether it counts."""

    decision_id: str
    time: float
    seq: int  # order of arrival
    id: str
    value: float | None
    replaces: str | None


def superseded(said: Iterable[Said]) -> set[int]:
    """The `seq` of rows that no longer count, given all feedback of the decisions concerned.

    A row that another one replaces is gone. Of several revisions of the same row the latest counts. Revocations never
    count themselves. `replaces` reaches only feedback of the same decision.
    """
    gone: set[int] = set()
    for _, group in groupby(sorted(said), key=lambda each: each.decision_id):
        rows = list(group)
        by_id = {each.id: each for each in rows}
        replaced = {each.replaces for each in rows}
        standing = {_root(each, by_id): each for each in rows if each.id not in replaced}
        counts = {each.seq for each in standing.values() if each.value is not None}
        gone.update(each.seq for each in rows if each.seq not in counts)
    return gone


def _root(row: Said, by_id: dict[str, Said]) -> str:
    """The id that a chain of revisions began with; it may not have arrived yet."""
    seen = {row.id}
    while row.replaces is not None and row.replaces not in seen:
        seen.add(row.replaces)
        if row.replaces not in by_id:
            return row.replaces
        row = by_id[row.replaces]
    return row.id
