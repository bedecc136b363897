"""Which rows are a person's: those that bear their name, and those of nobody known in sessions that only they had."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple


class Whose(NamedTuple):
    """Whose decision a row says it is."""

    user: str | None  # None or "": nobody is known
    session: str


def theirs(names: Collection[str], rows: Iterable[Whose]) -> Callable[[Whose], bool]:
    """What tells the rows of the person with these names, from all rows there are."""
    own, others = set[str](), set[str]()
    for user, session in rows:
        if user in names:
            own.add(session)
        elif user:
            others.add(session)
    alone = own - others
    return lambda row: row.user in names or (not row.user and row.session in alone)
