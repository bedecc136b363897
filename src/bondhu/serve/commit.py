"""Logs decisions and feedback together; what is there already is not logged twice, and a retry is told what was."""

from __future__ import annotations

from collections.abc import Sequence

from bondhu.errors import DuplicateId
from bondhu.log.checks import decode, encode
from bondhu.ports import Log
from bondhu.types import Decision, Feedback


def commit(log: Log, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> list[Decision]:
    """Log all of it or nothing; returns the decisions as logged. Raises DuplicateId where an id is there already and
    means something else."""
    try:
        log.append(decisions, feedback)
        return decisions
    except DuplicateId:
        found = [_logged(log, each) for each in decisions]
        log.append(
            [made for made, there in zip(decisions, found, strict=True) if there is None],
            [each for each in feedback if not _said_before(log, each)],
        )
        return [there or made for made, there in zip(decisions, found, strict=True)]


def _logged(log: Log, decision: Decision) -> Decision | None:
    """The decision that has this id already, made for the same request."""
    found = log.find(decision.id)
    if found is None:
        return None
    if _asked(found[0]) != _asked(decision):
        raise DuplicateId(
            f"Decision {decision.id!r} is there already, made for another request.",
            field="id",
            value=decision.id,
            fix="Use a new id for a new request.",
        )
    return found[0]


def _asked(decision: Decision) -> tuple[object, ...]:
    """What was asked for, as a log reads it back."""
    return decision.domain, decision.session, decision.user, decision.allowed, decode(encode(decision.context))


def _said_before(log: Log, feedback: Feedback) -> bool:
    """Whether the same was said under this id."""
    before = log.said(feedback.id)
    if before is None:
        return False
    if before._replace(time=feedback.time) != feedback:
        raise DuplicateId(
            f"Feedback {feedback.id!r} is there already and says something else.",
            field="id",
            value=feedback.id,
            fix="Use a new id, and `replaces` to revise what was said.",
        )
    return True
