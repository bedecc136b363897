"""The view of health: the figures of the API and of Prometheus, in words, with what to do about them."""

from __future__ import annotations

from datetime import datetime
from math import inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.app import App
from bondhu.dashboard.figures.scheduled import scheduled
from bondhu.dashboard.figures.served import quantile, served
from bondhu.dashboard.figures.stored import stored
from bondhu.dashboard.figures.waits import length
from bondhu.dashboard.page import Page
from bondhu.dashboard.views.health import seconds, view
from bondhu.erasing import note_backup
from bondhu.imports import archive_old
from bondhu.monitor.metrics import Metrics
from bondhu.ports import Task
from bondhu.report.words import moment
from bondhu.server.administration import Administration
from bondhu.types import Feedback
from bondhu.watching import watch
from tests.dashboard.looking import OPERATOR, AtOnce, Element, Never, asked, desk, read
from tests.service.stand import HOUR, NOW, Clock, log, opened

PATH = "/dashboard/health"
PEOPLE = [f"person-{number}" for number in range(200)]


def drawn(app: App, counters: str = "", role: str | None = None, errands: Any = None) -> Page:
    return view(desk(app, counters, errands), asked(PATH, role))


def seen(app: App, counters: str = "", role: str | None = None, errands: Any = None) -> Element:
    return read(drawn(app, counters, role, errands))


def counted(times: list[float], status: int = 200, **gauges: float) -> str:
    """Requests for a decision that took so long, as a server tells of them."""
    metrics = Metrics(workers=2)
    for each in times:
        metrics.answered("/v1/decide", status, each)
    metrics.set(**gauges)
    return metrics.text("v1", "shop").decode()


def cards(page: Element, section: str) -> dict[str, str]:
    found = page.one("section", id=section).one("dl", class_="cards")
    return {each.one("dt").text: each.all("dd")[0].text for each in found.all("div")}


# ----------------------------------------------------------------------------------------------------------- the server


def test_quantiles_lie_linearly_within_their_range() -> None:
    upto = [(0.001, 0.0), (0.002, 50.0), (0.004, 90.0), (inf, 100.0)]
    assert quantile(upto, 0.25) == pytest.approx(0.0015)
    assert quantile(upto, 0.5) == pytest.approx(0.002)
    assert quantile(upto, 0.7) == pytest.approx(0.003)
    assert quantile(upto, 0.9) == pytest.approx(0.004)
    assert quantile(upto, 0.95) == inf
    assert isnan(quantile([(1.0, 0.0), (inf, 0.0)], 0.5))
    assert isnan(quantile([], 0.5))


def test_what_a_server_counts_is_read_back() -> None:
    text = counted([0.0015] * 98 + [0.2, 9.0], rows_waiting=7, loop_lag_seconds=0.01, resident_bytes=1e8)
    found = served(text)
    assert found is not None
    decide = next(each for each in found.routes if each.name == "/v1/decide")
    assert (decide.requests, decide.statuses["2xx"], decide.last) == (100, 100, 2.5)
    assert decide.mean == pytest.approx((98 * 0.0015 + 9.2) / 100)
    assert decide.quantiles[0] == pytest.approx(0.001 + 0.0015 * 50 / 98)  # between 1 and 2.5 ms
    assert decide.quantiles[2] == pytest.approx(0.25)  # the 99th of 100 is the last of its range
    assert (found.waiting, [each.name for each in found.workers]) == (7, ["0", "1"])
    assert served("") is None
    assert served("# somebody else's\nother_total 3\n") is None
    assert served("not { a metric") is None


