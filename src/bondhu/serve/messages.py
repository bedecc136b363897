"""What goes over the wire. The same records are the arguments of the Python calls, so nothing is copied in between."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from bondhu.errors import BondhuError, Busy, InvalidInput, StoreError, nearest

LARGEST_BATCH = 1_000  # items; more of them would make single decisions wait
LONGEST_ID = 128  # characters
LONGEST_TEXT = 600  # characters of a problem's detail: nobody gets back all that they sent


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for one decision."""

    context: Mapping[str, Any]
    id: str | None = None  # your own id makes a retry safe: the same request gets the same decision
    session: str | None = None  # default: the user, or else this decision alone
    user: str | None = None
    allowed: Sequence[str] | None = None  # default: every action
    default: str | None = None  # what your application would do by itself: an apprentice follows and learns it


class Sent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Request` as it comes over the wire, its context unread (`serve.contexts`)."""

    context: msgspec.Raw
    id: str | None = None
    session: str | None = None
    user: str | None = None
    allowed: Sequence[str] | None = None
    default: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """One decision; send `id` back with each feedback."""

    id: str
    action: str
    probability: float
    version: str


class Requests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for many decisions: all of them are made, or none."""

    requests: list[Request]


class SentMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`Requests` likewise."""

    requests: list[Sent]


class Answers(msgspec.Struct, frozen=True):
    """One decision a request, in their order."""

    decisions: list[Answer]


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something somebody said about one decision."""

    decision_id: str
    signal: str
    value: float | None = 1.0  # null takes back the feedback named by `replaces`
    id: str | None = None  # your own id makes a retry safe
    replaces: str | None = None  # id of the earlier feedback that this one revises or takes back
    user: str | None = None  # whose decision it is about: what is said of somebody else's is refused


class Heard(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one feedback."""

    id: str | None
    decision_id: str
    status: str  # "stored"; "waiting" until its decision is visible; "refused"
    error: Mapping[str, Any] | None = None


class SaidMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Many feedbacks: each is stored or refused for itself."""

    feedback: list[Said]


class HeardMany(msgspec.Struct, frozen=True):
    """What became of each feedback, in their order."""

    results: list[Heard]


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an administrator wants done with a version."""

    reason: str  # kept in the history
    version: str | None = None  # default: the newest
    over: str | None = None  # promote only if this version is live
    unproven: bool = False  # release whatever the gate says


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new API key is to be."""

    name: str  # whose it is, for the history and the audit log
    role: str  # reader, app, operator or admin
    everywhere: bool = False  # for all domains of the server; default: this one alone
    days: float | None = None  # that it is good for; null: until it is revoked
    rate: float | None = None  # requests a second; null: as the server's settings say


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Replace an API key by a new one like it."""

    grace: float = 86_400.0  # seconds for which the old one is good as well


class MadeKey(msgspec.Struct, frozen=True):
    """A new API key. Its text is told this once and never again."""

    text: str
    key: Mapping[str, Any]


class Candidate(msgspec.Struct, frozen=True):
    """One action that could have been taken."""

    action: str
    probability: float
    value: float | None  # what the version expected of it, where it says so
    low: float | None = None  # the value lies between these with 95 % confidence, as far as the version knows itself
    high: float | None = None
    tries: float | None = None  # decisions that stand behind the value


class Moved(msgspec.Struct, frozen=True):
    """What one field of the context did to the decision."""

    field: str
    by: float  # how much better the action looked, beside the others, than with other values of the field


class Audit(msgspec.Struct, frozen=True):
    """One decision, why it was made, and what was said of it."""

    decision: Mapping[str, Any]
    candidates: list[Candidate]
    explored: bool  # whether another action was more probable
    why: str
    replayed: bool  # whether deciding again gives this action with this probability
    feedback: Sequence[Mapping[str, Any]]
    moved: Sequence[Moved] = ()  # what moved it most comes first
    moved_in: str = "value"  # the unit of `moved`: "value", or "probability" of a policy that does not act by values


class Problem(msgspec.Struct, frozen=True):
    """What is wrong and what to do: problem details as in RFC 9457. The shape of every error."""

    title: str  # what kind of trouble, in words
    status: int  # of HTTP
    code: str  # what kind of trouble, for programs
    detail: str  # what is wrong this time
    field: str | None = None
    value: Any = None
    fix: str = ""
    type: str = "about:blank"


class Malformed(InvalidInput):
    """The body is not JSON. Send one JSON object, encoded as UTF-8."""

    status = 400


class Cut(Malformed):
    """The body did not arrive whole. Send it again."""


class TooSlow(InvalidInput):
    """The body took too long to arrive. Send it faster, or less at a time."""

    status = 408


class TooLarge(InvalidInput):
    """The body is too large. Send less at a time."""

    status = 413


def problem(error: BondhuError) -> Problem:
    """An exception as it is told to the caller, who need not know where the stores are."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    title, code = words.capitalize(), words.replace(" ", "_")
    told = type(error)() if isinstance(error, StoreError) and not isinstance(error, Busy) else error
    what, field, fix = (each and each[:LONGEST_TEXT] for each in (told.what, told.field, told.fix))
    return Problem(title, error.status, code, what or "", field, _shown(told.value), fix or "")


def mistake(error: Exception, shape: type[msgspec.Struct]) -> InvalidInput:
    """What msgspec says of a body that is JSON but not of this shape, in this project's words."""
    text, _, path = str(error).partition(" - at `")
    field = path.rstrip("`").removeprefix("$").removeprefix(".") or None
    name = text.split("`")[1] if "`" in text else ""
    if text.startswith("Object contains unknown field"):
        known = _inner(shape).__struct_fields__ if field else shape.__struct_fields__
        where = f"{field}.{name}" if field else name
        return InvalidInput(f"Unknown field '{name}'.", field=where, value=name, fix=nearest(name, known))
    if text.startswith("Object missing required field"):
        where = f"{field}.{name}" if field else name
        return InvalidInput(f"The field '{name}' is missing.", field=where, fix=f"Add '{name}'.")
    return InvalidInput(f"{text}.".replace("`", "'"), field=field, fix="Compare it with /openapi.json.")


def _inner(shape: type[msgspec.Struct]) -> type[msgspec.Struct]:
    inner: dict[type[msgspec.Struct], type[msgspec.Struct]] = {Requests: Request, SentMany: Sent, SaidMany: Said}
    return inner.get(shape, shape)


def _shown(value: Any) -> Any:
    """The value if it is short and plain; else its beginning."""
    if value is None or (isinstance(value, bool | int | float) and abs(value) < 1e300):
        return value
    return value if isinstance(value, str) and len(value) <= 200 else repr(value)[:200]


def plain(value: Any) -> Any:
    """NumPy values inside of what is told to a caller."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)
