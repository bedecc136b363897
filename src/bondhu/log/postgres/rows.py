"""Facts from rows of the queries, one at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bondhu.log.checks import decode
from bondhu.log.postgres.spelling import plain
from bondhu.types import Decision, Feedback


def decision_of(row: Iterable[Any]) -> Decision:
    """From a row of the queries `decision` and `facts` without its `seq`."""
    id_, domain, session, user, time, context, allowed, action, probability, memo, version, variant, assigned = row
    who = plain(id_), plain(domain), plain(session), None if user is None else plain(user)
    numbers = tuple(np.frombuffer(memo or b"", "<f8").tolist())
    did = tuple(decode(allowed)), plain(action), probability, numbers
    return Decision._make((*who, time, decode(context), *did, plain(version), plain(variant), assigned))


def feedback_of(row: Iterable[Any]) -> Feedback:
    """From id, decision_id, signal, value, time, replaces."""
    id_, decision_id, signal, value, time, replaces = row
    said = plain(id_), plain(decision_id), plain(signal), value, time
    return Feedback._make((*said, None if replaces is None else plain(replaces)))
