"""Estimators of a policy's value on logged decisions: one file is one estimator, and the folder is the catalogue."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bondhu.errors import UnknownName, nearest
from bondhu.types import Estimator


def names() -> tuple[str, ...]:
    """Every estimator, in alphabetical order."""
    return tuple(sorted(_catalogue()))


def find(name: str) -> type[Estimator]:
    """The estimator of this name; its fields are its settings."""
    catalogue = _catalogue()
    if name not in catalogue:
        raise UnknownName(f"No estimator {name!r}.", field="estimator", value=name, fix=nearest(name, names()))
    return catalogue[name]


def _catalogue() -> dict[str, type[Estimator]]:
    found = {}
    for module in iter_modules(__path__):
        for value in vars(import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and "scope" in vars(value):
                found[value.name] = value  # type: ignore[attr-defined]  # what has a scope is an Estimator
    return found
