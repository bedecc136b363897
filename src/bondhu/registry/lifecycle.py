"""What the history of a domain's versions means: one table of transitions, and pure folds over the events.

    candidate ──▶ shadow ──▶ trial ──▶ live ──▶ retired ──▶ (any of them again)

A shadow decides for nobody: its decisions are made afterwards, from the log. A trial decides for a share of the people.
One version at a time is in shadow or trial, and one is live, or the rule.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from bondhu.errors import ClockBehind, Conflict, InvalidInput, UnknownName, nearest
from bondhu.ports import Event

BASELINE = "baseline"  # the version name of the rule in force before learning
APPLICATION = "application"  # the version name of what the application would have done by itself
EXPLORED = "application, explored"  # of what an apprentice did in its place
NEW = "new"  # the status of a version that is not there yet

UNCHANGED = {each: each for each in ("candidate", "shadow", "trial", "live", "retired")}

# What an event makes of the version it names: status before -> status after.
TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    "added": {NEW: "candidate"},
    "judged": UNCHANGED,  # a verdict
    "marked": UNCHANGED,  # it learned from a person who was erased since
    "shadowed": {"candidate": "shadow", "retired": "shadow"},
    "tried": {"candidate": "trial", "shadow": "trial", "trial": "trial", "retired": "trial"},  # `share` of the people
    "withdrawn": {"shadow": "retired", "trial": "retired"},
    "promoted": {"candidate": "live", "shadow": "live", "trial": "live", "live": "live", "retired": "live"},
    "rolled_back": {"live": "live", "retired": "live", "candidate": "live", "shadow": "live", "trial": "live"},
    "stopped": {},  # of the baseline alone: it decides for everybody until a version is promoted
}
STANDS = {  # each status in a sentence
    NEW: "not there",
    "candidate": "a candidate",
    "shadow": "in shadow",
    "trial": "on trial",
    "live": "live",
    "retired": "retired",
}
SAFER = ("withdrawn", "rolled_back", "stopped")  # what takes back
SILENT = ("judged", "marked")  # what is said of a version and does not move it
UNTIMED = (*SAFER, *SILENT, "added")  # never refused for the sake of a clock: safer, or begun long before
SKEW = 60.0  # seconds by which clocks of several machines may disagree


class Standing(NamedTuple):
    """Where one version stands."""

    version: str
    status: str  # a word of TRANSITIONS
    added: float  # seconds; NaN where the version was promoted without ever being added here
    changed: float  # seconds of the last change of status
    why: str  # reason of that change


class Step(NamedTuple):
    """One step of a release."""

    version: str
    share: float  # of the people it decides for; 0 in shadow
    since: float  # seconds
    began: float  # seconds; when the version left the candidates


class Traffic(NamedTuple):
    """Who decides for whom."""

    live: str | None  # None: the baseline
    step: Step | None  # the version in shadow or trial
    stopped: bool  # by the kill switch: no release goes on by itself


def traffic(events: Sequence[Event]) -> Traffic:
    """Who decides for whom now."""
    stack: list[str] = []
    step: Step | None = None
    stopped = False
    for event in events:
        stack = _after(stack, event)
        step = _step_after(step, event)
        stopped = event.kind == "stopped" or (stopped and not _starts_again(event))
    acting = stack[-1:]
    return Traffic(acting[0] if acting and acting[0] != BASELINE else None, step, stopped)


def live(events: Sequence[Event]) -> str | None:
    """The version that acts now; None: the baseline. Unchanged events are the same object: cache by identity."""
    return traffic(events).live


def previous(events: Sequence[Event]) -> str | None:
    """What a rollback goes back to, "baseline" below the first promotion; None: there is nothing to roll back."""
    return next(iter(below(events)), None)


def below(events: Sequence[Event]) -> list[str]:
    """What rollbacks go back to, one after the other; the baseline at the end."""
    stack: list[str] = []
    for event in events:
        stack = _after(stack, event)
    return [*stack[-2::-1], BASELINE] if stack else []


def versions(events: Sequence[Event]) -> list[Standing]:
    """All versions and where they stand, oldest first."""
    standing: dict[str, Standing] = {}
    stack: list[str] = []
    for event in events:
        if event.kind not in TRANSITIONS or event.kind in SILENT:
            continue  # a newer release may record more than this one understands
        acting, stack = stack[-1:], _after(stack, event)
        leaving = acting if acting != stack[-1:] else []
        if event.kind == "stopped":
            leaving = leaving + [each.version for each in standing.values() if each.status in ("shadow", "trial")]
        for name in leaving:
            if name in standing:
                standing[name] = standing[name]._replace(status="retired", changed=event.time, why=event.reason)
        if event.version != BASELINE:
            known = standing.get(event.version, Standing(event.version, NEW, math.nan, event.time, ""))
            status = TRANSITIONS[event.kind].get(known.status) or next(iter(TRANSITIONS[event.kind].values()))
            added = event.time if event.kind == "added" else known.added
            standing[event.version] = Standing(event.version, status, added, event.time, event.reason)
    return list(standing.values())


def checked(event: Event, events: Sequence[Event], known: Collection[str], seen: int | None = None) -> Event:
    """The event as it enters the history; raises where the table of transitions or the clock does not allow it.

    `known`: the versions there are; `seen`: how many events whoever asks for this has seen, if that matters.
    """
    if event.kind not in TRANSITIONS:
        fix = nearest(event.kind, TRANSITIONS)
        raise UnknownName(f"No event kind {event.kind!r}.", field="kind", value=event.kind, fix=fix)
    if event.version != BASELINE and event.version not in known:
        raise unknown_version(event.version, known)
    if seen is not None and seen != len(events):
        newest = events[-1]
        by = f" by {newest.by}" if newest.by else ""
        what = f"Meanwhile {newest.version!r} was {newest.kind.replace('_', ' ')}{by}."
        raise Conflict(what, field="version", value=event.version, fix="Look at `bondhu status`, then try again.")
    _check_transition(event, events)
    return _in_order(event, events)


def _check_transition(event: Event, events: Sequence[Event]) -> None:
    allowed = TRANSITIONS[event.kind]
    if event.version == BASELINE:
        if event.kind not in ("judged", "promoted", "rolled_back", "stopped"):
            raise InvalidInput(f"The baseline cannot be {event.kind}.", field="version", value=BASELINE)
        return
    status = next((each.status for each in versions(events) if each.version == event.version), NEW)
    if event.kind == "added" or (status == NEW and event.kind == "promoted"):
        return
    if status not in allowed:
        what = f"Version {event.version!r} is {STANDS[status]} and cannot be {event.kind.replace('_', ' ')}."
        fix = (
            f"That is for versions that are {' or '.join(STANDS[each] for each in sorted(allowed))}." if allowed else ""
        )
        raise Conflict(what, field="version", value=event.version, fix=fix)
    step = traffic(events).step
    if event.kind == "tried" and step is not None and (event.share or 0.0) < step.share:
        what = f"Version {step.version!r} is on trial for {step.share:.0%} of the people: who met it keeps it."
        raise Conflict(what, field="share", value=event.share, fix="Withdraw it to end the trial: `bondhu withdraw`.")
    if event.kind in ("shadowed", "tried") and step is not None and step.version != event.version:
        what = f"Version {step.version!r} is {'on trial' if step.share else 'in shadow'} already."
        raise Conflict(what, field="version", value=event.version, fix="Withdraw it first: `bondhu withdraw`.")


def _in_order(event: Event, events: Sequence[Event]) -> Event:
    """The event no earlier than the last one; raises ClockBehind where the clock must have been set back."""
    last = events[-1].time if events else -math.inf
    if event.time >= last:
        return event
    if event.kind not in UNTIMED and event.time < last - SKEW:
        newest = events[-1]
        raise ClockBehind(
            f"The clock says {event.time:.0f}, but the last event of this history is of {last:.0f}, "
            f"{last - event.time:,.0f} seconds later.",
            field="time",
            value=event.time,
            fix="Set the clock right; rolling back, withdrawing and stopping work all the same. If the clock is right, "
            f"that event's was not ({newest.version!r} {newest.kind.replace('_', ' ')}): mend it in events.jsonl.",
        )
    return event._replace(time=last)


def unknown_version(version: str, known: Collection[str]) -> UnknownName:
    """The error for a version that is not there."""
    fix = nearest(version, sorted(known, reverse=True))
    return UnknownName(f"No version {version!r}.", field="version", value=version, fix=fix)


def _after(stack: list[str], event: Event) -> list[str]:
    """The versions that took over from each other; the last one acts. Rolling back drops all down to the version
    named, which may be one that never acted; stopping drops them all."""
    if event.kind == "promoted" and stack[-1:] != [event.version]:
        return [*stack, event.version]
    if event.kind == "stopped":
        return []
    if event.kind != "rolled_back":
        return stack
    below = stack[:-1]
    while below and below[-1] != event.version:
        below.pop()
    return below if below or event.version == BASELINE else [*stack[:-1], event.version]


def _starts_again(event: Event) -> bool:
    """Whether somebody lets a version decide again after the kill switch."""
    return event.kind in ("promoted", "tried", "shadowed") or (
        event.kind == "rolled_back" and event.version != BASELINE
    )


def _step_after(step: Step | None, event: Event) -> Step | None:
    if event.kind in ("shadowed", "tried"):
        again = step is not None and step.version == event.version
        share = event.share if event.kind == "tried" and event.share is not None else 0.0
        return Step(event.version, share, event.time, step.began if again and step else event.time)
    if step is not None and event.kind in ("promoted", "rolled_back") and event.version != step.version:
        return step._replace(since=event.time, began=event.time)  # what it is compared with is another one now
    ends = event.kind == "stopped" or (
        step is not None and event.kind in ("promoted", "withdrawn", "rolled_back") and event.version == step.version
    )
    return None if ends else step
