"""The catalogue: one file is one algorithm, found by walking the folders; nothing registers itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np

from bondhu.errors import InvalidInput, StateCorrupt, UnknownName, nearest
from bondhu.types import Array, Learner

State = TypeVar("State")


def names() -> list[str]:
    """Every learner as "family.file", such as "tabular.q_learning"."""
    files = Path(__file__).parent.glob("*/*.py")
    return sorted(f"{file.parent.name}.{file.stem}" for file in files if not file.stem.startswith("_"))


def find(name: str) -> type[Learner[Any]]:
    """The learner's class, named like its file; imports that file and no other learner's."""
    known = names()
    if name not in known:
        raise UnknownName(f"No learner {name!r}.", field="learner", value=name, fix=nearest(name, known))
    module = import_module(f"{__name__}.{name}")
    found: type[Learner[Any]] = getattr(module, name.rpartition(".")[2].title().replace("_", ""))
    return found


def build(name: str, hyperparameters: Mapping[str, Any]) -> Learner[Any]:
    """The learner with these hyper-parameters; the others keep their defaults."""
    learner = find(name)
    declared = get_type_hints(learner)
    known = [each.name for each in fields(learner)]  # type: ignore[arg-type]  # every learner is a dataclass
    checked = {}
    for key, value in hyperparameters.items():
        if key not in known:
            raise InvalidInput(f"{name} has no {key!r}.", field=key, value=value, fix=nearest(key, known))
        checked[key] = _typed(key, value, declared[key])
    return learner(**checked)


def pack(state: Any) -> dict[str, Array]:
    """The fields of a learner's state as arrays; numbers become arrays without dimensions.

    The arrays are read-only copies: what is stored stays as it is when learning goes on from it.
    """
    arrays = {each.name: np.array(getattr(state, each.name)) for each in fields(state)}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def unpack(state_type: type[State], arrays: Mapping[str, Array]) -> State:
    """The state that `pack` took apart."""
    expected = {each.name for each in fields(state_type)}  # type: ignore[arg-type]  # every state is a dataclass
    if expected != set(arrays):
        raise StateCorrupt(
            f"The state has the fields {sorted(arrays)}, not {sorted(expected)}.",
            fix="Roll back to another version, then train again.",
        )
    return state_type(**{name: array if array.ndim else array.item() for name, array in arrays.items()})


def _typed(key: str, value: Any, kind: type) -> Any:
    """The value as `kind`; a whole number may stand for a float, and nothing else for anything."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InvalidInput(
            f"{key!r} got {value!r}, which is not of type {kind.__name__}.",
            field=key,
            value=value,
            fix=f"Give a value such as {kind(1)!r}.",
        )
    return value
