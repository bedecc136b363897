"""What no store of transcripts takes, whichever it is."""

from __future__ import annotations

from math import isfinite

from bondhu.errors import InvalidInput
from bondhu.log.checks import LONGEST_ID, encode, without_json
from bondhu.ports import Transcript


def checked_transcript(row: Transcript) -> tuple[str, float, str]:
    """Decision id, time and the body as JSON; raises InvalidInput where it could not be read back as it is."""
    id_, time, body = row
    if not (isinstance(id_, str) and 0 < len(id_) <= LONGEST_ID):
        raise _refused(row, "decision_id", f"It must be a text of 1 to {LONGEST_ID} characters.")
    if not (isinstance(time, int | float) and isfinite(time)):
        raise _refused(row, "time", "It must be a finite number of seconds.")
    try:
        id_.encode()
        text = encode(dict(body)).decode()
    except (TypeError, ValueError) as error:  # no table, or of what JSON cannot hold
        raise _refused(row, "body", "It must be plain data: text, numbers, lists and tables of them.") from error
    if "null" in text and (found := without_json(body)) is not None:
        name, value = found
        what = f"Transcript of {id_!r} has {value!r} in {name!r}, which JSON cannot hold."
        raise InvalidInput(what, field=name, value=value, fix="Send a finite number, text, a list or a table.")
    return id_, float(time), text


def _refused(row: Transcript, name: str, fix: str) -> InvalidInput:
    what = f"The transcript of decision {row.decision_id!r} cannot be kept: its {name} is not right."
    return InvalidInput(what, field=name, fix=fix)  # without the value: it holds what people wrote
