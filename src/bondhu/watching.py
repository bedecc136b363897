"""The watch over a deployment: what drifted or fell and why, who is told, and what is taken back for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bondhu.app import App
from bondhu.monitor.alerts import Alert, Channel, LogChannel, Mail, Told, Webhook, alert, due, tell
from bondhu.ports import Event, Task
from bondhu.registry.lifecycle import Traffic, traffic
from bondhu.registry.share import TRIAL
from bondhu.settings import Alerts
from bondhu.train.window import DAY
from bondhu.watch.findings import Finding, findings
from bondhu.watch.observed import observe

JOB = "watch"  # its runs are rows of `system_tasks`; the newest holds what has been told
BACK = 36.0  # days that are read: a week to look at, four before it to compare with
FAULTS = ("reward fell: policy", "reward fell: segment")  # what a version may be to blame for
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
    taken_back = _take_back(app, found, now)
    before = _told(app)
    alerts = [*(_alert(each, now) for each in found), *_of_events(app.events(), before[1], now)]
    alerts += _of_trainings(app, now)
    say, told = due(before[0], alerts, now, app.settings.alerts.quiet_hours * HOUR)
    failed = tell(channels_of(app.settings.alerts) if channels is None else channels, say)
    metadata = {"findings": [each._asdict() for each in found], "told": told.to_dict(), "failed": list(failed)}
    app.tasks.record(Task(JOB, now, "completed", 0, len(records.time), 0.0, metadata))
    return Watched(found, say, failed, taken_back)


def channels_of(settings: Alerts) -> list[Channel]:
    """Where alerts go: always into the log; to a webhook and by e-mail where they are set."""
    channels: list[Channel] = [LogChannel()]
    if settings.webhook is not None:
        key = settings.webhook_key.get_secret_value() if settings.webhook_key else None
        channels.append(Webhook(settings.webhook.get_secret_value(), key))
    if settings.mail_host is not None:
        password = settings.mail_password.get_secret_value() if settings.mail_password else None
        to, user = tuple(settings.mail_to), settings.mail_user
        host, sender, port = settings.mail_host, settings.mail_from, settings.mail_port
        channels.append(Mail(host, sender, to, port, user, password, starttls=settings.mail_starttls))
    return channels


def blame(events: Sequence[Event], found: Finding, now: float) -> Blame | None:
    """The version that this finding may be the fault of: the one on trial, or a live one that is young."""
    standing: Traffic = traffic(events)
    if found.kind not in FAULTS:
        return None
    if found.subject == TRIAL:
        step = standing.step
        return Blame(step.version, on_trial=True) if step and step.share else None
    began = max(
        (each.time for each in events if each.kind == "promoted" and each.version == standing.live), default=0.0
    )
    young = standing.live is not None and now - began <= YOUNG * DAY
    return Blame(standing.live, on_trial=False) if young and standing.live else None


def _take_back(app: App, found: Sequence[Finding], now: float) -> str | None:
    if not app.release_rules.automatic:
        return None
    for each in found:
        to_blame = blame(app.events(), each, now)
        if to_blame is not None:
            act = app.withdraw if to_blame.on_trial else app.rollback
            act(reason=each.title, by=JOB)
            return to_blame.version
    return None


def _told(app: App) -> tuple[Told, float]:
    """What has been told, and when that was."""
    last = app.tasks.recent(JOB, 1)
    return (Told.from_dict(last[0].metadata["told"]), last[0].executed_at) if last else (Told(), 0.0)


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


def _of_trainings(app: App, now: float) -> list[Alert]:
    """The last training, where it failed."""
    last = app.tasks.recent("rl_training", 1)
    failed = last[0].error if last and last[0].status == "failed" else None
    return [alert("training failed", "warning", failed, now)] if failed else []
