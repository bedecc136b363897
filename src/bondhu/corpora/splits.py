"""Who is in which part of an export: whole people, so that nobody is learned from and tested on."""

from __future__ import annotations

from collections.abc import Sequence

from bondhu.corpora.turns import Turn
from bondhu.train.window import held_out

TRAIN, TEST = "train", "test"
SEVERAL = "several people in one session"


def persons(turns: Sequence[Turn]) -> list[str | None]:
    """Whose each turn is: of the one known in its session where nobody is named; None where a session has several
    people, since what one of them said stands in the prompts of the other. Where nobody is known, of the session."""
    known: dict[str, set[str]] = {}
    for each in turns:
        known.setdefault(each.session, set())
        if each.user:
            known[each.session].add(each.user)
    owners = {
        session: None if len(names) > 1 else next(iter(names), f"session {session}") for session, names in known.items()
    }
    return [owners[each.session] for each in turns]


def split(people: Sequence[str], share: float) -> list[str]:
    """The part that each person is in, by a hash of the name: the same in every export, and the same people on whom
    versions are judged where `share` is that of the holdout."""
    return [TEST if kept else TRAIN for kept in held_out(people, share).tolist()]
