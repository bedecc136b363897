"""Longer work whose result grows old: done again after a while, and the old result is shown meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from bondhu.dashboard.page import Desk, Failed, Pending

BACK = 12  # earlier results that are looked for


class Latest(NamedTuple):
    """What is known of such work."""

    result: Any  # the newest there is; None where there is none yet
    pending: Pending | None = None  # a newer one is under way
    failed: Failed | None = None  # the newest attempt came to nothing


def latest(desk: Desk, key: Hashable, seconds: float, work: Callable[[], Any]) -> Latest:
    """The newest result of the work known by `key`, which is done once in so many seconds at most, and only while
    somebody looks. Never waits."""
    turn = int(desk.app.now() // seconds)
    found = desk.errands.ask((key, turn), work)
    if isinstance(found, Pending):
        return Latest(earlier(desk, key, seconds), pending=found)
    return Latest(earlier(desk, key, seconds), failed=found) if isinstance(found, Failed) else Latest(found)


def earlier(desk: Desk, key: Hashable, seconds: float) -> Any:
    """The newest of the results that such work had before; None where there is none."""
    turn = int(desk.app.now() // seconds)
    looked = (desk.errands.look((key, turn - back)) for back in range(1, BACK + 1))
    return next((each for each in looked if each is not None and not isinstance(each, Pending | Failed)), None)
