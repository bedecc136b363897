"""What is alerted of, how often, and that no channel can stop another; with real local servers."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bondhu.errors import SettingsInvalid, UnknownName
from bondhu.monitor.alerts import (
    KINDS,
    QUIET,
    RESOLVED,
    Alert,
    LogChannel,
    Mail,
    Told,
    Webhook,
    alert,
    anchor,
    due,
    tell,
    text,
)

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3600.0


def made(
    severity: str = "warning", now: float = 0.0, kind: str = "context drift", title: str = "mood drifted."
) -> Alert:
    return alert(kind, severity, title, now, evidence=("by 0.3",), subject="mood")


# ---------------------------------------------------------------------------------------------------------- the runbook


def test_every_kind_has_a_section_in_the_runbook_that_says_what_to_do():
    page = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = {each.partition("\n")[0]: each for each in page.split("\n## ")[1:]}
    assert set(sections) == set(KINDS)
    for kind, section in sections.items():
        assert all(f"**{part}" in section for part in ("Means", "Do**")), kind
    assert len({anchor(kind) for kind in KINDS}) == len(KINDS)


def test_an_alert_points_at_its_section():
    found = made()
    assert found.key == "context drift: mood"
    assert found.runbook == "docs/runbook.md#context-drift"
    assert alert("reward fell: policy", "critical", "", 0.0).runbook.endswith("#reward-fell-policy")
    assert text(found).splitlines() == [
        *("WARNING: mood drifted.", "- by 0.3", "docs/runbook.md#context-drift", "1970-01-01 00:00 UTC")
    ]


def test_a_kind_or_a_severity_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="'context drift'"):
        alert("context drif", "warning", "", 0.0)
    with pytest.raises(UnknownName, match="critical"):
        alert("stopped", "criticl", "", 0.0)


# --------------------------------------------------------------------------------------------------------- what is told


def test_the_same_alert_is_told_once_in_a_quiet_period():
    say, told = due(Told(), [made()], 0.0)
    assert [each.severity for each in say] == ["warning"]
    say, told = due(told, [made(now=HOUR)], HOUR)
    assert say == ()
    say, told = due(told, [made(now=QUIET)], QUIET)
    assert len(say) == 1
    assert told.open["context drift: mood"].told == QUIET


def test_it_is_told_again_when_it_gets_worse_and_not_when_it_gets_better():
    _, told = due(Told(), [made()], 0.0)
    say, told = due(told, [made("critical", 60.0)], 60.0)
    assert [each.severity for each in say] == ["critical"]
    say, told = due(told, [made("warning", 120.0)], 120.0)
    assert say == ()
    say, _ = due(told, [made("critical", 180.0)], 180.0)  # up and down again is no news
    assert say == ()


def test_it_is_told_once_that_it_is_over_and_anew_when_it_comes_back():
    _, told = due(Told(), [made()], 0.0)
    say, told = due(told, [], 60.0)
    assert [(each.severity, each.key, each.time) for each in say] == [(RESOLVED, "context drift: mood", 60.0)]
    assert due(told, [], 120.0) == ((), Told())
    assert [each.severity for each in due(told, [made()], 180.0)[0]] == ["warning"]


def test_two_alerts_of_one_key_are_one_the_worse():
    say, told = due(Told(), [made("info"), made("critical"), made("warning")], 0.0)
    assert [each.severity for each in say] == ["critical"]
    assert len(told.open) == 1


def test_different_subjects_are_different_alerts():
    other = alert("context drift", "warning", "age drifted.", 0.0, subject="age")
    say, _ = due(due(Told(), [made()], 0.0)[1], [made(), other], 60.0)
    assert [each.key for each in say] == ["context drift: age"]


def test_a_clock_set_back_does_not_silence_for_ever():
    _, told = due(Told(), [made()], 10 * QUIET)
    assert len(due(told, [made()], 0.0)[0]) == 1


def test_what_was_told_survives_as_plain_data():
    _, told = due(Told(), [made("critical", 5.0), alert("stopped", "info", "by hand", 5.0)], 5.0)
    assert Told.from_dict(json.loads(json.dumps(told.to_dict()))) == told
    assert Told.from_dict({}) == Told()


# ------------------------------------------------------------------------------------------------------------- channels


@dataclass
class Broken:
    name: str = "broken"
    tried: list[Alert] = field(default_factory=list)

    def send(self, alert: Alert) -> None:
        self.tried.append(alert)
        raise RuntimeError("no such host")


def test_a_channel_that_fails_stops_neither_the_others_nor_the_loop(caplog):
    broken = Broken()
    with caplog.at_level(logging.INFO, "bondhu.alerts"):
        failed = tell([broken, LogChannel()], [made(), made("critical")])
    assert failed == ("broken",)
    assert len(broken.tried) == 1
    sent = [each.levelno for each in caplog.records if "mood drifted" in each.getMessage()]
    assert sent == [logging.WARNING, logging.ERROR]


@contextmanager
def web(answers: list[int]) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A server that answers with these statuses, the last one for ever, and keeps what it got."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            status = answers[min(len(got), len(answers)) - 1]
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook?token=secret", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_webhook_gets_the_alert_as_json_signed_with_the_key():
    with web([204]) as (url, got):
        Webhook(url, key="k3y").send(made())
    [(headers, body)] = got
    assert json.loads(body) == {
        **{"key": "context drift: mood", "severity": "warning", "title": "mood drifted.", "evidence": ["by 0.3"]},
        **{"runbook": "docs/runbook.md#context-drift", "time": 0.0},
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Bondhu-Signature"] == "sha256=" + hmac.new(b"k3y", body, hashlib.sha256).hexdigest()


def test_a_webhook_without_a_key_is_not_signed():
    with web([200]) as (url, got):
        Webhook(url).send(made())
    assert "X-Bondhu-Signature" not in got[0][0]


def test_a_webhook_that_is_down_is_tried_again_and_ever_later():
    pauses: list[float] = []
    with web([503, 429, 200]) as (url, got):
        Webhook(url, sleep=pauses.append).send(made())
    assert (len(got), pauses) == (3, [0.5, 1.0])


def test_a_webhook_that_refuses_is_not_asked_again():
    with web([400]) as (url, got):
        assert tell([Webhook(url, sleep=lambda _: None)], [made()]) == ("webhook",)
    assert len(got) == 1


def test_a_webhook_gives_up_after_its_tries_and_its_secret_is_not_logged(caplog):
    with web([500]) as (url, got), caplog.at_level(logging.DEBUG):
        assert tell([Webhook(url, key="k3y", sleep=lambda _: None)], [made()]) == ("webhook",)
    assert len(got) == 3
    assert "secret" not in caplog.text + repr(Webhook(url, key="k3y"))
    assert "k3y" not in caplog.text + repr(Webhook(url, key="k3y"))


def test_a_webhook_does_not_follow_to_another_address():
    with web([302, 200]) as (url, got):
        assert tell([Webhook(url, tries=1)], [made()]) == ("webhook",)
    assert len(got) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "https:///nowhere", "example.org/hook"])
def test_a_webhook_speaks_http_only(url):
    with pytest.raises(SettingsInvalid) as caught:
        Webhook(url)
    assert url not in str(caught.value)


@contextmanager
def post_office() -> Iterator[tuple[int, list[str]]]:
    """The least of a mail server: takes one message and keeps every line it was sent."""
    lines: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(5)

    def serve() -> None:
        connection, _ = listening.accept()
        connection.settimeout(5)
        with connection, connection.makefile("rwb") as stream:

            def say(line: str) -> None:
                stream.write(line.encode() + b"\r\n")
                stream.flush()

            say("220 here")
            inside = False
            for raw in stream:
                line = raw.decode().rstrip("\r\n")
                lines.append(line)
                if inside:
                    inside = line != "."
                    if not inside:
                        say("250 taken")
                elif line.upper().startswith("DATA"):
                    inside = True
                    say("354 go on")
                elif line.upper().startswith("QUIT"):
                    say("221 bye")
                    return
                else:
                    say("250 yes")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1], lines
    finally:
        thread.join()
        listening.close()


def test_a_mail_holds_the_alert_and_its_subject_stays_one_line():
    evil = made(title="mood drifted.\r\nBcc: everybody@example.org")
    with post_office() as (port, lines):
        Mail("127.0.0.1", "bondhu@example.org", ("a@example.org", "b@example.org"), port, starttls=False).send(evil)
    assert [each for each in lines if each.startswith("rcpt TO")] == [
        "rcpt TO:<a@example.org>",
        "rcpt TO:<b@example.org>",
    ]
    header = lines[lines.index("data") + 1 : lines.index("")]
    assert any(each.startswith("Subject: [bondhu] warning: mood drifted. Bcc:") for each in header)
    assert not any(each.startswith("Bcc:") for each in header)
    assert "docs/runbook.md#context-drift" in lines


def test_a_mail_server_that_is_not_there_is_named_and_the_password_is_not(caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    channel = Mail("127.0.0.1", "a@example.org", ("b@example.org",), port, "me", "pa55word", timeout=1)
    assert tell([channel, LogChannel()], [made()]) == ("mail",)
    assert "pa55word" not in caplog.text + repr(channel)


@pytest.mark.parametrize("address", ["nobody", "a@b.org\r\nBcc: c@d.org", "a@b.org, c@d.org"])
def test_an_address_that_could_hold_two_is_refused(address):
    with pytest.raises(SettingsInvalid, match="no e-mail address"):
        Mail("localhost", "me@example.org", (address,))
