"""Folders as catalogues: one file is one algorithm, its class is the file's name in capitals, nothing registers itself.

Hyper-parameters are the fields of a frozen dataclass. As plain data they are a table; a field that holds another part,
such as an exploration rule, is a table in it whose `name` says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from bondhu.errors import InvalidInput, UnknownName, nearest

Build = Callable[[str, Mapping[str, Any]], Any]


def names_in(package: str) -> list[str]:
    """Every algorithm below a package of ours: "file", or "family.file" where it lies in a folder."""
    root = Path(__file__).parent / Path(*package.split(".")[1:])
    files = (file.relative_to(root).with_suffix("").parts for file in root.rglob("*.py"))
    return sorted(".".join(parts) for parts in files if not parts[-1].startswith("_"))


def find_in(package: str, name: str, kind: str) -> type[Any]:
    """The class in that file, imported now and no other file with it; UnknownName names the nearest `kind`."""
    known = names_in(package)
    if name not in known:
        raise UnknownName(f"No {kind} {name!r}.", field=kind, value=name, fix=nearest(str(name), known))
    module = import_module(f"{package}.{name}")
    found: type[Any] = getattr(module, name.rpartition(".")[2].title().replace("_", ""))
    return found


def made(kind: type[Any], name: str, given: Mapping[str, Any], parts: Mapping[Any, Build]) -> Any:
    """`kind` with these hyper-parameters; `parts` builds the fields of other types from their tables."""
    declared, known = get_type_hints(kind), [each.name for each in fields(kind)]
    checked = {}
    for key, value in given.items():
        if key not in known:
            raise InvalidInput(f"{name} has no {key!r}.", field=key, value=value, fix=nearest(key, known))
        build = next((parts[each] for each in parts if each is (get_origin(declared[key]) or declared[key])), None)
        checked[key] = _part(key, value, build) if build else _typed(key, value, declared[key])
    return kind(**checked)


def plain(part: Any) -> dict[str, Any]:
    """The hyper-parameters as plain data, from which `made` builds an equal part."""
    return {each.name: _plain(getattr(part, each.name)) for each in fields(part)}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"name": name_of(type(value)), **plain(value)}
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def require(part: Any, low: float, high: float, *names: str) -> None:
    """Raise InvalidInput where one of these hyper-parameters is not a finite number from low to high, or is a fraction
    and declared an int."""
    declared = {each.name: each.type for each in fields(part)} if is_dataclass(part) else {}
    for name in names:
        value = getattr(part, name)
        if declared.get(name) in (int, "int") and not isinstance(value, Integral):
            raise InvalidInput(f"{name!r} got {value!r}.", field=name, value=value, fix="It must be a whole number.")
        if not (math.isfinite(value) and low <= value <= high):
            limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
            fix = f"It must be a number {limits}." if math.isfinite(low) else "It must be a number."
            raise InvalidInput(f"{name!r} got {value!r}.", field=name, value=value, fix=fix)


def name_of(kind: type[Any]) -> str:
    """What the catalogue calls a class: bondhu.learners.tabular.q_learning -> tabular.q_learning."""
    return kind.__module__.split(".", 2)[2] if ".learners." in kind.__module__ else kind.__module__.rpartition(".")[2]


def _part(key: str, value: Any, build: Build) -> Any:
    if not isinstance(value, Mapping) or "name" not in value:
        fix = f'Write a table such as [learner.{key}] with name = "…".'
        raise InvalidInput(f"{key!r} got {value!r}.", field=key, value=value, fix=fix)
    try:
        return build(value["name"], {name: each for name, each in value.items() if name != "name"})
    except InvalidInput as error:
        raise type(error)(error.what, field=f"{key}.{error.field}", value=error.value, fix=error.fix) from error


def _typed(key: str, value: Any, kind: Any) -> Any:
    """The value as `kind`; a whole number may stand for a float, a list for a tuple, and nothing else for anything."""
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_typed(key, each, get_args(kind)[0]) for each in value)
    if get_origin(kind) is Mapping and isinstance(value, Mapping):
        return {name: _typed(f"{key}.{name}", each, get_args(kind)[1]) for name, each in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        expected, example = _EXAMPLES.get(get_origin(kind) or kind, (str(kind), "one"))
        what = f"{key!r} got {value!r}, which is not of type {expected}."
        raise InvalidInput(what, field=key, value=value, fix=f"Give a value such as {example}.")
    return value


_EXAMPLES = {
    float: ("float", "1.0"),
    int: ("int", "1"),
    bool: ("bool", "True"),
    str: ("str", "'1'"),
    tuple: ("list", "[1.0, 2.0]"),
    Mapping: ("table", "{like = 1.0}"),
}
