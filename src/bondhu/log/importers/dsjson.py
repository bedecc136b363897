"""Whole files of decision-service JSON (DSJSON), as Azure AI Personalizer mirrored them: events of one slot and of
several, events whose activation was deferred, and rewards on lines of their own.

An event of several slots is a decision each, all in one session: the first has the event's id, the others that and the
slot's. An event that was deferred counts only where an outcome activates it, on its own line or on a later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bondhu.errors import InvalidInput
from bondhu.log.importers.lines import UNLABELLED, Brought, Line, Spoken, TextFile, readable
from bondhu.log.importers.rows import decoded, number, seconds
from bondhu.log.importers.vw_json import (
    actions_of,
    decision,
    dropped,
    features_of,
    inside,
    label_of,
    listed,
    note_of,
    outcomes,
    version_of,
)
from bondhu.log.importers.vw_text import labelled, unsupported

Event = Mapping[str, Any]
URL = "FromUrl"  # where the service wrote the features of the context
INACTIVE = "deferred, and never activated"
CHECKPOINT = "no context: an outcome or a checkpoint, not a decision"


def read(path: Path) -> Iterator[Line]:
    """A line for each decision, and one for each reward that stands alone."""
    waiting: dict[str, list[Line]] = {}  # deferred events by id, until they are activated
    file = TextFile(path)
    for text in file:
        if not text.strip():
            continue
        line = Line(file.number, file.done)
        try:
            event = decoded(readable(text))
            lines = list(_lines(line, event))
        except InvalidInput as error:
            yield line._replace(problem=error)
            continue
        name = _name(event)
        if "c" in event and name and _inactive(event):
            waiting.setdefault(name, []).extend(lines)
            continue
        if "c" not in event and _activates(event):
            yield from (each._replace(done=file.done) for each in waiting.pop(name, ()))
        yield from lines
    for lines in waiting.values():
        yield from (each._replace(row=None, note="", skipped=INACTIVE) for each in lines)


def _lines(line: Line, event: Event) -> Iterator[Line]:
    if "c" not in event:
        yield _spoken(line, event)
        return
    if "_label_ca" in event:
        unsupported("ca")
    context = inside(event, "c")
    if "_slots" in context or "_outcomes" in event or "_slots" in event:
        yield from _slots(line, event, context)
        return
    made = decision(line, event)
    if made.row is not None:
        row = made.row._replace(brought=_brought(event, context), **_own(event))
        if "o" in event and not outcomes(event):
            row = row._replace(silent=True)  # what the label says is the service's default reward
        made = made._replace(row=row)
    yield made


def _own(event: Event) -> dict[str, Any]:
    """What this project's own export adds, so that a decision comes back as it was; raises InvalidInput."""
    own = inside(event, "_bondhu")
    text = {key: own[key] for key in ("user", "session", "variant") if own.get(key) is not None}
    wrong = next((key for key, value in text.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise InvalidInput(f"{wrong} is not text.", field=wrong, value=text[wrong], fix="Mend the row.")
    numbers = {key: number(key, own[key]) for key in ("time", "assigned") if own.get(key) is not None}
    return {**text, **numbers, "memo": tuple(number("memo", each) for each in listed(own, "memo"))}


def _name(event: Event) -> str:
    return str(event.get("EventId") or event.get("event_id") or "")


# ----------------------------------------------------------------------------------------------- outcomes by themselves


def _spoken(line: Line, event: Event) -> Line:
    """A reward that found no event when the log was joined: `{"RewardValue": …, "EventId": …}`."""
    name = _name(event)
    heard = outcomes({"o": event.get("Observations")})
    if not heard and event.get("RewardValue") is not None:
        heard = (("reward", number("RewardValue", event["RewardValue"])),)
    if not name or not heard:
        return line._replace(skipped=CHECKPOINT)
    time = event.get("EnqueuedTimeUtc", event.get("Timestamp"))
    return line._replace(said=Spoken(name, heard, None if time is None else seconds(time)))


def _inactive(event: Event) -> bool:
    deferred = bool(event.get("DeferredAction") or event.get("_deferred"))
    several = [each for slot in listed(event, "_outcomes") if isinstance(slot, dict) for each in listed(slot, "_o")]
    return deferred and not any(map(_active, [*listed(event, "o"), *several]))


def _activates(event: Event) -> bool:
    return _active(event) or any(map(_active, listed(event, "Observations")))


def _active(outcome: Any) -> bool:
    return isinstance(outcome, dict) and (outcome.get("DeferredAction") is False or outcome.get("ActionTaken") is True)


# ------------------------------------------------------------------------------------------------------ what was ranked


def _brought(event: Event, context: Event) -> Brought | None:
    """The actions as the request had them, for a domain that takes them so."""
    actions = listed(context, "_multi")
    names = actions_of(context)
    if not actions or len(names) != len(actions):
        return None
    described = [{"id": name, "features": _described(each)} for name, each in zip(names, actions, strict=True)]
    order = [each - 1 for each in listed(event, "a") if isinstance(each, int)]
    return Brought(_about(context), described, tuple(sorted(order)) or tuple(range(len(actions))))


def _about(context: Event) -> list[Any]:
    rest = {key: value for key, value in context.items() if not key.startswith("_")}
    url = rest.get(URL)
    if len(rest) == 1 and isinstance(url, list) and all(isinstance(each, dict) for each in url):
        return url
    return [rest] if rest else []


def _described(action: Any) -> list[Any]:
    """The features of one action: those that its request had, in `j`, or all of it."""
    if not isinstance(action, dict):
        return []
    own = action.get("j")
    if isinstance(own, list) and all(isinstance(each, dict) for each in own):
        return own
    rest = {key: value for key, value in action.items() if key not in ("_tag", "i")}
    return [rest] if rest else []


# ---------------------------------------------------------------------------------------------------------------- slots


def _slots(line: Line, event: Event, context: Event) -> Iterator[Line]:
    """A decision for each slot: `_a` counts actions from 0, and its first was shown with the first probability."""
    if any(isinstance(each, dict) and "_slot_id" in each for each in listed(context, "_multi")):
        unsupported("slates")
    slots, told = listed(context, "_slots"), listed(event, "_outcomes")
    names = actions_of(context)
    if not names or len(told) != len(slots) or not all(isinstance(each, dict) for each in [*slots, *told]):
        what = f"The row has {len(slots)} slots, {len(told)} outcomes and {len(names)} actions."
        raise InvalidInput(what, field="_outcomes", value=len(told), fix="It may be cut short.")
    for place, (slot, outcome) in enumerate(zip(slots, told, strict=True)):
        label = label_of(outcome)
        if label is None:
            yield line._replace(skipped=UNLABELLED)
            continue
        order, chances = listed(outcome, "_a"), listed(outcome, "_p")
        if not order or len(order) != len(chances) or not all(_index(each, len(names)) for each in order):
            what = f"Slot {place} ranks {order!r:.80} with the probabilities {chances!r:.80}."
            raise InvalidInput(what, field="_a", value=order, fix="Mend the row.")
        identity = str(slot.get("_id", outcome.get("_id", place)))
        row = labelled(label._replace(probability=chances[0]), _shared(context, slot, identity), names[order[0]],
                       tuple(names[each] for each in sorted(order)))  # fmt: skip
        row = row._replace(
            **_of_event(event),
            signals=outcomes({"o": outcome.get("_o")}) or row.signals,
            silent="_o" in outcome and not outcomes({"o": outcome["_o"]}),
            slot=identity if place else "",
            brought=_in_slot(context, (slot, identity), order),
        )
        yield line._replace(row=row, note=dropped(event) or note_of(context))


def _of_event(event: Event) -> dict[str, Any]:
    stamp = event.get("Timestamp")
    return {"id": _name(event), "time": None if stamp is None else seconds(stamp), "version": version_of(event)}


def _index(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def _shared(context: Event, slot: Event, identity: str) -> dict[str, Any]:
    """The features of the context, and those of the slot under its name."""
    about = {"slot": {"id": identity, **{key: value for key, value in slot.items() if not key.startswith("_")}}}
    return {**features_of(context), **features_of(about)}


def _in_slot(context: Event, slot: tuple[Event, str], order: list[int]) -> Brought | None:
    found = _brought({}, context)
    if found is None:
        return None
    written, identity = slot
    own = written.get("sj")
    rest = [{key: value for key, value in written.items() if not key.startswith("_")}]
    features = own if isinstance(own, list) else [own] if isinstance(own, dict) else [each for each in rest if each]
    return Brought(
        [*found.about, {"slot": {"id": identity, "features": features}}], found.actions, tuple(sorted(order))
    )
