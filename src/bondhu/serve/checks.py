"""What is asked and said, checked: every refusal names the field, the value and the fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.log.checks import encode_lines
from bondhu.ports import Domain, Signal
from bondhu.serve.messages import LONGEST_ID, Request
from bondhu.types import Array, Encoder

Context = Mapping[str, Any]
FEW = 8  # contexts up to which encoding one after the other costs less than making columns


def observed(
    encoder: Encoder,
    domain: Domain,
    contexts: Sequence[Context],
    numbers: Sequence[int] | None = None,
    lines: Sequence[bytes] | None = None,
) -> Array:
    """What the policy sees: `[T, F]`. `numbers`: which of many these are, for an error to say; None: one alone, or all
    of them. `lines`: the contexts as JSON, where that is known already."""
    if numbers is None and len(contexts) == 1:
        return encoder.one(contexts[0])[None]
    if len(contexts) > FEW:
        try:
            return encoder.many(domain.columns(encode_lines(contexts).splitlines() if lines is None else lines))
        except (InvalidInput, TypeError, ValueError, OverflowError):  # one of them is at fault: find out which
            pass
    named = zip(range(len(contexts)) if numbers is None else numbers, contexts, strict=True)
    return np.stack([numbered(encoder, number, each) for number, each in named])


def numbered(encoder: Encoder, number: int, context: Context) -> Array:
    """What the policy sees of one of many: `[F]`."""
    try:
        return encoder.one(context)
    except InvalidInput as error:
        error.what = f"Request {number}: {error.what}"
        error.field = f"requests[{number}].context" + (
            f".{error.field}" if error.field not in (None, "context") else ""
        )
        raise


def open_to(domain: Domain, request: Request) -> Sequence[str] | None:
    """The actions that may be taken: those asked for, of those that the context brings along; None: all there are."""
    there = domain.choices(request.context)
    if there is None or request.allowed is None:
        return there or request.allowed
    for name in request.allowed:
        if name not in there:
            what = f"There is no candidate {name!r} in this request."
            raise UnknownName(what, field="allowed", value=name, fix=nearest(name, there))
    return request.allowed


def check_text(name: str, value: object) -> None:
    """Refuse an id, user or session that could not be stored, shown or sent back."""
    if value is None or (isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable()):
        return
    raise InvalidInput(
        f"The field {name!r} is {shortened(value)}.",
        field=name,
        value=value,
        fix=f"It must be a text of 1 to {LONGEST_ID} printable characters.",
    )


def shortened(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def within(value: object, signal: Signal) -> bool:
    """Whether this is a number that the signal may have; NaN is not."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return bool(signal.low <= value <= signal.high)
