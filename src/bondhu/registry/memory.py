"""The registry of one process, for tests and simulations: it forgets when the process ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np

from bondhu.errors import BondhuError, DuplicateId, InvalidInput
from bondhu.ports import Event, Version
from bondhu.registry.codec import dumps
from bondhu.registry.lifecycle import BASELINE, checked, unknown_version
from bondhu.registry.names import of_array, plain
from bondhu.types import Array


class MemoryRegistry:
    """Behaves as DiskRegistry does, down to what JSON makes of tuples."""

    def __init__(self) -> None:
        self._versions: dict[str, Version] = {}
        self._events: dict[str, tuple[Event, ...]] = {}
        self._lock = Lock()

    def add(self, version: Version, reason: str = "") -> None:
        """Store the version and record "added"."""
        plain("domain", version.domain)
        if plain("version", version.id) == BASELINE:
            raise reserved()
        if version.id in self._versions:
            raise duplicate(version.id)
        self._versions[version.id] = _copied(version)
        try:
            self.record(version.domain, Event(version.created, "added", version.id, reason, {}))
        except BondhuError:
            del self._versions[version.id]
            raise

    def load(self, version_id: str) -> Version:
        """The version; its arrays are the caller's own."""
        if version_id not in self._versions:
            raise unknown_version(version_id, self._versions)
        return _copied(self._versions[version_id])

    def record(self, domain: str, event: Event, *, seen: int | None = None) -> None:
        """Append one event to the history of the domain."""
        plain("domain", domain)
        here = {each.id for each in self._versions.values() if each.domain == domain}
        figures = json.loads(dumps(event.figures))
        with self._lock:
            event = checked(event, self.events(domain), here, seen)._replace(figures=figures)
            self._events[domain] = (*self.events(domain), event)

    def events(self, domain: str) -> Sequence[Event]:
        """Oldest first; the same object until something is recorded."""
        return self._events.get(domain, ())


def duplicate(version_id: str) -> DuplicateId:
    """The error for an id that is taken."""
    return DuplicateId(
        f"Version {version_id!r} is already stored.", field="version", value=version_id, fix="Use a new id."
    )


def reserved() -> InvalidInput:
    """The error for a version that would pass for the rule."""
    return InvalidInput(
        f"{BASELINE!r} names the rule in force before learning.", field="version", value=BASELINE, fix="Use a new id."
    )


def _copied(version: Version) -> Version:
    state: dict[str, Array] = {of_array(name): np.array(array) for name, array in version.state.items()}
    facts: dict[str, Any] = {
        name: json.loads(dumps(getattr(version, name))) for name in ("hyperparameters", "description", "notes")
    }
    return replace(version, state=state, **facts)
