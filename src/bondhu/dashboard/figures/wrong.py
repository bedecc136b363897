"""What is wrong with a deployment, gathered from all that look after it: worst first, each with where it says more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bondhu.dashboard.figures.served import Served
from bondhu.monitor.alerts import SEVERITIES
from bondhu.monitor.doctor import Finding
from bondhu.monitor.visit import BUSY, LAG
from bondhu.ports import Task
from bondhu.schedule.jobs import TRAINING_JOB


class Trouble(NamedTuple):
    """One thing."""

    severity: str  # one of monitor.alerts.SEVERITIES
    what: str
    section: str  # of the page


def troubles(
    counted: Served | None, watched: Sequence[Task], told: Mapping[str, Sequence[Task]], examined: Sequence[Finding]
) -> list[Trouble]:
    """`watched`: runs of the watch, newest first; `told`: runs of every job."""
    found = _of_server(counted) if counted else []
    for each in watched[0].metadata.get("findings", []) if watched else []:
        found.append(Trouble(each["severity"], each["title"], "drift"))
    last = told.get(TRAINING_JOB, [])[:1]
    found += [Trouble("warning", f"The last training failed: {each.error}", "jobs") for each in last if each.error]
    found += [Trouble("warning", f"{each.case.capitalize()}. {each.evidence}", "doctor") for each in examined]
    return sorted(found, key=lambda each: -_rank(each.severity))


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


def _of_server(counted: Served) -> list[Trouble]:
    found = []
    degraded = [each.name for each in counted.workers if each.degraded]
    if degraded:
        what = f"The version in force cannot act in worker {', '.join(degraded)}: another one does in its place."
        found.append(Trouble("critical", what, "server"))
    requests = sum(each.requests for each in counted.routes)
    busy = sum(each.statuses.get("503", 0) for each in counted.routes)
    if busy > BUSY * requests:
        found.append(Trouble("warning", f"{busy:,} of {requests:,} requests were answered 503: too busy.", "server"))
    late = max((each.lag for each in counted.workers), default=0.0)
    if late > LAG:
        found.append(Trouble("warning", f"An event loop came {late:.2f} s late to a timer.", "server"))
    return found
