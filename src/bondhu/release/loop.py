"""One look at the release under way: gather the facts, ask the rules, record what is to be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bondhu.errors import BondhuError, Conflict
from bondhu.ports import Deployment, Event
from bondhu.registry.lifecycle import Step, traffic
from bondhu.release.facts import shadow_facts, trial_facts
from bondhu.release.rules import Move, ReleaseRules, after_shadow, after_trial, first_move
from bondhu.types import Acting

BY = "release"  # who is named in the history


class Look(NamedTuple):
    """What one look at a release found, and whether it moved."""

    version: str
    move: Move

    @property
    def moved(self) -> bool:
        return self.move.kind != "wait"


def begin(deployment: Deployment, version: str, rules: ReleaseRules, *, by: str, reason: str, now: float) -> Look:
    """Let the version leave the candidates. Raises Conflict while another one is in shadow or on trial."""
    events = deployment.registry.events(deployment.domain.name)
    step = traffic(events).step
    if step is not None:
        how = f"on trial for {step.share:.0%} of the people" if step.share else "in shadow"
        what = f"Version {step.version!r} is {how} already."
        raise Conflict(what, field="version", value=version, fix="Let it end, or withdraw it: `bondhu withdraw`.")
    move = first_move(rules)
    stated = reason if reason.endswith((".", "!", "?")) else f"{reason}."
    move = move._replace(reasons=(stated, *move.reasons))
    _record(deployment, version, move, by=by, now=now, seen=len(events))
    return Look(version, move)


def look(deployment: Deployment, ready: Callable[[str], Acting], rules: ReleaseRules, *, now: float) -> Look | None:
    """Take the next step of the release under way, if its rules say so; None where there is none."""
    events = deployment.registry.events(deployment.domain.name)
    step = traffic(events).step
    if step is None:
        return None
    move = next_move(deployment, ready, step, rules, now)
    if move.kind != "wait":
        _record(deployment, step.version, move, by=BY, now=now, seen=len(events))
    return Look(step.version, move)


def next_move(
    deployment: Deployment, ready: Callable[[str], Acting], step: Step, rules: ReleaseRules, now: float
) -> Move:
    """What is to be done with the version at this step; nothing is recorded."""
    try:
        acting = ready(step.version)
    except BondhuError as error:
        return Move("withdrawn", None, (f"It cannot act: {error}",), {})
    if step.share:
        return after_trial(step, trial_facts(deployment, step, rules, now), rules)
    return after_shadow(shadow_facts(deployment, acting, step, now), rules)


def _record(deployment: Deployment, version: str, move: Move, *, by: str, now: float, seen: int) -> None:
    event = Event(now, move.kind, version, " ".join(move.reasons), move.figures, by, move.share)
    deployment.registry.record(deployment.domain.name, event, seen=seen)
