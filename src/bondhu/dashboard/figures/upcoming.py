"""What happens next by itself, and what waits for somebody: releases, trainings, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from bondhu.dashboard.figures.runs import verdicts
from bondhu.dashboard.figures.scheduled import Scheduled
from bondhu.dashboard.figures.trials import INTERVAL, Missing, Running
from bondhu.dashboard.layout import span as length
from bondhu.ports import Event
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import Step
from bondhu.release.rules import ReleaseRules
from bondhu.report.words import percent
from bondhu.schedule.jobs import TRAINING_JOB

HOUR = 3600.0  # seconds
VERDICTS = "evaluation"  # the view that asks the gate


class Coming(NamedTuple):
    """One thing that happens next."""

    what: str  # in a word or two
    says: str
    at: float = float("nan")  # seconds; when, or when at the earliest; NaN where no time is set
    version: str = ""
    where: str = ""  # the view that says more


Seen = tuple[Running, tuple[Missing, ...]]  # the release under way, and what its step still asks for


def coming(
    events: Sequence[Event], rules: ReleaseRules, planned: tuple[Sequence[Scheduled], bool], seen: Seen | None
) -> list[Coming]:
    """What comes, in the order of its weight. `planned`: the jobs, and whether the schedule is switched on; `seen`:
    None where nobody has looked yet."""
    now = lifecycle.traffic(events)
    found = [_of_release(now.step, rules, seen)] if now.step is not None else []
    if now.stopped:
        says = "Nothing is released by itself until somebody promotes, rolls back or releases a version."
        found.append(Coming("stopped", says, where="releases"))
    return [*found, _of_training(*planned), *_of_verdicts(events)]


def _of_release(step: Step, rules: ReleaseRules, seen: Seen | None) -> Coming:
    """The release under way, and its next step."""
    where = f"on trial for {percent(step.share)} of the people" if step.share else "in shadow: it decides for nobody"
    higher = [share for share in rules.steps if share > step.share]
    then = f"then {percent(higher[0])} of the people" if higher and higher[0] < 1 else "then everybody"
    who = "" if rules.automatic else " Nobody looks by itself: [release] automatic is off, `bondhu look` does it."
    if seen is None or not seen[1]:
        needs = f"once {rules.minimum_decisions:,.0f} decisions and {rules.minimum_hours:g} hours of this step are in"
        return Coming("release", f"is {where}; {then}, {needs}.{who}", version=step.version, where="releases")
    return Coming("release", f"is {where}; {then}. {_pace(*seen)}{who}", version=step.version, where="releases")


def _pace(found: Running, missed: Sequence[Missing]) -> str:
    """When it moves, and what it waits for."""
    if found.move.kind == "withdrawn":
        return f"The next look takes it back: {' '.join(found.move.reasons)}"
    if found.move.kind != "wait":
        return "The next look moves it on."
    slowest = max((each for each in missed if not each.met), key=lambda each: each.hours, default=None)
    if slowest is None:
        return " ".join(found.move.reasons)
    has = f"{slowest.about}: {slowest.found}, and {slowest.wanted} is asked for"
    if isfinite(slowest.hours):
        return f"At the pace so far that takes about {length(slowest.hours * HOUR)} ({has})."
    if slowest.about == INTERVAL and found.forecast is None:
        known = "no interval of the difference in reward is known"
        return f"Nobody can say when yet: {known}, and its lower end has to be {slowest.wanted}."
    return f"Nobody can say when yet ({has})."


def _of_training(planned: Sequence[Scheduled], scheduled: bool) -> Coming:
    job = next((each for each in planned if each.identity == TRAINING_JOB), None)
    if not scheduled or job is None:
        says = "is not scheduled: [schedule] enabled is off. `bondhu train` makes one."
        return Coming("training", says, where="health")
    says = f"is scheduled ({job.rhythm}); what passes the gate may be released."
    return Coming("training", says, job.next, where="health")


def _of_verdicts(events: Sequence[Event]) -> list[Coming]:
    """The newest candidate that the gate neither let pass nor refused; those before it learned from less."""
    said = {name: str(event.figures.get("decision", "")) for name, event in verdicts(events).items()}
    candidates = [each.version for each in lifecycle.versions(events) if each.status == "candidate"]
    waiting = [name for name in candidates if said.get(name, "") in ("", "wait")][-1:]
    told = {"": "was not judged yet", "wait": "waits for more decisions"}
    return [
        Coming(
            "verdict", f"{told[said.get(name, '')]}; an evaluation asks the gate again.", version=name, where=VERDICTS
        )
        for name in waiting
    ]


def earliest(of: Coming, now: float) -> float:
    """When, where it is still to come; NaN otherwise."""
    return of.at if isfinite(of.at) and of.at > now else float("nan")
