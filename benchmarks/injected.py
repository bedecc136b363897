"""Faults injected into simulated weeks: how often the right cause is named, how soon, and how often health alarms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.injected_world import DAY, DAYS, FAULTS, HEALTHY, KINDS_OF, MONDAY, World, records, simulate
from benchmarks.report import Row, main
from bondhu.domains.recommendation import domain
from bondhu.watch.causes import Diagnosis
from bondhu.watch.observed import observe
from bondhu.watch.windows import newest

FIRST_LOOK = 15  # the day after which the watch looks for the first time
SEED = 50_000  # of the first reported run; others were looked at while the rules were written


class Outcome(NamedTuple):
    """What the watch said of one run."""

    diagnosis: Diagnosis | None  # the first alarm
    decisions: int  # from the beginning of the fault to the alarm
    named: frozenset[str]  # causes of falls that were no alarm


def run(fault: str, seed: int, every: int = 1) -> Outcome:
    """Looks at the end of each day, or of one in `every`, from the third week on, until the first alarm."""
    days = list(simulate(fault, seed))
    whole = observe(domain(), records(days), MONDAY, days[-1].end, days[-1].end + 2 * DAY)
    named: set[str] = set()
    begins = MONDAY + World(fault, seed).begins * DAY
    for day in days[FIRST_LOOK::every]:
        found = newest(whole, day.end - domain().reward.wait)
        if found.degraded:
            made = int(((whole.time >= begins) & (whole.time < day.end)).sum())
            return Outcome(found, made, frozenset(named))
        named.add(found.cause or "")
    return Outcome(None, 0, frozenset(named))


def right(world: World, outcome: Outcome) -> bool:
    """Whether the cause was named after it began; a season must be named without an alarm."""
    if world.fault == "season":
        return outcome.diagnosis is None and "season" in outcome.named
    found = outcome.diagnosis
    return found is not None and outcome.decisions > 0 and found.cause == world.fault


def of_fault(fault: str, seeds: range, every: int = 1) -> list[Row]:
    """The share of runs with the right cause, and the decisions until it was said."""
    worlds = [World(fault, seed) for seed in seeds]
    outcomes = [run(fault, seed, every) for seed in seeds]
    good = [right(world, outcome) for world, outcome in zip(worlds, outcomes, strict=True)]
    share = 100 * float(np.mean(good))
    rows = [Row(f"{fault}: right cause named, {len(seeds)} runs", share, "%", ">= 90", share >= 90)]
    kinds = sorted({world.kind for world in worlds}) if fault in KINDS_OF else []
    for kind in kinds:
        of_kind = [ok for ok, world in zip(good, worlds, strict=True) if world.kind == kind]
        rows.append(Row(f"{fault}, {kind}: right cause named", 100 * float(np.mean(of_kind)), "%"))
    until = [each.decisions for each, ok in zip(outcomes, good, strict=True) if ok and each.decisions]
    if until:
        middle, most = np.quantile(until, [0.5, 0.9])
        rows.append(Row(f"{fault}: decisions until then, median (a day has some 1,050)", float(middle), "decisions"))
        rows.append(Row(f"{fault}: decisions until then, 90 % of runs", float(most), "decisions"))
    if fault == "segment":
        there = [
            bool(each.diagnosis) and str(each.diagnosis and each.diagnosis.where).startswith(world.segment())
            for each, world in zip(outcomes, worlds, strict=True)
        ]
        rows.append(Row("segment: the very field and value named", 100 * float(np.mean(there)), "%"))
    return rows


def of_health(seeds: range, every: int = 1) -> list[Row]:
    looks = len(range(FIRST_LOOK, DAYS, every))
    quiet = [run(HEALTHY, seed, every).diagnosis is None for seed in seeds]
    share = 100 * float(np.mean(quiet))
    return [Row(f"healthy: no alarm, {len(seeds)} runs of {looks} looks", share, "%", ">= 99", share >= 99)]


def measure(quick: bool) -> list[Row]:
    """The quick run has each kind of each fault once, and looks every third day."""
    every = 3 if quick else 1
    runs = {fault: len(KINDS_OF.get(fault, "1")) if quick else 60 for fault in FAULTS}
    rows = [row for fault in FAULTS for row in of_fault(fault, range(SEED, SEED + runs[fault]), every)]
    return [*rows, *of_health(range(SEED, SEED + (1 if quick else 200)), every)]


if __name__ == "__main__":
    main("injected", measure)
