"""A log and a task record that live in memory: the twins of the SQLite ones, for tests and simulations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from bondhu.errors import DuplicateId
from bondhu.log.checks import check_feedback, checked_context, decode
from bondhu.log.columns import LogSummary, check_window, memo_matrix
from bondhu.log.revisions import Said, superseded
from bondhu.types import Decision, Feedback, Records, Task


class MemoryLog:
    """Append-only facts, gone when the process ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._decisions: dict[str, tuple[Decision, bytes]] = {}
        self._feedback: dict[str, Feedback] = {}
        self._said: defaultdict[str, list[tuple[int, Feedback]]] = defaultdict(list)

    def append(self, decisions: Sequence[Decision], feedback: Sequence[Feedback] = ()) -> None:
        """Commit all of it or nothing."""
        made: dict[str, tuple[Decision, bytes]] = {}
        said: dict[str, Feedback] = {}
        with self._lock:
            for each in decisions:
                data = checked_context(each)
                each = each._replace(context=decode(data))
                stored, _ = made.setdefault(each.id, self._decisions.get(each.id, (each, data)))
                if stored != each:
                    raise DuplicateId(f"Decision {each.id!r} is already stored with other content.", field="id")
            for one in feedback:
                check_feedback(one)
                if said.setdefault(one.id, self._feedback.get(one.id, one)) != one:
                    raise DuplicateId(f"Feedback {one.id!r} is already stored with other content.", field="id")
            self._decisions.update(made)
            for id_, one in said.items():
                if id_ not in self._feedback:
                    self._said[one.decision_id].append((len(self._feedback), one))
                    self._feedback[id_] = one
