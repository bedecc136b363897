"""Reads the tables of a bondhu.toml; a mistake is one SettingsInvalid naming the dotted key, the value and the fix."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from bondhu.domains.candidates import Candidates
from bondhu.domains.fields import Category, Field, Number
from bondhu.domains.ranking import Features, Ranked
from bondhu.domains.wide_fields import Person, Text, Vector
from bondhu.errors import SettingsInvalid, nearest

Table = Mapping[str, Any]
FEATURES = "features"  # key of the actions' features in [actions]


def wrong(key: str, value: Any, fix: str) -> SettingsInvalid:
    """The error of one key."""
    return SettingsInvalid(f"{key} got {value!r}.", field=key, value=value, fix=fix)


def known(table: Any, keys: Collection[str], path: str) -> Table:
    """The table, if it is one and has no other keys."""
    if not isinstance(table, Mapping):
        raise wrong(path, table, f"Make it a table: [{path}].")
    for key in table:
        if key not in keys:
            what = f"{path}.{key} is not a setting."
            raise SettingsInvalid(what, field=f"{path}.{key}", value=table[key], fix=nearest(key, keys))
    return table


def number(value: Any, key: str, *, least: float = -math.inf, open_end: bool = False) -> float:
    """A finite number, at least (or with an open end, above) `least`."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not real or value < least or (open_end and value == least):
        limit = "" if least == -math.inf else f" {'above' if open_end else 'of at least'} {least:g}"
        raise wrong(key, value, f"Give a finite number{limit}.")
    return float(value)


def whole(value: Any, key: str, least: int, most: int) -> int:
    """A whole number in [least, most]."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise wrong(key, value, f"Give a whole number from {least} to {most}.")
    return value


def truth(value: Any, key: str) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise wrong(key, value, "Give true or false.")
    return value


def names(value: Any, key: str) -> tuple[str, ...]:
    """A list of different, non-empty strings."""
    if not isinstance(value, (list, tuple)) or not value:
        raise wrong(key, value, 'Give a list of names such as ["a", "b"].')
    for each in value:
        if not isinstance(each, str) or not each.strip():
            raise wrong(key, each, "Give every name as text in quotes.")
        if list(value).count(each) > 1:
            raise wrong(key, each, "Give every name once.")
    return tuple(value)


def one_of(value: Any, choices: Collection[str], key: str) -> str:
    """One name of a list."""
    if value not in list(choices):  # a list, since the value may be of any type
        raise wrong(key, value, nearest(str(value), choices))
    return str(value)


def span(value: Any, key: str) -> tuple[float, float]:
    """[low, high] with low < high."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise wrong(key, value, "Give [lowest, highest], such as [0, 100].")
    low, high = (number(end, key) for end in value)
    if not low < high:
        raise wrong(key, value, "The first must be below the second.")
    return low, high


# -------------------------------------------------------------------------------------------------------------- context


def fields(context: Any) -> tuple[Field, ...]:
    """The fields of [context.*], in the order written."""
    if not isinstance(context, Mapping) or not context:
        fix = "Declare at least one field, such as [context.mood] with kind and values."
        raise SettingsInvalid("[context] declares no field.", field="context", value=context, fix=fix)
    return tuple(_field(name, table) for name, table in context.items())


def _field(name: str, table: Any) -> Field:
    path = f"context.{name}"
    if not isinstance(table, Mapping):
        raise wrong(path, table, f"Make it a table: [{path}] with kind = one of {', '.join(_KINDS)}.")
    if "kind" not in table:
        raise SettingsInvalid(f"{path}.kind is missing.", field=f"{path}.kind", fix=nearest("", _KINDS))
    keys, read = _KINDS[one_of(table["kind"], _KINDS, f"{path}.kind")]
    return read(name, known(table, ("kind", *keys), path), path)


def _category(name: str, table: Table, path: str) -> Field:
    return Category(name, names(table.get("values"), f"{path}.values"))


def _number(name: str, table: Table, path: str) -> Field:
    low, high = span(table.get("range"), f"{path}.range")
    if "edges" not in table:
        return Number(name, low, high, whole(table.get("bins", Number.bins), f"{path}.bins", 1, 10_000))
    key = f"{path}.edges"
    if "bins" in table:
        raise wrong(key, table["edges"], "Give bins or edges, not both.")
    if not isinstance(table["edges"], (list, tuple)) or not table["edges"]:
        raise wrong(key, table["edges"], "Give the values at which to cut, such as [18, 65].")
    edges = tuple(number(edge, key) for edge in table["edges"])
    if any(above <= below for below, above in pairwise((low, *edges, high))):
        raise wrong(key, table["edges"], f"They must ascend and lie between {low:g} and {high:g}.")
    return Number(name, low, high, edges=edges)


