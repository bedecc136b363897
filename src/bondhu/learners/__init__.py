"""The catalogue of learners, "family.file" each, and how their states are stored as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np

from bondhu.catalogue import find_in, made, names_in, plain
from bondhu.errors import StateCorrupt
from bondhu.policies import exploring
from bondhu.types import Array, Derived, Exploration, Integers, Learner, PerAction

__all__ = ["build", "carried", "find", "names", "pack", "plain", "unpack"]


def names() -> list[str]:
    """Every learner as "family.file", such as "tabular.q_learning"."""
    return [name for name in names_in(__name__) if "." in name]


def find(name: str) -> type[Learner[Any]]:
    """The learner's class, named like its file; imports that file and no other learner's."""
    return find_in(__name__, name, "learner")


def build(name: str, hyperparameters: Mapping[str, Any]) -> Learner[Any]:
    """The learner with these hyper-parameters; the others keep their defaults."""
    parts = {Exploration: exploring.build, Learner: build}
    learner: Learner[Any] = made(find(name), name, hyperparameters, parts)
    return learner


def pack(state: Any) -> dict[str, Array]:
    """The fields of a learner's state as arrays; numbers become arrays without dimensions, a state within it "a/b".

    The arrays are read-only copies: what is stored stays as it is when learning goes on from it.
    """
    arrays: dict[str, Array] = {}
    for each in fields(state):
        value = getattr(state, each.name)
        if is_dataclass(value):
            arrays |= {f"{each.name}/{name}": array for name, array in pack(value).items()}
        else:
            arrays[each.name] = np.array(value)
            arrays[each.name].flags.writeable = False
    return arrays


def unpack(learner: Learner[Any], arrays: Mapping[str, Array]) -> Any:
    """The state that `pack` took apart. What "a/b" names belongs to the learner that the field `a` holds."""
    expected = {each.name for each in fields(learner.State)}
    found = {name.partition("/")[0] for name in arrays}
    if expected != found:
        raise StateCorrupt(
            f"The state has the fields {sorted(found)}, not {sorted(expected)}.",
            fix="Roll back to another version, then train again.",
        )
    return learner.State(**{name: _field(learner, name, arrays) for name in expected})


def _field(learner: Learner[Any], name: str, arrays: Mapping[str, Array]) -> Any:
    if name in arrays:
        return arrays[name] if arrays[name].ndim else arrays[name].item()
    within = {key.partition("/")[2]: array for key, array in arrays.items() if key.startswith(f"{name}/")}
    return unpack(getattr(learner, name), within)


def carried(fresh: Any, learned: Any, places: Integers) -> Any:
    """What was learned, for another list of actions: `places [A]` says where each action of `fresh` stood in `learned`,
    -1 for a new one, which keeps what `fresh` knows of it. Fields marked `PerAction` have an entry for each action.
    None where something else has another shape as well, such as the features of the actions."""
    parts = {each.name: getattr(learned, each.name) for each in fields(learned)}
    marks = {name: each.__metadata__[0] for name, each in _hints(learned).items() if hasattr(each, "__metadata__")}
    known = np.flatnonzero(places >= 0)
    for name, old in parts.items():
        if is_dataclass(old):
            parts[name] = carried(getattr(fresh, name), old, places)
            if parts[name] is None:
                return None
    for name, mark in marks.items():
        if isinstance(mark, PerAction):
            index = (slice(None),) * mark.axis
            old, parts[name] = parts[name], np.array(getattr(fresh, name))
            if np.delete(old.shape, mark.axis).tolist() != np.delete(parts[name].shape, mark.axis).tolist():
                return None
            parts[name][(*index, known)] = old[(*index, places[known])]
    for name, mark in marks.items():
        if isinstance(mark, Derived):
            parts[name] = mark.function(parts[mark.source])
    return type(learned)(**parts)


def _hints(state: Any) -> dict[str, Any]:
    return get_type_hints(type(state), include_extras=True)