def test_latencies_statuses_queue_and_memory_are_those_that_were_counted(tmp_path: Path) -> None:
    text = counted([0.0015] * 97 + [9.0] * 3, rows_waiting=7, loop_lag_seconds=0.01, resident_bytes=200 * 2**20)
    drew = drawn(opened(tmp_path), text)
    page = read(drew)
    (row,) = page.rows("How long requests take, by route")
    assert row == ["/v1/decide", "100", "1.77 ms", "2.47 ms", "above 2.5 s", "271 ms"]
    told = drew.charts["latency"].table.rows
    assert [each[0] for each in told] == ["/v1/decide"] * 3
    assert [each[1] for each in told] == ["half of them within", "95 % within", "99 % within"]
    assert told[0][2] == pytest.approx(1 + 1.5 * 50 / 97)
    assert isnan(told[2][2])  # beyond the last range
    assert page.rows("Requests by status") == [["/v1/decide", "100"]]
    assert cards(page, "server")["queue depth"] == "7 rows"
    assert cards(page, "server")["memory"] == "200 MiB"
    assert page.rows("Workers")[0] == ["0", "7", "10 ms", "200", "yes"]
    assert "interpolated: linearly within the range" in page.text


def test_a_server_that_is_too_busy_or_cannot_act_is_called_so_first(tmp_path: Path) -> None:
    page = seen(opened(tmp_path), counted([0.1] * 10, status=503, degraded=1.0, loop_lag_seconds=0.5))
    found = page.one("div", id="answer")
    assert "✕ Something is wrong." in found.text
    told = [each.text for each in found.all("li")]
    assert told[0] == "critical The version in force cannot act in worker 0: another one does in its place."
    assert "warning 10 of 10 requests were answered 503: too busy." in told
    assert "warning An event loop came 0.50 s late to a timer." in told
    assert found.all("a")[0].attributes["href"] == "#server"


def test_without_metrics_it_says_how_to_have_some(tmp_path: Path) -> None:
    section = seen(opened(tmp_path)).one("section", id="server")
    assert "The server counts nothing here" in section.text
    assert "[telemetry] metrics = true" in section.text
    idle = seen(opened(tmp_path), counted([])).one("section", id="server")
    assert "Nobody has asked for anything since the server started." in idle.text


def test_short_times_are_written_with_their_unit() -> None:
    assert [seconds(each) for each in (0.0004, 0.25, 2.5, float("nan"))] == ["0.4 ms", "250 ms", "2.5 s", "—"]
    assert [length(each) for each in (0.5, 90.0, 7200.0, 2 * 86_400.0)] == ["0.5 s", "1.5 min", "2 h", "2 d"]


# ------------------------------------------------------------------------------------------------------------ the store


def test_the_store_holds_what_the_api_says(tmp_path: Path) -> None:
    app = opened(tmp_path)
    made = log(app, PEOPLE, 3)
    app.log.append([], [Feedback("early", "never-made", "like", 1.0, app.now())])
    told, shown = Administration(app).health(), cards(seen(app), "store")
    assert shown["decisions"] == f"{told['decisions']:,}" == f"{len(made):,}"
    assert shown["feedback"] == f"{told['feedback']:,}"
    assert shown["unmatched feedback"] == "1"
    assert shown["store size"] == f"{app.log.summary('shop').bytes / 1e6:,.1f} MB"
    assert "[store] retain_days is not set: rows stay" in seen(app).text


def test_archives_and_backups_are_known_where_they_were_made(tmp_path: Path) -> None:
    clock = Clock()
    app = opened(tmp_path, clock, store={"retain_days": 1.0})
    log(app, PEOPLE, 3)
    clock.now += 3 * 24 * HOUR
    archive_old(app, None)
    note_backup(app, tmp_path / "copy.sqlite")
    found = stored(app)
    assert (found.archived, found.log.decisions, found.backup) == (1, 0, clock.now)
    section = seen(app).one("section", id="store").text
    assert "1 pairs of files" in section
    assert "rows older than 1 days go there" in section
    assert moment(clock.now) in section


