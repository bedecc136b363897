"""All that the watch has to say of a deployment, as findings to be alerted of."""

from __future__ import annotations

from typing import NamedTuple

from bondhu.watch.drift import Drift, drift
from bondhu.watch.entropy import entropy
from bondhu.watch.observed import Observed
from bondhu.watch.windows import DAY, newest, stretches

SEVERE = frozenset({"policy", "segment", "unknown"})  # causes that a roll-back may mend


class Finding(NamedTuple):
    """One thing to be told of; `kind` has a section in docs/runbook.md."""

    kind: str  # such as "reward fell: policy"
    subject: str  # the field or the part that it is about, "" where there is none
    severity: str  # "info", "warning" or "critical"
    title: str
    evidence: tuple[str, ...]


def findings(observed: Observed, now: float, wait: float, floor: float | None = None) -> tuple[Finding, ...]:
    """Looks at the last days before `now` beside the weeks before them.

    `observed`: at least two weeks; `wait`: seconds until rewards are final; `floor`: as `entropy` wants it.
    """
    found = newest(observed, now - wait)
    told = []
    if found.degraded:
        severity = "critical" if found.cause in SEVERE else "warning"
        subject = found.where if found.where != "all" else ""
        told.append(Finding(f"reward fell: {found.cause}", subject, severity, found.sentence, found.evidence))
    elif found.cause == "season":
        told.append(Finding("reward fell: season", "", "info", found.sentence, found.evidence))
    reference, _ = stretches(observed, now, 1.0)
    day = observed.between(now - DAY, now)
    told += [_of_drift(each) for each in drift(reference, day) if each.drifted]
    tried = entropy(reference, day, floor)
    if tried and tried.collapsed:
        evidence = (f"{tried.forced:.0%} of decisions had no alternative.",)
        told.append(Finding("entropy collapse", "", "warning", tried.sentence, evidence))
    if tried and tried.dropped:
        told.append(Finding("actions dropped", "", "warning", tried.sentence, tried.dropped))
    return tuple(told)


def _of_drift(found: Drift) -> Finding:
    kind = {"pair": "context"}.get(found.kind, found.kind)
    evidence = (f"By chance once in {1 / max(found.chance, 1e-12):,.0f} looks, at most.",)
    severity = "info" if kind == "context" else "warning"
    return Finding(f"{kind} drift", found.name, severity, found.sentence, evidence)
