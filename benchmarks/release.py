"""Releases on simulated weeks, healthy or with a fault: what is taken back, how soon, and how often for nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks import sequential
from benchmarks.injected_world import FAULTS, HEALTHY, MONDAY, Arms, Day, World, records
from benchmarks.report import Row, main
from bondhu.domains.recommendation import domain
from bondhu.log.join import only
from bondhu.ports import Deployment, Event, Version
from bondhu.registry import BASELINE, MemoryRegistry, traffic
from bondhu.release.facts import trial_facts
from bondhu.release.rules import ReleaseRules, after_trial
from bondhu.types import Decision, Feedback, Records
from bondhu.watch.findings import findings
from bondhu.watch.observed import observe
from bondhu.watching import blame

AFTER, SOON = 21, 10  # days that are played after the fault began, in the full run and in the quick one
STATED = 8_000  # decisions of everybody from the beginning of a fault, within which its version is taken back
SEED = 70_000  # of the first reported run; others were looked at before
BAD = ("policy", "segment")  # faults that a version brings along
FIELDS = tuple(each.name for each in domain().fields)
RULES = ReleaseRules(  # 500 people are few: a tenth of them would be 50
    automatic=True, shadow=False, steps=(0.5, 1.0), minimum_decisions=300, groups=FIELDS, holdout=0.05
)


class Replay:
    """A log that reads what has happened so far."""

    def __init__(self) -> None:
        self.days: list[Day] = []
        self._whole: Records | None = None

    def live(self, day: Day) -> None:
        self.days.append(day)
        self._whole = None

    def append(self, decisions: list[Decision], feedback: list[Feedback] = []) -> None:  # noqa: B006  never written
        raise NotImplementedError("Days are played, not appended.")

    def find(self, decision_id: str) -> None:
        raise NotImplementedError(decision_id)

    def read(self, domain: str, start: float, end: float) -> Records:  # noqa: ARG002  there is one domain
        whole = self._whole = self._whole or records(self.days)
        return only(whole, (whole.time >= start) & (whole.time < end))


class Outcome(NamedTuple):
    """How a release ended."""

    taken_back: bool
    promoted: bool
    decisions: int  # of everybody, from the beginning of the fault until the version was taken back
    why: str


def play(fault: str, seed: int, *, at_once: bool, after: int = AFTER) -> Outcome:
    """The new version begins its release, or is live at once, on the day the fault begins; the release loop and the
    watch look at the end of each day, as they do in a deployment."""
    world = World(fault, seed)
    log, registry = Replay(), MemoryRegistry()
    deployment = Deployment(domain(), log, registry)  # type: ignore[arg-type]  # only read from
    for name in ("v1", "v2"):
        registry.add(Version(name, domain().name, "tabular.q_learning", {}, {}, {}, MONDAY))
    _record(deployment, "promoted", "v1", MONDAY)
    comes = fault not in BAD or "rewards" not in world.kind  # else the fault is the world's alone
    for number in range(world.begins + after):
        if number == world.begins and comes:
            _record(deployment, "promoted" if at_once else "tried", "v2", _morning(number), RULES.steps[0])
        log.live(world.day(number, _arms(deployment)))
        now = log.days[-1].end
        if number >= world.begins and _look(deployment, log, now):
            made = sum(len(day.columns.time) for day in log.days[world.begins :])
            event = registry.events(domain().name)[-1]
            return Outcome(event.kind in ("withdrawn", "rolled_back"), False, made, f"{event.by}: {event.reason}")
    return Outcome(False, traffic(registry.events(domain().name)).live == "v2", 0, "")


def _look(deployment: Deployment, log: Replay, now: float) -> bool:
    """One evening: the next step of the release, then the watch; whether something was taken back."""
    name, registry = deployment.domain.name, deployment.registry
    step = traffic(registry.events(name)).step
    if step is not None:
        move = after_trial(step, trial_facts(deployment, step, RULES, now), RULES)
        if move.kind != "wait":
            _record(deployment, move.kind, step.version, now, move.share, " ".join(move.reasons), "release")
        if move.kind == "withdrawn":
            return True
    wait = deployment.domain.reward.wait
    observed = observe(deployment.domain, log.read(name, -np.inf, np.inf), MONDAY, now)
    for found in findings(observed, now, wait):
        blamed = blame(registry.events(name), found, observed, now - wait)
        if blamed is not None:
            kind, version = ("withdrawn", blamed.version) if blamed.on_trial else ("rolled_back", "v1")
            _record(deployment, kind, version, now, None, found.title, "watch")
            return True
    return False


def _arms(deployment: Deployment) -> Arms:
    now = traffic(deployment.registry.events(deployment.domain.name))
    live = now.live or BASELINE
    if now.step is None:
        return Arms(live)
    return Arms(live, now.step.version, 0.95 * now.step.share)  # beside a holdout of 5 %


def _record(  # noqa: PLR0913, PLR0917  the parts of an event
    deployment: Deployment,
    kind: str,
    version: str,
    now: float,
    share: float | None = None,
    reason: str = "",
    by: str = "",
) -> None:
    event = Event(now, kind, version, reason, {}, by, share if kind == "tried" else None)
    deployment.registry.record(deployment.domain.name, event)


def _morning(number: int) -> float:
    return MONDAY + number * 86_400.0


def of_bad_versions(fault: str, runs: int, *, at_once: bool, after: int = AFTER) -> list[Row]:
    """How often, and after how many decisions, a faulty version is taken back."""
    brought = [seed for seed in range(SEED, SEED + 2 * runs) if "rewards" not in World(fault, seed).kind][:runs]
    outcomes = [play(fault, seed, at_once=at_once, after=after) for seed in brought]
    name = f"{fault}, {'live at once' if at_once else 'on trial'}"
    within = [each.taken_back and each.decisions <= STATED for each in outcomes]
    share = 100 * float(np.mean(within))
    title = f"{name}: taken back within {STATED:,} decisions, {len(within)} runs"
    rows = [Row(title, share, "%", ">= 90", share >= 90)]
    kinds = sorted({World(fault, seed).kind for seed in brought}) if fault == "segment" else []
    for kind in kinds:  # in a town of 500, few people have one trait, and all of them are in one mood at times
        of_kind = [ok for ok, seed in zip(within, brought, strict=True) if World(fault, seed).kind == kind]
        rows.append(Row(f"{name}: {kind}, {len(of_kind)} runs", 100 * float(np.mean(of_kind)), "%"))
    until = [each.decisions for each in outcomes if each.taken_back]
    if until:
        rows.append(Row(f"{name}: decisions until then, median", float(np.median(until)), "decisions"))
        rows.append(Row(f"{name}: decisions until then, 90 % of runs", float(np.quantile(until, 0.9)), "decisions"))
    return rows


def of_good_versions(fault: str, seeds: range, after: int = AFTER) -> list[Row]:
    """How often a version is taken back that is not to blame; how often a better one climbs to live meanwhile."""
    outcomes = [play(fault, seed, at_once=False, after=after) for seed in seeds]
    kept = 100 * float(np.mean([not each.taken_back for each in outcomes]))
    name = f"{fault}: not taken back, {len(outcomes)} runs"
    goal = fault == HEALTHY
    rows = [Row(name, kept, "%", ">= 99" if goal else "", kept >= 99 if goal else None)]
    if goal:
        live = 100 * float(np.mean([each.promoted for each in outcomes]))
        rows.append(Row(f"{fault}: a slightly better version is live within {after} days", live, "%"))
    return rows


def measure(quick: bool) -> list[Row]:
    runs, healthy, after = (1, 1, SOON) if quick else (60, 200, AFTER)
    ways = [(fault, at_once) for fault in BAD for at_once in (False, True)]
    rows = [row for fault, at_once in ways for row in of_bad_versions(fault, runs, at_once=at_once, after=after)]
    good = [(fault, range(SEED, SEED + runs)) for fault in FAULTS if fault not in BAD]
    good.append((HEALTHY, range(SEED, SEED + healthy)))
    rows += [row for fault, seeds in good for row in of_good_versions(fault, seeds, after)]
    rows = [replace(row, name=f"release: {row.name}") for row in rows]
    return [*rows, *([] if quick else sequential.measure(quick))]


if __name__ == "__main__":
    main("release", measure)
