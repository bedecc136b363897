"""What learners share that hold another learner: its fresh state, and the last rows that it learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from bondhu.errors import InvalidInput
from bondhu.learners._states import pack, unpack
from bondhu.types import Batch, Learner, Spec

ROWS = ("observation", "allowed", "action", "probability", "reward", "discount", "has_next", "next_observation",
        "next_allowed", "session", "time")  # fmt: skip


def frozen(learner: Learner[Any], state: Any) -> Any:
    """The state in read-only arrays: whoever learns on from it works on a copy, so that it can be used again."""
    return unpack(learner, pack(state))


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
    """The last `most` rows of both; the first of them may begin in the middle of a session, which is no harm."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(rows, name), _like(batch, rows, name)])[-most:] for name in ROWS
    }
    return Batch(**columns, memo=np.zeros((len(columns["action"]), 0)))  # memos are for learners of the moment


def _like(batch: Batch, rows: Batch, name: str) -> Any:
    """A column of the batch; sessions are numbered on, so that runs of rows stay apart."""
    if name == "session" and len(rows):
        return batch.session - batch.session.min(initial=0) + rows.session[-1] + 1
    return getattr(batch, name)
