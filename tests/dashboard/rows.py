"""Sheets made by hand, for tests of the figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from bondhu.dashboard.columns.sheets import Minutes, Sheet
from bondhu.types import Names


def sheet(**columns: Any) -> Sheet:
    """Decisions a second apart, or whatever is given; `user` by name or number."""
    count = len(next(column for name, column in columns.items() if name != "context"))
    users = columns.get("user", list(range(count)))
    reward = np.asarray(columns.get("reward", [0.0] * count), np.float32)
    settled = np.isfinite(reward)
    delay = np.asarray(columns.get("delay", [np.nan] * count), np.float32)
    return Sheet(
        time=np.asarray(columns.get("time", np.arange(count)), np.float64),
        action=Names.of(columns.get("action", ["blue"] * count)),
        version=Names.of(columns.get("version", ["v1"] * count)),
        variant=Names.of(columns.get("variant", ["live"] * count)),
        probability=np.asarray(columns.get("probability", [1.0] * count), np.float32),
        exploration=np.asarray(columns.get("exploration", [0.0] * count), np.float32),
        user=np.asarray(Names.of(users).codes, np.int64),
        settled=settled,
        heard=np.isfinite(delay),
        delay=delay,
        reward=reward,
        context={name: Names.of(column) for name, column in columns.get("context", {}).items()},
        said={},
        feedback=Minutes.of(np.asarray(columns.get("minutes", []), np.int64)),
    )
