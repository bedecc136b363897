"""Which decisions a training reads, and which people are kept back to judge candidates on rows they never saw."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from bondhu.ports import Event, Version
from bondhu.registry.lifecycle import SAFER, live
from bondhu.types import Booleans, Records

DAY = 86_400.0  # seconds


class Window(NamedTuple):
    """Settlement times (start, end] in UNIX seconds: consecutive windows hold each decision exactly once."""

    start: float
    end: float


def parent_ids(events: Sequence[Event]) -> list[str]:
    """The versions to learn on from, best first: the newest ones; the live one where anything was taken back, or an
    older one put in force, after the newest was made."""
    added: list[str] = []
    taken_back = False
    for event in events:
        if event.kind == "added":
            added.append(event.version)
            taken_back = False
        elif event.kind in SAFER or (event.kind == "promoted" and event.version in added[:-1]):
            taken_back = True
    if taken_back:
        acting = live(events)
        return [acting] if acting else []
    return added[::-1]


def next_window(parent: Version | None, now: float, days_back: float) -> Window:
    """The last `days_back` days, less what the parent has learned already."""
    trained_until = float(parent.notes.get("window_end", 0.0)) if parent else 0.0
    return Window(max(now - days_back * DAY, trained_until), now)


def held_out(people: Sequence[str], share: float) -> Booleans:
    """Whether each person is kept for judging: a hash of the name decides, so it is the same in every window."""
    limit = int(share * 2**32)
    kept = {person: _hash32(person) < limit for person in set(people)}
    return np.fromiter((kept[person] for person in people), bool, len(people))


def people(records: Records) -> Sequence[str]:
    """Whose decision each row is: a session belongs to whoever began it, so that it is held out whole; where nobody is
    known, to itself."""
    owners: dict[str, str] = {}
    pairs = zip(records.session, records.user, strict=True)
    return [owners.setdefault(session, user or session) for session, user in pairs]


def _hash32(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=4, person=b"holdout").digest(), "big")
