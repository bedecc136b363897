"""Vowpal Wabbit's JSON, and a single event of the decision-service JSON (`importers.dsjson`).

Context is flattened as VW names features: `{"User": {"age": 31}}` is the number `User_age`; strings are categories,
lists of numbers vectors, `_text` is text, other names that begin with `_` are left out as VW leaves them. An action is
called by its `_tag` where all actions of a row have one, so that it stays the same when their order changes; else "1",
"2", ….
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bondhu.errors import InvalidInput
from bondhu.log.importers.lines import ACTION_FEATURES, UNLABELLED, Line, TextFile, readable
from bondhu.log.importers.rows import decoded, number, seconds
from bondhu.log.importers.vw_text import Label, labelled, unsupported

Event = Mapping[str, Any]
NAMING = {"i_constant", "i_id"}  # what writers note of every action: its name
PDROP = "sampled with pdrop: the weight 1 / (1 - pdrop) is not kept"


def read_json(path: Path) -> Iterator[Line]:
    """Features and label in one object: `_label_*` or `_label`, actions in `_multi`."""
    file = TextFile(path)
    for text in file:
        if not text.strip():
            continue
        line = Line(file.number, file.done)
        try:
            event = decoded(readable(text))
            _require_one_action(event)
            yield _example(line, event)
        except InvalidInput as error:
            yield line._replace(problem=error)


def _require_one_action(event: Event) -> None:
    if "_outcomes" in event or "_slots" in event or "_slots" in inside(event, "c"):
        unsupported("ccb")
    if "_label_ca" in event:
        unsupported("ca")


def _example(line: Line, event: Event) -> Line:
    label = label_of(event)
    if label is None:
        return line._replace(skipped=UNLABELLED)
    names = actions_of(event)
    if not names:  # one line a decision: the label counts the actions
        return line._replace(row=labelled(label, features_of(event), label.action, None))
    row = labelled(label, features_of(event), _chosen(event, names), names)
    return line._replace(row=row, note=note_of(event))


def label_of(event: Event) -> Label | None:
    """`_label_Cost` and the like in either case, `_label` as an object or as text."""
    whole = event.get("_label")
    if isinstance(whole, str):
        action, cost, probability = (*whole.split(":", 2), "", "")[:3]
        return Label(action, cost, probability)
    if isinstance(whole, dict):
        event = {f"_label_{part.lower()}": value for part, value in whole.items()}
    if _either(event, "cost") is None:
        return None
    return Label(str(_either(event, "action")), _either(event, "cost"), _either(event, "probability"))


def _either(event: Event, part: str) -> Any:
    return event.get(f"_label_{part}", event.get(f"_label_{part.title()}"))


def decision(line: Line, event: Event) -> Line:
    """One event of one slot: context in `c`, the ranking in `a` with probabilities `p` (the first was shown), outcomes
    in `o`."""
    if "c" not in event:
        return line._replace(skipped="no context: an outcome or a checkpoint, not a decision")
    if event.get("_skipLearn"):
        return line._replace(skipped="marked _skipLearn")
    label = label_of(event)
    if label is None:
        return line._replace(skipped=UNLABELLED)
    context = inside(event, "c")
    names = actions_of(context)
    if not names:
        raise InvalidInput("The row has no actions in c._multi.", field="_multi", fix="Import cb rows with actions.")
    _require_same_probability(event, label)
    row = labelled(label, features_of(context), _chosen(event, names), names)
    timestamp = event.get("Timestamp")
    row = row._replace(
        id=str(event.get("EventId") or event.get("event_id") or ""),
        time=None if timestamp is None else seconds(timestamp),
        version=version_of(event),
        signals=outcomes(event) or row.signals,
    )
    return line._replace(row=row, note=dropped(event) or note_of(context))


def version_of(event: Event) -> str:
    """The model that decided."""
    return str(inside(event, "VWState").get("m") or "imported")


def _chosen(event: Event, names: tuple[str, ...]) -> str:
    """`_labelIndex` counts from 0, `_label_Action` from 1; some writers fill only one of them rightly."""
    index, place = event.get("_labelIndex"), event.get("_label_Action", next(iter(listed(event, "a")), 0))
    if index is None and isinstance(place, int):
        index = place - 1
    if not isinstance(index, int) or not 0 <= index < len(names):
        raise InvalidInput(
            f"The label is about action {index!r} (from 0) of {len(names)}.", field="_labelIndex", value=index
        )
    return names[index]


def actions_of(context: Event) -> tuple[str, ...]:
    """What the actions of a row are called."""
    actions = listed(context, "_multi")
    tags = tuple(dict.fromkeys(str(each["_tag"]) for each in actions if isinstance(each, dict) and each.get("_tag")))
    return tags if len(tags) == len(actions) else tuple(str(place) for place in range(1, len(actions) + 1))


def _require_same_probability(event: Event, label: Label) -> None:
    """`p[0]` is of the action shown, rounded otherwise than the label."""
    shown = next(iter(listed(event, "p")), None)
    if shown is None or label.probability is None:
        return
    logged = number("_label_probability", label.probability)
    if not math.isclose(number("p", shown), logged, rel_tol=1e-3):
        raise InvalidInput(
            f"_label_probability is {logged} but p begins with {shown}.", field="p", value=shown, fix="Mend the row."
        )


def outcomes(event: Event) -> tuple[tuple[str, float], ...]:
    """The rewards that came in, one feedback each; an outcome that only activates the event has none."""
    values = [outcome.get("v") for outcome in listed(event, "o") if isinstance(outcome, dict)]
    return tuple(("reward", number("o", value)) for value in values if value is not None)


def dropped(event: Event) -> str:
    """What to say of a row of which others like it were left out of the log; "" where none were."""
    rate = number("pdrop", event.get("pdrop", 0.0))
    if not 0.0 <= rate < 1.0:
        raise InvalidInput(f"pdrop {rate} is not in [0, 1).", field="pdrop", value=rate, fix="Mend the row.")
    return PDROP if rate else ""


def note_of(context: Event) -> str:
    """What to say of a row that says more of its actions than what they are called; "" where it does not."""
    told = any(features_of({"": each}).keys() - NAMING for each in listed(context, "_multi"))
    return ACTION_FEATURES if told else ""


def listed(event: Event, name: str) -> list[Any]:
    """The list of that name, empty where there is none; raises InvalidInput."""
    value = event.get(name)
    if not isinstance(value, list | None):
        raise InvalidInput(f"{name} is {value!r:.80}, not a list.", field=name, value=value, fix="Mend the row.")
    return value or []


def inside(event: Event, name: str) -> Event:
    """The object of that name, empty where there is none; raises InvalidInput."""
    value = event.get(name)
    if not isinstance(value, dict | None):
        raise InvalidInput(f"{name} is {value!r:.80}, not an object.", field=name, value=value, fix="Mend the row.")
    return value or {}


def features_of(context: Event) -> dict[str, Any]:
    """The features by name, flattened."""
    fields: dict[str, Any] = {}
    _flatten(context, "", fields)
    return fields


def _flatten(value: Any, name: str, fields: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "_text":
                fields[name or "text"] = str(inner)
            elif not key.startswith("_"):
                _flatten(inner, f"{name}_{key}" if name else key, fields)
    elif isinstance(value, list):
        if value and all(isinstance(each, int | float) for each in value):
            fields[name] = [float(each) for each in value]
        else:
            for inner in value:
                _flatten(inner, name, fields)
    elif isinstance(value, bool | int | float):
        fields[name] = float(value)
    elif value is not None:
        fields[name] = str(value)
