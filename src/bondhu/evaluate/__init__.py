"""Estimators of a policy's value on logged decisions: one file is one estimator, and the two folders are the catalogue:
`decisions` for what one decision earns, `sessions` for what a whole session earns."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bondhu.errors import UnknownName, nearest
from bondhu.types import Estimator


def names(scope: str | None = None) -> tuple[str, ...]:
    """Every estimator, or those of one scope ("decision", "session", "slate" or "dial"), in alphabetical order."""
    return tuple(sorted(name for name, found in _catalogue().items() if scope in (None, found.scope)))


def find(name: str) -> type[Estimator]:
    """The estimator of this name; its fields are its settings."""
    catalogue = _catalogue()
    if name not in catalogue:
        raise UnknownName(f"No estimator {name!r}.", field="estimator", value=name, fix=nearest(name, names()))
    return catalogue[name]


def _catalogue() -> dict[str, type[Estimator]]:
    found: dict[str, type[Estimator]] = {}
    for folder in ("decisions", "sessions"):
        home = import_module(f"{__name__}.{folder}")
        for module in iter_modules(home.__path__):
            for value in vars(import_module(f"{home.__name__}.{module.name}")).values():
                if isinstance(value, type) and "scope" in vars(value):
                    found[value.name] = value  # type: ignore[attr-defined]  # what has a scope is an Estimator
    return found