def _text(name: str, table: Table, path: str) -> Field:
    return Text(name, whole(table.get("buckets", Text.buckets), f"{path}.buckets", 2, 1 << 20))


def _vector(name: str, table: Table, path: str) -> Field:
    size = whole(table.get("size"), f"{path}.size", 1, 1 << 16)
    return Vector(name, size, whole(table.get("bits", Vector.bits), f"{path}.bits", 1, 20))


def _person(name: str, table: Table, path: str) -> Field:
    return Person(name, whole(table.get("buckets", Person.buckets), f"{path}.buckets", 2, 1 << 24))


def _candidates(name: str, table: Table, path: str) -> Field:
    most = whole(table.get("most"), f"{path}.most", 2, 1_000)
    return Candidates(name, most, whole(table.get("size"), f"{path}.size", 1, 1_000))


def _ranked(name: str, table: Table, path: str) -> Field:
    most = whole(table.get("most"), f"{path}.most", 2, 1_000)
    return Ranked(name, most, whole(table.get("size"), f"{path}.size", 1, 8192))


_KINDS: Mapping[str, tuple[tuple[str, ...], Callable[[str, Table, str], Field]]] = {
    "category": (("values",), _category),
    "number": (("range", "bins", "edges"), _number),
    "text": (("buckets",), _text),
    "vector": (("size", "bits"), _vector),
    "person": (("buckets",), _person),
    "candidates": (("most", "size"), _candidates),
    "features": ((), lambda name, *_: Features(name)),
    "ranked": (("most", "size"), _ranked),
}


# ------------------------------------------------------------------------------------------------------------- actions


def parts(actions: Any, context: Sequence[Field] = ()) -> dict[str, tuple[str, ...]]:
    """The parts of an action and their values; a flat list `names` is one part called "action", and so are the
    `candidates` that a field of the context brings along."""
    if not isinstance(actions, Mapping) or not actions:
        fix = 'Write names = ["a", "b"], or one list for each part of an action.'
        raise SettingsInvalid("[actions] declares no action.", field="actions", value=actions, fix=fix)
    if "candidates" in actions:
        by_name = {field.name: field.actions for field in context if isinstance(field, Candidates | Ranked)}
        name = known(actions, ("candidates",), "actions")["candidates"]
        return {"action": by_name[one_of(name, by_name, "actions.candidates")]}
    if "names" in actions:
        if not isinstance(known(actions, ("names", FEATURES), "actions").get(FEATURES, {}), Mapping):
            raise wrong(f"actions.{FEATURES}", actions[FEATURES], "Make it a table with a list for each action.")
        return {"action": names(actions["names"], "actions.names")}
    listed = {
        part: values for part, values in actions.items() if not (part == FEATURES and isinstance(values, Mapping))
    }
    found = {part: names(values, f"actions.{part}") for part, values in listed.items()}
    for part, values in found.items():
        slashed = next((value for value in values if "/" in value), None)
        if slashed and len(found) > 1:
            raise wrong(f"actions.{part}", slashed, "Leave out '/': it joins the parts of an action.")
    return found


def action_features(table: Any, actions: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """[actions.features]: as many numbers for each action; none at all where nothing is declared."""
    if not isinstance(table, Mapping):  # a part of the action may have this name
        return {}
    path = f"actions.{FEATURES}"
    known(table, actions, path)
    missing = next((name for name in actions if name not in table), None)
    if missing is not None:
        raise SettingsInvalid(
            f"{path} leaves out {missing!r}.", field=f"{path}.{missing}", fix="Describe every action."
        )
    size = len(table[actions[0]]) if isinstance(table[actions[0]], list | tuple) else 0
    for name in actions:
        if not isinstance(table[name], list | tuple) or len(table[name]) != size or not size:
            raise wrong(f"{path}.{name}", table[name], "Give each action a list of as many numbers.")
    return {name: tuple(number(each, f"{path}.{name}") for each in table[name]) for name in actions}
