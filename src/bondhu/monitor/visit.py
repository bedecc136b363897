"""Looks at a running server from outside, as its callers and a stranger do, and names the fix for what is wrong."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bondhu.monitor.doctor import Finding
from bondhu.ports import PUBLISHED_KEY

LONGEST_SKEW = 5.0  # seconds between the clocks
SOON = 14.0  # days that a certificate should still be good for
LAG = 0.25  # seconds that the event loop may be late
BUSY = 0.01  # share of requests that may be answered 503
HEADERS = ("x-content-type-options", "content-security-policy", "referrer-policy")


class Seen(NamedTuple):
    """What the visitor saw."""

    live: httpx.Response
    ready: httpx.Response
    stranger: httpx.Response  # to a request for a decision without a key
    published: httpx.Response  # to the administrator's key that everybody knows
    metrics: httpx.Response | None  # with the key that was given
    days_left: float | None  # of the certificate


def visit(address: str, key: str | None, now: datetime, *, verify: ssl.SSLContext | bool = True) -> list[Finding]:
    """Every trouble that shows from outside, worst first; a server that does not answer is one."""
    if key is not None and not (key.isascii() and key.isprintable()):
        return [Finding("no key", "The key has letters that no key has.", ("Copy it again, whole: bd_..._...",))]
    try:
        with httpx.Client(base_url=address, timeout=10.0, verify=verify) as client:
            seen = look(client, key, now)
    except (httpx.InvalidURL, UnicodeError) as error:
        fixes: tuple[str, ...] = ("Write it as http://localhost:8000, or https://decide.example.org.",)
        return [Finding("no address", f"{address!r}: {str(error).rstrip('.')}.", fixes)]
    except httpx.HTTPError as error:
        fixes = ("Start it: `bondhu serve`.", "Or mend the address, the firewall, the certificate.")
        return [Finding("server not reachable", f"{address}: {str(error).rstrip('.')}.", fixes)]
    return [*not_ready(seen), *open_doors(seen, address), *weak_transport(seen, address), *strained(seen, now)]


def look(client: httpx.Client, key: str | None, now: datetime) -> Seen:
    """Ask what anybody can ask, and what the key opens."""
    stream = client.stream("GET", "/healthz")
    with stream as live:
        days = _days_left(live, now)  # while the connection is open
        live.read()
    return Seen(
        live,
        client.get("/readyz"),
        client.post("/v1/decide", content=b"{}"),
        client.get("/api/v1/admin/system/health", headers={"X-Admin-Key": PUBLISHED_KEY}),
        client.get("/metrics", headers={"X-API-Key": key}) if key else None,
        days,
    )


def not_ready(seen: Seen) -> Iterator[Finding]:
    """It lives, but would not answer as it should."""
    if seen.live.status_code != 200:
        yield Finding("server not alive", f"/healthz answers {seen.live.status_code}.", ("Is that address Bondhu's?",))
    elif seen.ready.status_code != 200:
        told = troubles(seen.ready)
        if told is None:
            what = f"/readyz answers {seen.ready.status_code} with something that is not Bondhu's answer."
            yield Finding("not Bondhu's answer", what, ("Look at the proxy in front of it, and at the address.",))
            return
        fixes: tuple[str, ...] = (
            "Mend what it names; /readyz says when all is well again.",
            "`bondhu status` shows the versions.",
        )
        yield Finding("server not ready", told or f"/readyz answers {seen.ready.status_code}", fixes)


def troubles(answer: httpx.Response) -> str | None:
    """What /readyz names; None where the answer is not of its form."""
    try:
        told: Any = answer.json()
    except ValueError:  # also what is no UTF-8
        return None
    listed = told.get("troubles") if isinstance(told, dict) else None
    return "; ".join(map(str, listed)) if isinstance(listed, list) else None


def open_doors(seen: Seen, address: str) -> Iterator[Finding]:
    """What a stranger may do."""
    if seen.published.status_code == 200:
        fixes: tuple[str, ...] = (
            "Set BONDHU_SERVER__ADMIN_KEY to what `openssl rand -hex 32` prints, and start it again.",
        )
        yield Finding("published key", "The administrator's key is the one that the documentation prints.", fixes)
    if seen.stranger.status_code not in (401, 403) and not local(address):
        fixes = (
            "Set [server] keys = true, or environment to anything but development.",
            "`bondhu key create` makes one.",
        )
        yield Finding("no key needed", "Anybody who reaches the address can ask for decisions.", fixes)
    missing = [each for each in HEADERS if each not in seen.live.headers]
    if missing:
        fixes = ("Let the proxy in front pass them on.",)
        yield Finding("headers missing", f"Answers come without {', '.join(missing)}.", fixes)


def weak_transport(seen: Seen, address: str) -> Iterator[Finding]:
    """Whether others can listen."""
    if urlsplit(address).scheme == "http" and not local(address):
        fixes: tuple[str, ...] = (
            "Set [server] certificate and certificate_key, or put a proxy in front that speaks TLS.",
        )
        yield Finding("no TLS", "Keys and contexts travel as they are.", fixes)
    if seen.days_left is not None and seen.days_left < SOON:
        fixes = ("Renew it, then `bondhu reload`.",)
        yield Finding("certificate ends", f"It is good for {seen.days_left:.1f} more days.", fixes)


def strained(seen: Seen, now: datetime) -> Iterator[Finding]:
    """What its clock and its counters say."""
    skew = _skew(seen.live, now)
    if skew > LONGEST_SKEW:
        fixes: tuple[str, ...] = ("Keep both clocks right (NTP): ids, windows and signatures go by them.",)
        yield Finding("clocks differ", f"The server's clock is {skew:.0f} s away from this one.", fixes)
    if seen.metrics is None:
        return
    if seen.metrics.status_code != 200:
        yield Finding(
            "key refused", f"/metrics answers {seen.metrics.status_code}.", ("Use a key of the role reader.",)
        )
        return
    try:
        busy, lag = _strain(seen.metrics.text)
    except (ValueError, LookupError, TypeError, AttributeError):  # whatever the parser makes of it
        what = "/metrics answers with something that is not Bondhu's answer."
        yield Finding("not Bondhu's answer", what, ("Look at the proxy in front of it, and at the address.",))
        return
    if busy > BUSY:
        fixes = ("Give it more [server] workers, or a faster disk.", "Send feedback in batches.")
        yield Finding("too busy", f"{100 * busy:.1f} % of the requests were answered 503.", fixes)
    if lag > LAG:
        fixes = ("Send smaller batches, or give it more workers.",)
        yield Finding("event loop late", f"An event loop came {lag:.2f} s late to a timer.", fixes)


def local(address: str) -> bool:
    """Whether only this machine reaches it."""
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _skew(answer: httpx.Response, now: datetime) -> float:
    """Seconds between the server's clock and `now`; 0 where it does not tell the time."""
    try:
        told = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return 0.0
    return abs((told.replace(tzinfo=told.tzinfo or UTC) - now).total_seconds())


def _strain(text: str) -> tuple[float, float]:
    """Share of the requests answered 503, and the largest lag of an event loop in seconds."""
    families = {each.name: each.samples for each in text_string_to_metric_families(text)}
    if not any(name.startswith("bondhu_") for name in families):
        raise ValueError("these are somebody else's")
    requests = families.get("bondhu_requests", [])
    total = sum(each.value for each in requests)
    busy = sum(each.value for each in requests if each.labels["status"] == "503")
    lag = max((each.value for each in families.get("bondhu_loop_lag_seconds", [])), default=0.0)
    return busy / total if total else 0.0, lag


def _days_left(response: httpx.Response, now: datetime) -> float | None:
    """Days that the server's certificate is good for; None without TLS."""
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream else None
    certificate = tls.getpeercert() if tls else None
    if not certificate:
        return None
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    return (until - now).total_seconds() / 86_400
