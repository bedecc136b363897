"""States of learners as arrays: taken apart to be stored, put together again, carried over to other actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from bondhu.errors import StateCorrupt
from bondhu.types import ActionNumbers, Array, Batch, Declared, Derived, Integers, Learner, PerAction


def pack(state: Any) -> dict[str, Array]:
    """The fields of a learner's state as arrays; numbers become arrays without dimensions, what is in a field "a/b".

    The arrays are read-only copies: what is stored stays as it is when learning goes on from it.
    """
    return {name: _read_only(np.array(array)) for name, array in _entries(state).items()}


def views(state: Any) -> dict[str, Array]:
    """As `pack`, but read-only views of the state's own arrays."""
    return {name: _read_only(array.view()) for name, array in _entries(state).items()}


def _entries(state: Any) -> dict[str, Array]:
    entries = state if isinstance(state, Mapping) else {each.name: getattr(state, each.name) for each in fields(state)}
    arrays: dict[str, Array] = {}
    for name, value in entries.items():
        if is_dataclass(value) or isinstance(value, Mapping):
            arrays |= {f"{name}/{part}": array for part, array in _entries(value).items()}
        else:
            arrays[name] = np.asarray(value)
    return arrays


def _read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


def unpack(learner: Learner[Any], arrays: Mapping[str, Array]) -> Any:
    """The state that `pack` took apart; a state within it is one of the learner in the field `inner`."""
    return _record(learner, learner.State, arrays)


def _record(learner: Learner[Any], kind: type[Any], arrays: Mapping[str, Array]) -> Any:
    made = get_origin(kind) or kind
    expected = [each.name for each in fields(made)]
    optional = {each.name for each in fields(made) if each.default_factory is not MISSING}
    found = {name.partition("/")[0] for name in arrays}
    if not set(expected) - optional <= found <= set(expected):
        raise StateCorrupt(
            f"The state has the fields {sorted(found)}, not {sorted(expected)}.",
            fix="Roll back to another version, then train again.",
        )
    hints, meant = get_type_hints(made), dict(zip(getattr(made, "__parameters__", ()), get_args(kind), strict=True))
    return made(
        **{
            name: _field(learner, meant.get(hints[name], hints[name]), _below(name, arrays))
            for name in expected
            if name in found
        }
    )


def _below(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """What is in a field, by the rest of its name; the field itself is ""."""
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key == name or key.startswith(f"{name}/")}


def _field(learner: Learner[Any], hint: Any, within: Mapping[str, Array]) -> Any:
    if "" in within:
        array = within[""]  # without dimensions it is a number, unless the state holds arrays: others compile anew
        return array if array.ndim or hint == Array else array.item()
    if get_origin(hint) is Mapping:
        kind = get_args(hint)[1]
        if kind == Array:
            return dict(within)  # columns of a batch, which may have any name
        names = dict.fromkeys(key.partition("/")[0] for key in within)
        return {name: _field(learner, kind, _below(name, within)) for name in names}
    if is_dataclass(get_origin(hint) or hint):
        return _record(learner, hint, within)
    inner: Learner[Any] = learner.inner  # type: ignore[attr-defined]  # what a learner calls another that it holds
    return unpack(inner, within)


def carried(fresh: Any, learned: Any, places: Integers) -> Any:
    """What was learned, for another list of actions: `places [A]` says where each action of `fresh` stood in `learned`,
    -1 for a new one, which keeps what `fresh` knows of it. Fields marked `PerAction` have an entry for each action.
    None where something else has another shape as well, such as the features of the actions."""
    marks = {name: hint.__metadata__[0] for name, hint in _hints(learned).items() if hasattr(hint, "__metadata__")}
    parts = {
        each.name: _carried(getattr(fresh, each.name), getattr(learned, each.name), marks.get(each.name), places)
        for each in fields(learned)
    }
    if any(part is None for part in parts.values()):
        return None
    for name, mark in marks.items():
        if isinstance(mark, Derived):
            parts[name] = mark.function(parts[mark.source])
    return type(learned)(**parts)


def _carried(new: Any, old: Any, mark: Any, places: Integers) -> Any:
    """One field."""
    if isinstance(old, Mapping):
        parts = {key: carried(new[key], each, places) for key, each in old.items()}
        return None if any(part is None for part in parts.values()) else parts
    if isinstance(old, Batch):
        return renumbered(old, places)
    if is_dataclass(old):
        return carried(new, old, places)
    if isinstance(mark, ActionNumbers):
        return np.append(_numbers(places, old.max(initial=-1) + 1), -1)[old]
    if isinstance(mark, Declared):
        return new if _alike(new, old, mark.axis) else None
    return _placed(new, old, mark.axis, places) if isinstance(mark, PerAction) else old


def _placed(new: Array, old: Array, axis: int, places: Integers) -> Array | None:
    """The entries of `old` at their new places along the axis, those of `new` elsewhere; None: the rest differs."""
    if not _alike(new, old, axis):
        return None
    known, moved = np.flatnonzero(places >= 0), np.array(new)
    np.moveaxis(moved, axis, 0)[known] = np.moveaxis(old, axis, 0)[places[known]]
    return moved


def _alike(new: Array, old: Array, axis: int) -> bool:
    """Whether the shapes differ along this axis at most."""
    return np.delete(old.shape, axis).tolist() == np.delete(new.shape, axis).tolist()


def renumbered(batch: Batch, places: Integers) -> Batch:
    """Decisions as they stand in another list of actions; those whose action, or whose choice, is gone are left out,
    and nothing follows the decision before such a one. Candidates `[T, A, F]` that are new have features of 0."""
    number = _numbers(places, batch.allowed.shape[1])
    allowed, ahead = (each[:, places] & (places >= 0) for each in (batch.allowed, batch.next_allowed))
    action = number[batch.action]
    kept = (action >= 0) & ~((batch.discount > 0) & ~ahead.any(axis=1))
    columns: dict[str, Any] = {"action": action, "allowed": allowed, "next_allowed": ahead}
    columns["has_next"] = batch.has_next & np.append(kept[1:], False)
    for name in ("observation", "next_observation"):
        columns[name] = _candidates(getattr(batch, name), places)
    return replace(batch, **columns).take(kept)


def _candidates(observation: Array, places: Integers) -> Array:
    """The observation, with candidates `[T, A, F]` at their new places."""
    if observation.ndim < 3:
        return observation
    return np.where((places >= 0)[:, None], observation[:, places], 0)


def _numbers(places: Integers, actions: int) -> Integers:
    """The new number of each old action, -1 where it is gone."""
    number = np.full(max(actions, places.max(initial=-1) + 1), -1)
    number[places[places >= 0]] = np.flatnonzero(places >= 0)
    return number


def _hints(state: Any) -> dict[str, Any]:
    return get_type_hints(type(state), include_extras=True)
