"""Recognises the usual troubles of a training run from what it has recorded, and names the fix for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bondhu.monitor import conditions, records, symptoms
from bondhu.monitor.doctor import Finding
from bondhu.monitor.records import Records

CASES: Sequence[Callable[[Records], Finding | None]] = (
    symptoms.lost_numbers,
    symptoms.diverging_values,
    symptoms.exploding_kl,
    symptoms.entropy_collapse,
    symptoms.dead_values,
    symptoms.steps_too_large,
    symptoms.fell_back,
    conditions.sparse_reward,
    conditions.observation_scale,
    conditions.wrong_discount,
)
ADVICE = re.compile(r"((?:\w+, )*\w+) = (true|\d+(?:\.\d+)?)( or more)?")


def is_run(folder: Path) -> bool:
    """Whether this is the folder of a run, or of several seeds of one."""
    return records.is_run(folder)


def read(folder: Path) -> Records:
    """What the run of this folder has recorded so far. Raises InvalidInput where it is not the folder of a run."""
    return records.read_run(folder)


def examine(run: Records) -> list[Finding]:
    """Every trouble that the records show, worst first; an empty list is good health.

    "No learning" is said only where no other trouble explains it, and "too short to judge" where nothing else is.
    """
    if run.seeds:
        return _of_seeds(run.seeds)
    found = {finding.case: finding for finding in (case(run) for case in CASES) if finding}
    if "reward too sparse" in found:
        found.pop("dead value function", None)  # where all returns are the same, there is nothing to explain
    if not found:
        rest = conditions.no_learning(run) or conditions.too_short(run)
        found = {rest.case: rest} if rest else {}
    return [finding._replace(fixes=_new(finding.fixes, run)) for finding in found.values()]


def _new(fixes: Sequence[str], run: Records) -> tuple[str, ...]:
    """Without those that advise what is set already; all of them where nothing else is left."""
    return tuple(fix for fix in fixes if not _set(fix, run)) or tuple(fixes)


def _set(fix: str, run: Records) -> bool:
    """Whether every "name = value" of the fix is so; "value or more" by more as well."""
    advised = [
        (run.hyperparameter(name), 1.0 if value == "true" else float(value), bool(more))
        for names, value, more in ADVICE.findall(fix)
        for name in names.split(", ")
    ]
    return bool(advised) and all(
        now is not None and (float(now) == value or (more and float(now) > value)) for now, value, more in advised
    )


def seeds_apart(seeds: Sequence[Records]) -> Finding | None:
    """The seeds differ by more than half of what they have learned on average (Henderson et al. 2018)."""
    ways = [way for way in map(symptoms.course, seeds) if way is not None]
    if len(ways) < 3:
        return None
    last = np.array([way.last for way in ways])
    gain = float(last.mean() - np.mean([way.first for way in ways]))
    low, high = np.quantile(last, (0.25, 0.75))
    if gain <= 0 or high - low <= gain / 2:
        return None
    return Finding(
        "variance across seeds",
        f"The last returns of {len(ways)} seeds are {', '.join(f'{each:.3g}' for each in last)}: the middle half spans "
        f"{high - low:.3g}, where they gained {gain:.3g} on average.",
        (
            "Report the interquartile mean with its interval, of ten seeds or more.",
            "Take steadier steps: a third of the learning_rate, or one that falls to 0 (anneal_steps).",
            "Learn from larger batches: more environments side by side.",
            "Explore longer: a higher entropy_bonus, or an exploration_rate that falls more slowly.",
        ),
    )


def _of_seeds(seeds: Sequence[Records]) -> list[Finding]:
    """Each trouble once, with the first seed that shows it and the others named."""
    by_case: dict[str, list[tuple[str, Finding]]] = {}
    for seed in seeds:
        for finding in examine(seed):
            by_case.setdefault(finding.case, []).append((seed.name, finding))
    found = [_together(each) for each in by_case.values()]
    apart = seeds_apart(seeds)
    return [*found, *([apart] if apart else [])]


def _together(findings: Sequence[tuple[str, Finding]]) -> Finding:
    (name, first), *others = findings
    also = f" The same in {', '.join(other for other, _ in others)}." if others else ""
    return first._replace(evidence=f"{name}: {first.evidence}{also}")
