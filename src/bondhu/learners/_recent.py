"""What learners share that hold another learner: its fresh state, and the last rows that it learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from bondhu.errors import InvalidInput
from bondhu.learners._states import pack, unpack, views
from bondhu.types import Batch, Learner, Spec

ROWS = ("observation", "allowed", "action", "probability", "reward", "discount", "has_next", "next_observation",
        "next_allowed", "session", "time")  # fmt: skip


def frozen(learner: Learner[Any], state: Any) -> Any:
    """The state in read-only arrays: whoever learns on from it works on a copy, so that it can be used again."""
    return unpack(learner, pack(state))


def shielded(learner: Learner[Any], state: Any) -> Any:
    """The same state behind read-only views: whoever learns on from it works on a copy, and it stays as it is."""
    return unpack(learner, views(state))


def no_rows(spec: Spec) -> Batch:
    """A batch without rows."""
    if not isinstance(spec.action, Discrete):
        fix = "Hold a learner of single actions."
        raise InvalidInput(f"The actions are {spec.action}.", field="action", value=str(spec.action), fix=fix)
    shape, kind = (0, *(spec.observation.shape or (1,))), spec.observation.dtype
    nothing, open_to = np.zeros(shape, kind), np.zeros((0, int(spec.action.n)), np.bool_)
    zeros = np.zeros(0)
    return Batch.single(nothing, open_to, np.zeros(0, np.int64), zeros, zeros)


def latest(rows: Batch, batch: Batch, most: int) -> Batch:
    """The last `most` rows of both; the first of them may begin in the middle of a session, which is no harm.

    An objective that only one of them knows is 0 in the other's rows. Memos, which are for learners of the moment, and
    the columns behind observations are left out.
    """
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(rows, name), _like(batch, rows, name)])[-most:] for name in ROWS
    }
    objectives = {
        name: np.concatenate([each.objectives.get(name, np.zeros(len(each))) for each in (rows, batch)])[-most:]
        for name in dict.fromkeys([*rows.objectives, *batch.objectives])
    }
    return Batch(**columns, memo=np.zeros((len(columns["action"]), 0)), objectives=objectives)


def _like(batch: Batch, rows: Batch, name: str) -> Any:
    """A column of the batch; sessions are numbered on, so that runs of rows stay apart."""
    if name == "session" and len(rows):
        return batch.session - batch.session.min(initial=0) + rows.session[-1] + 1
    return getattr(batch, name)
