"""The watch over a deployment: what drifted or fell and why, who is told, and what is taken back for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from bondhu.app import App
from bondhu.errors import BondhuError
from bondhu.monitor.alerts import Alert, Channel, Told, alert, due, tell
from bondhu.ports import Event, Task
from bondhu.registry.lifecycle import traffic
from bondhu.registry.share import HOLDOUT, LIVE, TRIAL
from bondhu.release.facts import trial_facts
from bondhu.train.window import DAY
from bondhu.watch.causes import diagnose
from bondhu.watch.findings import Finding, findings
from bondhu.watch.observed import Observed, observe
from bondhu.watch.windows import LENGTHS, stretches
from bondhu.wiring import channels_of

log = logging.getLogger(__name__)
JOB = "watch"  # its runs are rows of `system_tasks`; the newest holds what has been told
BACK = 36.0  # days that are read: a week to look at, four before it to compare with
FAULTS = ("reward fell: policy", "reward fell: segment")  # what a version may be to blame for
MOST = 0.5  # share of decisions
BLAMED = ("policy", "segment")  # causes
LIVE_AGAIN = ("promoted", "rolled_back")  # what makes a version live
YOUNG = 14.0  # days after which a version that is live has proved itself: what falls then is not its release
HOUR = 3600.0  # seconds


class Watched(NamedTuple):
    """One look."""

    findings: tuple[Finding, ...]
    told: tuple[Alert, ...]  # alerts that went out: new ones, worse ones, and those that are over
    failed: tuple[str, ...]  # channels that could not tell
    taken_back: str | None  # the version, where one was


@dataclass(frozen=True)
class Blame:
    """The version that a fall of the reward may be the fault of, and how it is taken back."""

    version: str
    on_trial: bool


def watch(app: App, channels: Sequence[Channel] | None = None) -> Watched:
    """Look at the last days, take back what is to blame, tell what is new, and remember what was told."""
    now, domain = app.now(), app.domain
    records = app.deployment.log.read(domain.name, now - BACK * DAY, np.nextafter(now, np.inf))
    seen = observe(domain, records, now - BACK * DAY, np.nextafter(now, np.inf))
    rate = app.settings.exploration.rate
    found = findings(seen, now, domain.reward.wait, rate / len(domain.actions) if rate else None)
    taken_back = _take_back(app, found, seen, now)
    last = app.tasks.recent(JOB, 1)
    before = last[0].metadata["told"] if last else {}
    since = last[0].executed_at if last else now - DAY
    states = [*(_alert(each, now) for each in found), *_of_trainings(app, now), *_of_trial(app, now)]
    told: dict[str, Any] = {}
    said: list[Alert] = []
    failed: list[str] = []
    for channel in channels_of(app.settings.alerts) if channels is None else channels:
        known = Told.from_dict(before.get(channel.name, {}))
        pending = [Alert(**each) for each in before.get(f"{channel.name}, not told", [])]
        say, after = due(known, states, now, app.settings.alerts.quiet_hours * HOUR)
        events = [*pending, *_of_events(app.events(), since, now)]
        lost = bool(tell([channel], [*say, *events]))  # what did not go out is due again
        told[channel.name] = (known if lost else after).to_dict()
        told[f"{channel.name}, not told"] = [asdict(each) for each in events] if lost else []
        said = [*say, *events] if not lost else said
        failed += [channel.name] if lost else []
    metadata = {"findings": [each._asdict() for each in found], "told": told, "failed": failed}
    app.tasks.record(Task(JOB, now, "completed", 0, len(records.time), 0.0, metadata))
    return Watched(found, tuple(said), tuple(failed), taken_back)


def blame(events: Sequence[Event], found: Finding, seen: Observed, settled: float) -> Blame | None:
    """The version that this finding may be the fault of: one on trial, or one that has been live for a short time only.

    It is looked at again with nothing but what happened since that version began to decide, so that nobody pays for the
    rows of another; and a trial is not to blame for what hits the live version just as well.
    """
    if found.kind not in FAULTS:
        return None
    standing = traffic(events)
    if standing.step is not None and standing.step.share:
        step = standing.step
        since = _since(seen, step.began, settled)
        of_trial = since.by(TRIAL)
        alone = _share(since, step.version) >= MOST
        fell = _fell(seen, since if alone else of_trial, settled)
        told = diagnose(_usual(seen, settled), since)
        if told.degraded and told.where == TRIAL and told.cause in BLAMED:
            return Blame(step.version, on_trial=True)
        if fell and (alone or not _fell(seen, since.by(LIVE), settled)):
            return Blame(step.version, on_trial=True)
    live = standing.live
    began = max((each.time for each in events if each.kind in LIVE_AGAIN and each.version == live), default=0.0)
    if live is None or settled - began > YOUNG * DAY:
        return None
    own = _since(seen, began, settled)
    own = own.take(own.version.among(live) | own.variant.among(HOLDOUT))
    return Blame(live, on_trial=False) if _share(own, live) >= MOST and _fell(seen, own, settled) else None


def _since(seen: Observed, began: float, settled: float) -> Observed:
    return seen.between(max(began, settled - max(LENGTHS) * DAY), settled)


def _usual(seen: Observed, settled: float) -> Observed:
    return stretches(seen, settled, max(LENGTHS))[0]


def _fell(seen: Observed, these: Observed, settled: float) -> bool:
    """Whether these rows by themselves earn less than is usual, for a reason that a version can be to blame for."""
    found = diagnose(_usual(seen, settled), these)
    return found.degraded and found.cause in BLAMED


def _share(rows: Observed, version: str) -> float:
    """Of these decisions, those that a version made."""
    return float(rows.version.among(version).mean()) if len(rows) else 0.0


def _take_back(app: App, found: Sequence[Finding], seen: Observed, now: float) -> str | None:
    if not app.release_rules.automatic:
        return None
    for each in found:
        to_blame = blame(app.events(), each, seen, now - app.domain.reward.wait)
        if to_blame is not None:
            act = app.withdraw if to_blame.on_trial else app.rollback
            try:
                act(reason=each.title, by=JOB)
            except BondhuError as error:  # somebody else may have done it this very moment; people are told in any case
                log.error("%s could not be taken back: %s", to_blame.version, error)
                return None
            return to_blame.version
    return None


def _alert(found: Finding, now: float) -> Alert:
    return alert(found.kind, found.severity, found.title, now, evidence=found.evidence, subject=found.subject)


def _of_events(events: Sequence[Event], since: float, now: float) -> list[Alert]:
    """What was taken back or stopped since the last look, by whom or what."""
    kinds = {"rolled_back": "rolled back", "withdrawn": "rolled back", "stopped": "stopped"}
    return [
        alert(
            kinds[each.kind],
            "warning",
            f"{each.version}: {each.reason}",
            now,
            subject=f"{each.version} {each.time:.0f}",
        )
        for each in events
        if each.kind in kinds and since < each.time <= now
    ]


def _of_trial(app: App, now: float) -> list[Alert]:
    """What is wrong with the trial under way, beside what it earns."""
    step = traffic(app.events()).step
    if step is None or not step.share:
        return []
    facts = trial_facts(app.deployment, step, app.release_rules, now)
    told = []
    if facts.failed:
        title = f"{step.version} could not make {facts.failed:,} of {facts.made:,} decisions."
        told.append(alert("errors", "warning", title, now, subject=step.version))
    if facts.mismatch:
        told.append(alert("unequal shares", "critical", facts.mismatch, now, subject=step.version))
    return told


def _of_trainings(app: App, now: float) -> list[Alert]:
    """The last training, where it failed."""
    last = app.tasks.recent("rl_training", 1)
    failed = last[0].error if last and last[0].status == "failed" else None
    return [alert("training failed", "warning", failed, now)] if failed else []
