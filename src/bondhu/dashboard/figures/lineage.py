"""What each version learned with, what it learned on from, and what changed in that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bondhu.errors import BondhuError
from bondhu.ports import Event, Registry, Version


class Ancestry(NamedTuple):
    """Where one version comes from."""

    version: str
    added: float  # seconds
    learner: str  # "" where its files cannot be read
    parent: str | None
    interactions: float | None  # settled decisions it was trained on
    changed: tuple[str, ...]  # hyper-parameters beside its parent's, or those of the version added before it
    problem: str = ""  # why nothing is known


def ancestries(registry: Registry, events: Sequence[Event]) -> dict[str, Ancestry]:
    """By version, oldest first; reads every file of every version."""
    found: dict[str, Ancestry] = {}
    loaded: dict[str, Version] = {}
    before: Version | None = None
    for event in events:
        if event.kind != "added":
            continue
        try:
            version = registry.load(event.version)
        except BondhuError as error:
            found[event.version] = Ancestry(event.version, event.time, "", None, None, (), str(error))
            continue
        likened = loaded.get(version.parent or "", before)
        said = version.notes.get("interactions")
        found[event.version] = Ancestry(
            version.id,
            event.time,
            version.learner,
            version.parent,
            None if said is None else float(said),
            differences(likened, version) if likened else (),
        )
        before = loaded[version.id] = Version(
            version.id, version.domain, version.learner, version.hyperparameters, {}, {}, version.created
        )
    return found


def differences(then: Version, now: Version) -> tuple[str, ...]:
    """What differs, such as "learning_rate: 0.1 → 0.2"; of another learner, that alone."""
    if then.learner != now.learner:
        return (f"{then.learner} → {now.learner}",)
    keys = dict.fromkeys([*then.hyperparameters, *now.hyperparameters])
    return tuple(
        f"{key}: {_told(then.hyperparameters, key)} → {_told(now.hyperparameters, key)}"
        for key in keys
        if then.hyperparameters.get(key) != now.hyperparameters.get(key)
    )


def _told(of: Mapping[str, Any], key: str) -> str:
    return str(of[key]) if key in of else "default"
