"""Eligibility traces of the cells that one session has passed: how much each still has to do with what happens now.

Only the cells whose trace still counts are kept, in a short list, so that a step costs the same in any table: at most
log(1e-8) / log(γλ) cells, 118 for γλ = 0.855, or as many as the session has different ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bondhu.errors import InvalidInput, nearest
from bondhu.learners._cells import step_size
from bondhu.types import Floats, Integers

NEGLIGIBLE = 1e-8  # a trace that is not above it is dropped
KINDS = {"replacing": (0.0, 0.0), "accumulating": (1.0, 0.0), "dutch": (1.0, 1.0)}  # (x, y): x - y·α of the old is kept


class Traces(NamedTuple):
    """A list of cells, with room for as many as a batch has rows."""

    row: Integers  # [T]
    action: Integers  # [T]
    weight: Floats  # [T]

    @classmethod
    def room_for(cls, rows: int) -> Traces:
        """No traces yet, memory for `rows`."""
        return cls(np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows))


def require_kind(learner: Any) -> None:
    """Raise InvalidInput where the learner's `trace` is none of `KINDS`."""
    if learner.trace not in KINDS:
        raise InvalidInput(
            f"'trace' got {learner.trace!r}.", field="trace", value=learner.trace, fix=nearest(learner.trace, KINDS)
        )


def follow(traces: Traces, length: int, cell: tuple[int, int], fade: float, keep: float) -> int:
    """The trace of each of the first `length` cells fades, e ← γλ·e; the cell now visited gets e ← keep·e + 1 and
    stands last. Returns the new length. For compiled loops.

    `keep` 0 replaces, 1 accumulates, 1 - α is a dutch trace (Sutton & Barto 2018, sections 12.2, 12.5 and 12.7).
    """
    kept, visited = 0, 1.0
    for i in range(length):
        weight = fade * traces.weight[i]
        if traces.row[i] == cell[0] and traces.action[i] == cell[1]:
            visited += keep * weight
        elif weight > NEGLIGIBLE:
            traces.row[kept], traces.action[kept], traces.weight[kept] = traces.row[i], traces.action[i], weight
            kept += 1
    traces.row[kept], traces.action[kept], traces.weight[kept] = cell[0], cell[1], visited
    return kept + 1


def credit(
    values: Floats, visits: Integers, traces: Traces, length: int, step: tuple[float, float], error: float
) -> None:
    """Q ← Q + α·δ·e for each of the first `length` cells. For compiled loops."""
    for i in range(length):
        s, a = traces.row[i], traces.action[i]
        values[s, a] += step_size(step, visits[s, a]) * error * traces.weight[i]
