"""Alerts: told once, told again when they get worse, told when they are over; by log, webhook and e-mail."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from bondhu.errors import SettingsInvalid, UnknownName, nearest

logger = logging.getLogger("bondhu.alerts")
SEVERITIES = ("info", "warning", "critical")
RESOLVED = "resolved"
PAGE = "docs/runbook.md"
KINDS = (  # each has a section in the runbook
    "reward fell: policy",
    "reward fell: feedback",
    "reward fell: traffic",
    "reward fell: season",
    "reward fell: segment",
    "reward fell: unknown",
    "context drift",
    "action drift",
    "propensity drift",
    "reward drift",
    "entropy collapse",
    "actions dropped",
    "rolled back",
    "stopped",
    "errors",
    "unequal shares",
    "training failed",
)
QUIET = 6 * 3600.0  # seconds in which the same alert is not told again


@dataclass(frozen=True)
class Alert:
    """One thing to be told of."""

    key: str  # the same for the same trouble
    severity: str  # one of SEVERITIES; RESOLVED when it is over
    title: str
    evidence: tuple[str, ...]
    runbook: str  # where it says what to do
    time: float  # seconds


def alert(
    kind: str, severity: str, title: str, now: float, *, evidence: Iterable[str] = (), subject: str = ""
) -> Alert:
    """An alert of a known kind; its key is the kind and the subject."""
    for name, value, known in (("kind", kind, KINDS), ("severity", severity, SEVERITIES)):
        if value not in known:
            what = f"There is no {name} of alert {value!r}."
            raise UnknownName(what, field=name, value=value, fix=nearest(value, known))
    key = f"{kind}: {subject}" if subject else kind
    return Alert(key, severity, title, tuple(evidence), f"{PAGE}#{anchor(kind)}", now)


def anchor(heading: str) -> str:
    """The anchor of a heading of a page."""
    return "".join(letter for letter in heading.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def text(of: Alert) -> str:
    """The alert in plain lines."""
    when = datetime.fromtimestamp(of.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return "\n".join([f"{of.severity.upper()}: {of.title}", *(f"- {each}" for each in of.evidence), of.runbook, when])


# ------------------------------------------------------------------------------------------------------------- channels


class Channel(Protocol):
    """A way of telling; raises if it could not."""

    @property
    def name(self) -> str: ...

    def send(self, alert: Alert) -> None: ...


@dataclass(frozen=True)
class LogChannel:
    """Into the log of the process."""

    name: str = "log"

    def send(self, alert: Alert) -> None:
        level = {"warning": logging.WARNING, "critical": logging.ERROR}.get(alert.severity, logging.INFO)
        logger.log(level, "%s", text(alert).replace("\n", " | "))


@dataclass(frozen=True)
class Webhook:
    """POSTs the alert as JSON; with a key, signed: `X-Bondhu-Signature: sha256=` HMAC-SHA256 of the body."""

    url: str = field(repr=False)  # may hold a secret
    key: str | None = field(default=None, repr=False)
    timeout: float = 5.0  # seconds
    tries: int = 3
    pause: float = 0.5  # seconds before the second try; doubles
    name: str = "webhook"
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            what = "The address of the webhook is not one of http or https."
            raise SettingsInvalid(what, field="webhook", fix="Write it as https://host/path.")

    def send(self, alert: Alert) -> None:
        body = json.dumps(asdict(alert), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "bondhu"}
        if self.key:
            headers["X-Bondhu-Signature"] = "sha256=" + hmac.new(self.key.encode(), body, hashlib.sha256).hexdigest()
        opener = urllib.request.build_opener(_NoRedirect)
        for attempt in range(self.tries):
            try:
                request = urllib.request.Request(self.url, body, headers, method="POST")  # noqa: S310  checked above
                with opener.open(request, timeout=self.timeout):
                    return
            except OSError as error:
                refused = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
                if refused or attempt + 1 == self.tries:
                    raise
            self.sleep(self.pause * 2**attempt)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What was meant for one address, signed, goes to no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@dataclass(frozen=True)
class Mail:
    """By e-mail."""

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 587
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    starttls: bool = True
    timeout: float = 10.0  # seconds
    name: str = "mail"

    def __post_init__(self) -> None:
        for address in (self.sender, *self.to):
            if "@" not in address or any(letter in address for letter in "\r\n,;"):
                what = f"{address!r} is no e-mail address."
                raise SettingsInvalid(what, field="mail", value=address, fix="Write one as name@example.org.")

    def send(self, alert: Alert) -> None:
        message = EmailMessage()
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message["Subject"] = " ".join(f"[bondhu] {alert.severity}: {alert.title}".split())[:200]  # one line, always
        message.set_content(text(alert))
        with smtplib.SMTP(self.host, self.port, timeout=self.timeout) as server:
            if self.starttls:
                server.starttls(context=ssl.create_default_context())
            if self.user:
                server.login(self.user, self.password or "")
            server.send_message(message)


# ------------------------------------------------------------------------------------------------------- what is told


class Open(NamedTuple):
    """An alert that is not over, and when it was told last."""

    alert: Alert
    told: float  # seconds


@dataclass(frozen=True)
class Told:
    """What has been told so far; plain data can be made of it."""

    open: Mapping[str, Open] = field(default_factory=dict)  # by key

    def to_dict(self) -> dict[str, Any]:
        return {"open": [{"alert": asdict(each.alert), "told": each.told} for each in self.open.values()]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Told:
        alerts = [
            Open(Alert(**{**each["alert"], "evidence": tuple(each["alert"]["evidence"])}), float(each["told"]))
            for each in data.get("open", ())
        ]
        return cls({each.alert.key: each for each in alerts})


def due(told: Told, alerts: Sequence[Alert], now: float, quiet: float = QUIET) -> tuple[tuple[Alert, ...], Told]:
    """What is to be told of everything that is wrong at the moment, and what will have been told then.

    New alerts, worse ones, and those still there after `quiet` seconds; and once for each that is over.
    """
    worst: dict[str, Alert] = {}
    for each in alerts:
        known = worst.get(each.key)
        worst[each.key] = each if known is None or _rank(each) > _rank(known) else known
    say, still = [], {}
    for key, each in worst.items():
        before = told.open.get(key)
        if before is None or _rank(each) > _rank(before.alert) or now - before.told >= quiet or now < before.told:
            say.append(each)
            still[key] = Open(each, now)
        else:
            still[key] = Open(replace(before.alert, title=each.title, evidence=each.evidence), before.told)
    over = [
        replace(gone.alert, severity=RESOLVED, title=f"Over: {gone.alert.title}", evidence=(), time=now)
        for key, gone in told.open.items()
        if key not in worst
    ]
    return (*say, *over), Told(still)


def _rank(of: Alert) -> int:
    return SEVERITIES.index(of.severity)


def tell(channels: Sequence[Channel], alerts: Sequence[Alert]) -> tuple[str, ...]:
    """Sends every alert through every channel; names the channels that failed, and goes on with the others."""
    failed = []
    for channel in channels:
        for each in alerts:
            try:
                channel.send(each)
            except Exception as error:
                logger.warning("Alert %r did not go out by %s: %s", each.key, channel.name, type(error).__name__)
                failed.append(channel.name)
                break  # the next one would wait for the same time-out
    return tuple(failed)
