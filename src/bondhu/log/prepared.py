"""Facts checked and laid out as plain rows, as every store inserts them: made by one process, written by another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from bondhu.log.checks import check_feedback, checked_contexts, encode
from bondhu.log.columns import memo_bytes
from bondhu.types import Decision, Feedback

ALLOWED: Final = 6  # column of a decision's row that holds the allowed actions

# id, domain, session, user, time, context as JSON, allowed as a JSON array of names, action, probability, memo as
# little-endian float64, version, variant, assigned
DecisionRow = tuple[str, str, str, str | None, float, str, str, str, float, bytes | None, str, str, float]
FeedbackRow = tuple[str, str, str, float | None, float, str | None]  # the fields of Feedback


class Prepared(NamedTuple):
    """Rows that a store inserts as they are. Texts, numbers and bytes: any message format can carry them."""

    decisions: Sequence[DecisionRow]
    feedback: Sequence[FeedbackRow]


def prepared(decisions: Sequence[Decision], feedback: Sequence[Feedback] = ()) -> Prepared:
    """Check every row and lay it out; raises InvalidInput naming the field, the value and the fix."""
    contexts = checked_contexts(decisions)
    return Prepared(_decision_rows(decisions, contexts), [_feedback_row(each) for each in feedback])


def together(parts: Sequence[Prepared]) -> Prepared:
    """The rows of all parts in their order, to be committed at once."""
    if len(parts) == 1:
        return parts[0]
    made, said = zip(*parts, strict=True)
    return Prepared(list(chain.from_iterable(made)), list(chain.from_iterable(said)))


def _decision_rows(rows: Sequence[Decision], contexts: list[str]) -> list[DecisionRow]:
    if not rows:
        return []
    id_, domain, session, user, time, _, allowed, action, probability, memo, *rest = zip(*rows, strict=True)
    version, variant, assigned = rest
    times, probabilities, shares = map(float, time), map(float, probability), map(float, assigned)
    sets, memos = _once(_names, allowed), _once(memo_bytes, memo)
    columns = (
        *(id_, domain, session, user, times, contexts, sets),
        *(action, probabilities, memos, version, variant, shares),
    )
    return list(zip(*columns, strict=True))


def _names(allowed: tuple[str, ...]) -> str:
    return encode(allowed).decode()


def _once(function: Callable[[Any], Any], column: Sequence[Any]) -> Iterator[Any]:
    """`function` of each entry, called once for an object that comes again and again."""
    results = {key: function(each) for key, each in {id(each): each for each in column}.items()}
    return map(results.__getitem__, map(id, column))


def _feedback_row(row: Feedback) -> FeedbackRow:
    check_feedback(row)
    id_, decision_id, signal, value, time, replaces = row
    return id_, decision_id, signal, None if value is None else float(value), float(time), replaces
