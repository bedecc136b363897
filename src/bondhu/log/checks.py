"""What every log refuses, whichever store is behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NoReturn

import msgspec
import numpy as np

from bondhu.errors import DuplicateId, InvalidInput, nearest
from bondhu.types import Decision, Feedback

LONGEST_ID = 128  # characters


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
encode = _encoder.encode
encode_lines = _encoder.encode_lines  # a row a line: JSON has no line breaks, unless given as msgspec.Raw
decode = msgspec.json.Decoder().decode


class Written(dict[str, Any]):
    """A context as JSON gave it, with the text that a log keeps of it, encoded once. Shared: nobody changes it."""

    __slots__ = ("json", "text")

    def __init__(self, said: Mapping[str, Any]) -> None:
        super().__init__(said)
        self.json = encode(said)
        self.text = self.json.decode()


def checked_context(row: Decision) -> str:
    """The context as JSON; raises InvalidInput where the decision could not be read back as it is."""
    id_, domain, session, user, time, context, allowed, action, probability, memo, version, variant, assigned = row
    try:
        if (
            0 < len(id_) <= LONGEST_ID
            and 0.0 < probability <= 1.0
            and 0.0 < assigned <= 1.0
            and isfinite(time)
            and type(allowed) is tuple
            and action in allowed
            and type(memo) is tuple
            and (type(context) is dict or isinstance(context, Mapping))
        ):
            _check_text(id_, domain, session, action, version, variant, "" if user is None else user)
            text = encode(context).decode()
            if "null" not in text or without_json(context) is None:  # JSON has no NaN: it would become null
                return text
    except (TypeError, UnicodeEncodeError):
        pass
    _explain_decision(row)


def checked_contexts(rows: Sequence[Decision]) -> list[str]:
    """`checked_context` of each row; many rows that are plainly right take a third of the time."""
    if rows and all(type(row.context) is Written for row in rows):
        try:
            if _plainly_right(rows):
                return [row.context.text for row in rows]  # type: ignore[attr-defined]  # all of them are Written
        except (TypeError, UnicodeEncodeError):
            pass
    elif len(rows) > 1:
        try:
            text = encode_lines([row.context for row in rows]).decode() if _plainly_right(rows) else "null"
            if "null" not in text and text.count("\n") == len(rows):
                return text.split("\n")[:-1]
        except (TypeError, UnicodeEncodeError):
            pass
    return list(map(checked_context, rows))


def _plainly_right(rows: Sequence[Decision]) -> bool:
    """Whether all but what the contexts hold is fine. Columns hold few different values, so most is looked at once."""
    columns = zip(*rows, strict=True)
    id_, domain, session, user, time, context, allowed, action, probability, memo, *rest = columns
    version, variant, assigned = rest
    _check_text(*id_, *set(session), *{*domain, *action, *version, *variant}, *({*user} - {None}))
    taken = dict(zip(zip(map(id, allowed), action, strict=True), allowed, strict=True))
    return (
        min(map(len, id_)) > 0
        and max(map(len, id_)) <= LONGEST_ID
        and all(0.0 < each <= 1.0 for each in {*probability, *assigned})
        and all(map(isfinite, set(time)))
        and {*map(type, allowed), *map(type, memo)} == {tuple}
        and all(name in could for (_, name), could in taken.items())
        and all(issubclass(kind, Mapping) for kind in set(map(type, context)))
    )


def check_feedback(row: Feedback) -> None:
    """Raises InvalidInput where the feedback could not be read back as it is."""
    id_, decision_id, signal, value, time, replaces = row
    try:
        if (
            0 < len(id_) <= LONGEST_ID
            and 0 < len(decision_id) <= LONGEST_ID
            and isfinite(time)
            and (isfinite(value) if value is not None else replaces is not None)
            and (replaces is None or (0 < len(replaces) <= LONGEST_ID and replaces != id_))
        ):
            _check_text(id_, decision_id, signal, replaces or "")
            return
    except (TypeError, UnicodeEncodeError):
        pass
    _explain_feedback(row)


def duplicate(row: Decision | Feedback) -> DuplicateId:
    """The complaint about a row whose id is taken."""
    return DuplicateId(
        f"{type(row).__name__} {row.id!r} is already stored with other content.",
        field="id",
        value=row.id,
        fix="Use a new id, or `replaces` to revise feedback.",
    )


def _check_text(*values: str) -> None:
    """Raises TypeError or UnicodeEncodeError. All at once and ASCII first: this is the path of every decision."""
    together = "".join(values)
    if not together.isascii():
        together.encode()


def _explain_decision(row: Decision) -> NoReturn:
    _text(row, "id", longest=LONGEST_ID)
    for name in ("domain", "session", "action", "version", "variant"):
        _text(row, name)
    if row.user is not None:
        _text(row, "user")
    _number(row, "time")
    if not (_is_number(row.probability) and 0.0 < row.probability <= 1.0):
        _refuse(row, "probability", "It must be greater than 0 and at most 1: the chance that `action` had.")
    if not (_is_number(row.assigned) and 0.0 < row.assigned <= 1.0):
        _refuse(row, "assigned", "It must be greater than 0 and at most 1: the chance of being given `variant`.")
    if type(row.allowed) is not tuple or not all(isinstance(each, str) for each in row.allowed):
        _refuse(row, "allowed", "It must be a tuple of action names.")
    if row.action not in row.allowed:
        _refuse(row, "action", f"It must be one of `allowed`. {nearest(row.action, row.allowed)}")
    if type(row.memo) is not tuple:
        _refuse(row, "memo", "It must be a tuple of numbers.")
    _explain_context(row)


def _explain_context(row: Decision) -> NoReturn:
    if not isinstance(row.context, Mapping):
        _refuse(row, "context", "It must be an object: a value for each field.")
    found = without_json(row.context)
    name, value = found or ("context", row.context)
    raise InvalidInput(
        f"Decision {row.id!r} has {value!r} in context field {name!r}, which JSON cannot hold.",
        field=name,
        value=value,
        fix="Send a finite number, text, true, false, null, a list or an object.",
    )


def _explain_feedback(row: Feedback) -> NoReturn:
    for name in ("id", "decision_id"):
        _text(row, name, longest=LONGEST_ID)
    _text(row, "signal")
    _number(row, "time")
    if row.replaces is not None:
        _text(row, "replaces", longest=LONGEST_ID)
    if row.replaces == row.id:
        _refuse(row, "replaces", "It must name an earlier feedback; a revision needs an id of its own.")
    if row.value is None:
        _refuse(row, "value", "A feedback without a value revokes another: name that one in `replaces`.")
    _number(row, "value")
    raise AssertionError(row)


def _text(row: Decision | Feedback, name: str, longest: int | None = None) -> None:
    value = getattr(row, name)
    if not isinstance(value, str):
        _refuse(row, name, "It must be text.")
    if longest and not 0 < len(value) <= longest:
        _refuse(row, name, f"It must have 1 to {longest} characters; it has {len(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(row, name, "It must be valid Unicode.")


def _number(row: Decision | Feedback, name: str) -> None:
    value = getattr(row, name)
    if not (_is_number(value) and isfinite(value)):
        _refuse(row, name, "It must be a finite number.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _refuse(row: Decision | Feedback, name: str, fix: str) -> NoReturn:
    kind, value = type(row).__name__, getattr(row, name)
    raise InvalidInput(f"{kind} {row.id!r} got {name} = {value!r}.", field=name, value=value, fix=fix)


def without_json(value: Any, name: str = "context") -> tuple[str, Any] | None:
    """The first name and value inside a context that JSON cannot hold, or None."""
    if isinstance(value, Mapping):
        inside = ((str(key), each) for key, each in value.items())
    elif isinstance(value, list | tuple):
        inside = ((name, each) for each in value)
    else:
        return None if _encodes(value) else (name, value)
    return next((found for key, each in inside if (found := without_json(each, key))), None)


def _encodes(value: Any) -> bool:
    try:
        return value is None or encode(value) != b"null"
    except (TypeError, UnicodeEncodeError):
        return False
