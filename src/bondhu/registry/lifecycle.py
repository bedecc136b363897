"""What the history of a domain's versions means: pure folds over its events."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from bondhu.errors import UnknownName, nearest
from bondhu.ports import Event

BASELINE = "baseline"  # the version name of the rule in force before learning
KINDS = ("added", "promoted", "rolled_back")


class Standing(NamedTuple):
    """Where one version stands."""

    version: str
    status: str  # "candidate" (never live), "live", "replaced" (a newer one took over) or "rolled_back"
    added: float  # seconds; NaN where the version was promoted without ever being added here
    changed: float  # seconds of the last event about it


def live(events: Sequence[Event]) -> str | None:
    """The version that acts now; None: the baseline. Unchanged events are the same object: cache by identity."""
    acting = _stack(events)[-1:]
    return acting[0] if acting and acting[0] != BASELINE else None


def previous(events: Sequence[Event]) -> str | None:
    """What a rollback goes back to, "baseline" below the first promotion; None: there is nothing to roll back."""
    stack = _stack(events)
    return (BASELINE, *stack)[-2] if stack else None


def versions(events: Sequence[Event]) -> list[Standing]:
    """All versions and where they stand, oldest first."""
    standing: dict[str, Standing] = {}
    stack: list[str] = []
    for event in events:
        if event.kind not in KINDS:
            continue  # a newer release may record more than this one understands
        known = standing.get(event.version, Standing(event.version, "candidate", math.nan, event.time))
        if event.kind == "added":
            standing[event.version] = known._replace(added=event.time, changed=event.time)
            continue
        acting, stack = stack[-1:], _after(stack, event)
        if acting and acting[0] in standing:
            left = "rolled_back" if event.kind == "rolled_back" else "replaced"
            standing[acting[0]] = standing[acting[0]]._replace(status=left, changed=event.time)
        if event.version != BASELINE:
            standing[event.version] = known._replace(status="live", changed=event.time)
    return list(standing.values())


def checked(event: Event, known: Collection[str]) -> Event:
    """The event, if its kind exists and it is about a version that is there."""
    if event.kind not in KINDS:
        raise UnknownName(
            f"No event kind {event.kind!r}.", field="kind", value=event.kind, fix=nearest(event.kind, KINDS)
        )
    if event.version != BASELINE and event.version not in known:
        raise unknown_version(event.version, known)
    return event


def unknown_version(version: str, known: Collection[str]) -> UnknownName:
    """The error for a version that is not there."""
    fix = nearest(version, sorted(known, reverse=True))
    return UnknownName(f"No version {version!r}.", field="version", value=version, fix=fix)


def _stack(events: Sequence[Event]) -> list[str]:
    """Versions that took over from each other; the last one acts."""
    stack: list[str] = []
    for event in events:
        stack = _after(stack, event)
    return stack


def _after(stack: list[str], event: Event) -> list[str]:
    """Rolling back drops all down to the version named, which may be one that never acted."""
    if event.kind == "promoted" and stack[-1:] != [event.version]:
        return [*stack, event.version]
    if event.kind != "rolled_back":
        return stack
    below = stack[:-1]
    while below and below[-1] != event.version:
        below.pop()
    return below if below or event.version == BASELINE else [*stack[:-1], event.version]