def test_an_empty_store_says_where_decisions_come_from(tmp_path: Path) -> None:
    page = seen(opened(tmp_path))
    assert cards(page, "store")["decisions"] == "0"
    assert "none yet: /v1/decide makes them" in page.text
    assert "No decision that was read has been heard of yet." in page.text


# ---------------------------------------------------------------------------------------------------- the watch, delays


def test_what_the_watch_found_is_shown_with_its_evidence(tmp_path: Path) -> None:
    app = opened(tmp_path)
    assert "Nobody has looked for drift or falling rewards yet." in seen(app).text
    evidence = ("The reward was 0.5.", "It is 0.2 <now>.")
    finding = {"kind": "reward fell: policy", "subject": "", "severity": "critical", "title": "It fell."}
    body = {"findings": [{**finding, "evidence": evidence}], "told": {}, "failed": ["webhook"]}
    app.tasks.record(Task("watch", app.now() - 600.0, "completed", 0, 1234, 0.2, body))
    page = seen(app)
    drift = page.one("section", id="drift")
    assert "Looked 10 minutes ago at 1,234 decisions." in drift.text
    assert [each.text for each in drift.all("li")] == list(evidence)
    assert "critical reward fell: policy" in drift.text
    assert page.one("div", id="answer").all("li")[0].text == "critical It fell."
    assert "the last alert did not go out" in page.one("section", id="alerts").text


def test_a_watch_that_found_nothing_is_good_news(tmp_path: Path) -> None:
    app = opened(tmp_path)
    log(app, PEOPLE, 3)
    watch(app)
    assert "Nothing drifted, no reward fell." in seen(app).one("section", id="drift").text


def test_delays_are_those_of_the_log(tmp_path: Path) -> None:
    app = opened(tmp_path)
    log(app, PEOPLE, 3)  # blue is liked, after a minute
    page = drawn(app)
    section = read(page).one("section", id="delays").text
    assert "50 % within 1 min, 90 % within 1 min, 99 % within 1 min" in section
    assert "the wait is 1 h" in section
    assert "Of 600 settled decisions nobody said anything of 66.7 %." in section
    rows = {row[0]: row[2] for row in page.charts["delays"].table.rows}
    assert rows["up to 10 min"] == 1.0  # the first range that holds a minute: [1 min, 10 min)
    assert sum(rows.values()) == pytest.approx(1.0)
    assert list(rows)[-1] == "up to 1 h"
    np.testing.assert_allclose(rows["up to 10 s"], 0.0)


# ------------------------------------------------------------------------------------------------------------- the jobs


def test_jobs_are_those_of_the_api_with_their_last_and_next_run(tmp_path: Path) -> None:
    app = opened(tmp_path, release={"automatic": True})
    app.tasks.record(Task("watch", app.now() - 600.0, "completed", 0, 7, 0.2, {"findings": [], "told": {}}))
    told = {each["id"]: each for each in Administration(app).health()["scheduled_jobs"]}
    found = {each.identity: each for each in scheduled(app)}
    assert list(found) == list(told) == ["rl_training", "release", "watch", "tidy"]
    assert [each.name for each in found.values()] == [each["name"] for each in told.values()]
    assert found["rl_training"].next == datetime.fromisoformat(told["rl_training"]["next_run_time"]).timestamp()
    assert found["watch"].next == app.now() - 600.0 + HOUR
    jobs = seen(app).one("section", id="jobs")
    lines = [each.text for each in jobs.all("p", class_="job")]
    assert lines[0].startswith("Train RL recommendation model : mon at 1:00 UTC; no run is on record")
    assert "every 60 minutes; last 10 minutes ago completed; next in 50 minutes" in lines[2].replace(" ;", ";")


def test_past_runs_are_listed_with_duration_and_error(tmp_path: Path) -> None:
    app = opened(tmp_path)
    log(app, PEOPLE, 6)
    app.train()
    app.tasks.record(Task("rl_training", NOW + 60.0, "failed", 0, 0, 2.0, {}, "The <disk> was full."))
    page = seen(app)
    rows = page.rows("Runs of rl_training")
    assert rows[0] == [moment(NOW + 60.0), "failed", "2 s", "0", "0", "The <disk> was full."]
    (recorded,) = app.tasks.recent("rl_training", 5)[1:]
    assert rows[1][1:2] + rows[1][3:] == ["completed", "200", f"{recorded.records_processed:,}", "—"]
    last = Administration(app).health()["last_training"]
    assert last["status"] == rows[0][1]
    assert "The last training failed: The <disk> was full." in page.one("div", id="answer").text


def test_a_schedule_that_is_off_says_so(tmp_path: Path) -> None:
    app = opened(tmp_path, schedule={"enabled": False})
    assert Administration(app).health()["scheduled_jobs"] == []
    assert "The schedule is off: nothing is trained, watched or released by itself." in seen(app).text


def test_a_schedule_that_cannot_be_shows_why(tmp_path: Path) -> None:
    app = opened(tmp_path, schedule={"day_of_week": "someday"})
    assert "[schedule] cannot run on day_of_week = 'someday'" in seen(app).one("section", id="jobs").text


def test_training_now_is_for_operators(tmp_path: Path) -> None:
    app = opened(tmp_path)
    assert seen(app).one("section", id="jobs").all("form") == []
    form = seen(app, role=OPERATOR).one("section", id="jobs").one("form", method="post")
    assert form.attributes["action"] == "/dashboard/acts/train"
    assert {each.attributes["name"] for each in form.all("input")} == {"token", "back"}


# ----------------------------------------------------------------------------------------------- the doctor, the alerts


def test_what_the_doctor_finds_comes_with_its_fixes(tmp_path: Path) -> None:
    app = opened(tmp_path, exploration={"rate": 0.0})
    section = seen(app).one("section", id="doctor")
    assert "no exploration" in section.text
    assert "There are 0 decisions in the log." in section.text
    fixes = [each.text for each in section.all("li")]
    assert "Set [exploration] rate = 0.05 in bondhu.toml so that candidates can be evaluated." in fixes


def test_what_is_not_looked_at_yet_is_said_to_be_under_way(tmp_path: Path) -> None:
    clock = Clock()
    app, errands = opened(tmp_path, clock), AtOnce()
    waiting = seen(app, errands=Never())
    assert "The store is looked at; begun" in waiting.text
    assert "The doctor looks at trainings and versions; begun" in waiting.text
    seen(app, errands=errands)
    clock.now += 60.0
    assert cards(seen(app, errands=Never(errands.done)), "store")["decisions"] == "0"


def test_channels_are_named_and_nothing_secret_is_shown(tmp_path: Path) -> None:
    secret = "https://chat.example.org/hooks/SECRET"
    alerts = {"webhook": secret, "webhook_key": "SECRET-key", "mail_host": "smtp.example.org", "mail_to": ["a@b.org"]}
    page = seen(opened(tmp_path, alerts=alerts))
    told = page.one("section", id="alerts").text
    assert "webhook set: [alerts] webhook" in told
    assert "mail set: [alerts] mail_host and mail_to" in told
    assert "SECRET" not in page.text
    bare = seen(opened(tmp_path / "bare")).one("section", id="alerts").text
    assert "webhook not set" in bare


def test_alerts_that_are_open_are_listed_with_when_they_were_told(tmp_path: Path) -> None:
    app = opened(tmp_path)
    alert = {"key": "k", "severity": "warning", "title": "It drifted.", "evidence": [], "runbook": "", "time": NOW}
    told = {"log": {"open": [{"alert": alert, "told": NOW - 120.0}]}}
    app.tasks.record(Task("watch", NOW, "completed", 0, 7, 0.2, {"findings": [], "told": told, "failed": []}))
    assert "warning It drifted. (told 2 minutes ago" in seen(app).one("section", id="alerts").text
