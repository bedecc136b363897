"""Is anything wrong? The server, the store, the watch, delays, jobs, and what the doctor says."""

from __future__ import annotations

from functools import partial
from math import isfinite, isnan, nan
from typing import Any

import numpy as np

from bondhu.app import App
from bondhu.dashboard import layout
from bondhu.dashboard.charts.bars import Groups, Row, bars
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.columns.recurring import Latest, latest
from bondhu.dashboard.figures.scheduled import Scheduled, history, scheduled
from bondhu.dashboard.figures.served import QUANTILES, Route, Served, served
from bondhu.dashboard.figures.stored import Stored, stored
from bondhu.dashboard.figures.waits import delay_chart, told_of_delays
from bondhu.dashboard.figures.wrong import Trouble, troubles
from bondhu.dashboard.layout import Card
from bondhu.dashboard.page import Asked, Chart, Desk, Page
from bondhu.errors import BondhuError
from bondhu.monitor import doctor
from bondhu.ports import Task
from bondhu.report.layout import facts, say, table
from bondhu.report.markup import Markup, joined, spoken, tag
from bondhu.report.words import NOTHING, moment, rounded
from bondhu.watching import JOB as WATCH
from bondhu.wiring import channels_of

TITLE = "Health"
OFTEN, SELDOM = 60.0, 600.0  # seconds after which the store, and the doctor, are asked again
WITHIN = ("half of them within", "95 % within", "99 % within")  # what QUANTILES are called
TONES = {"critical": "refuse", "warning": "wait", "info": "plain"}


def view(desk: Desk, asked: Asked) -> Page:
    """The page."""
    app = desk.app
    counted = served(desk.counters())
    looked = latest(desk, "store", OFTEN, partial(stored, app))
    examined = latest(desk, "doctor", SELDOM, lambda: tuple(doctor.examine(app.facts())))
    planned, told = _planned(app), history(app)
    watched = told.get(WATCH, [])
    found = troubles(counted, watched, told, examined.result or ())
    charts = {each.name: each for each in [delay_chart(desk.decisions.sheet(), app.domain.reward.wait)] if each}
    parts = [
        _answer(found),
        _server(app, asked, counted, charts),
        _store(desk, looked),
        _watch(app, watched),
        _delays(desk, asked, charts),
        _jobs(app, asked, planned, told),
        _doctor(examined),
        _alerts(app, watched),
    ]
    return Page(TITLE, parts, charts)


def _planned(app: App) -> list[Scheduled] | str:
    """The jobs, or why the schedule cannot be read."""
    try:
        return scheduled(app)
    except BondhuError as error:
        return str(error)


def _answer(found: list[Trouble]) -> Markup:
    """Whether anything is wrong, in one line, and where it says more."""
    listed = [
        tag("li", layout.badge(each.severity, TONES[each.severity]), " ", layout.link(each.what, f"#{each.section}"))
        for each in found
    ]
    if not found:
        return layout.verdict_line("promote", "No trouble is known of.", word="All is well")
    severe = any(each.severity == "critical" for each in found)
    number = f"{len(found)} thing{'s' if len(found) > 1 else ''} to look at."
    word = "Something is wrong" if severe else "Look at this"
    return layout.verdict_line("refuse" if severe else "wait", number, tag("ul", *listed), word=word)


# ----------------------------------------------------------------------------------------------------------- the server


def _server(app: App, asked: Asked, counted: Served | None, charts: dict[str, Chart]) -> Markup:
    if counted is None:
        why = "The server counts nothing here: [telemetry] metrics is off, or no worker has answered yet."
        ask = "Set [telemetry] metrics = true and restart `bondhu serve`."
        return layout.section("server", "The server", layout.status("empty", why, say(ask)))
    most = app.settings.server.waiting
    requests = sum(each.requests for each in counted.routes)
    refused = sum(each.statuses.get("503", 0) for each in counted.routes)
    lag = max((each.lag for each in counted.workers), default=float("nan"))
    memory = sum(each.memory for each in counted.workers)
    shown = [
        Card("queue depth", f"{counted.waiting:,} rows", f"not yet committed; from {most:,} on the answer is 503"),
        Card("requests", f"{requests:,}", f"since the server started; {refused:,} were answered 503"),
        Card("event loop late", seconds(lag), "at most, of all workers"),
        Card(
            "memory",
            f"{memory / 2**20:,.0f} MiB",
            f"of {layout.counted(len(counted.workers), 'worker')}, shared pages included",
        ),
    ]
    drawn = latency_chart(counted)
    charts |= {each.name: each for each in drawn}
    pictures = [layout.chart(asked, each) for each in drawn]
    parts = [layout.cards(shown), *pictures, _routes(counted), _workers(counted)]
    return layout.section("server", "The server", *parts)


def latency_chart(counted: Served) -> list[Chart]:
    """The quantiles of every route that was asked for; none where nothing was."""
    rows = [
        Row(each.name, [1000 * value if isfinite(value) else nan for value in each.quantiles])
        for each in counted.routes
        if each.requests
    ]
    if not rows:
        return []
    caption = "Half, 95 % and 99 % of the requests took at most so long; — is beyond what is counted apart."
    names = list(WITHIN)
    return [bars(About("latency", "How long requests take", caption), rows, Groups(names, "milliseconds"))]


def _routes(counted: Served) -> Markup:
    asked_for = [each for each in counted.routes if each.requests]
    if not asked_for:
        return layout.status("empty", "Nobody has asked for anything since the server started.")
    columns = ("route", "requests", *WITHIN, "mean")
    rows = [
        (each.name, f"{each.requests:,}", *(_quantile(each, at) for at in range(len(QUANTILES))), seconds(each.mean))
        for each in asked_for
    ]
    kinds = sorted({kind for each in asked_for for kind, count in each.statuses.items() if count})
    statuses = [(each.name, *(f"{each.statuses.get(kind, 0):,}" for kind in kinds)) for each in asked_for]
    how = (
        "From the headers to the answer. Counted in ranges, so that quantiles are interpolated: linearly within the "
        "range in which they lie."
    )
    return joined(
        [
            table("How long requests take, by route", columns, rows),
            say(how, "note"),
            table("Requests by status", ("route", *kinds), statuses),
        ]
    )


def _quantile(of: Route, at: int) -> str:
    value = of.quantiles[at]
    return f"above {seconds(of.last)}" if value == float("inf") else seconds(value)


def _workers(counted: Served) -> Markup:
    rows = [
        (
            each.name,
            f"{each.waiting:,}",
            seconds(each.lag),
            f"{each.memory / 2**20:,.0f}",
            "no: the version in force cannot act" if each.degraded else "yes",
        )
        for each in counted.workers
    ]
    columns = ("worker", "rows waiting", "event loop late", "memory, MiB", "acts as it should")
    return table("Workers", columns, rows)


def seconds(value: float) -> str:
    """A short time."""
    if isnan(value):
        return NOTHING
    return f"{rounded(1000 * value)} ms" if value < 1 else f"{rounded(value)} s"


# ------------------------------------------------------------------------------------------------------------ the store


def _store(desk: Desk, looked: Latest) -> Markup:
    if looked.result is None:
        return layout.section("store", "The store", _not_yet(looked, "The store is looked at"))
    found: Stored = looked.result
    log, retained = found.log, desk.app.settings.store.retain_days
    kept = f"rows older than {retained:g} days go there" if retained else "[store] retain_days is not set: rows stay"
    copied = "none was ever noted: `bondhu backup FILE` makes one"
    pairs: list[tuple[str, str]] = [
        ("archive", f"{found.archived:,} pairs of files, {found.archived_bytes / 1e6:,.1f} MB; {kept}"),
        ("last backup", spoken(copied) if found.backup is None else moment(found.backup)),
    ]
    times = [each for each in (log.first, log.last) if each is not None]
    since = joined(["since ", layout.when(times[0])]) if times else "none yet: /v1/decide makes them"
    last = joined(["the last decision ", layout.ago(times[-1], desk.app.now())]) if times else ""
    waiting = "feedback whose decision has not arrived"
    shown = [
        Card("decisions", f"{log.decisions:,}", since),
        Card("feedback", f"{log.feedback:,}", last),
        Card("unmatched feedback", f"{log.unmatched:,}", waiting, tone="wait" if log.unmatched else ""),
        Card("store size", f"{log.bytes / 1e6:,.1f} MB"),
    ]
    return layout.section("store", "The store", layout.cards(shown), facts(pairs))


def _not_yet(looked: Latest, doing: str) -> Markup:
    """Why there is nothing to see of something that is done beside the page."""
    if looked.failed is not None:
        return layout.status("error", looked.failed.why)
    since = looked.pending.since if looked.pending else float("nan")
    return layout.status("wait", joined([f"{doing}; begun ", layout.ago(since), "."]))


# ------------------------------------------------------------------------------------------------------------ the watch


def _watch(app: App, watched: list[Task]) -> Markup:
    title = "Drift and falling rewards"
    if not watched:
        why = "Nobody has looked for drift or falling rewards yet."
        how = "The schedule does so by itself while `bondhu serve` runs; `bondhu watch` does so at once."
        return layout.section("drift", title, layout.status("empty", why, say(how)))
    last = watched[0]
    at = joined(
        [
            "Looked ",
            layout.ago(last.executed_at, app.now()),
            f" at {layout.counted(last.records_processed, 'decision')}.",
        ]
    )
    found = last.metadata.get("findings", [])
    if not found:
        return layout.section("drift", title, layout.status("good", joined([at, " Nothing drifted, no reward fell."])))
    return layout.section("drift", title, tag("p", at, class_="note"), *map(_finding, found))


def _finding(found: dict[str, Any]) -> Markup:
    """One thing that the watch found, with what shows it."""
    about = f"{found['kind']}{': ' + found['subject'] if found['subject'] else ''}"
    head = tag("p", layout.badge(found["severity"], TONES.get(found["severity"], "plain")), " ", tag("b", about))
    shown = tag("ul", *(tag("li", each) for each in found["evidence"]))
    return tag("div", head, tag("p", found["title"]), shown, class_="finding")


# ----------------------------------------------------------------------------------------------------------- the delays


def _delays(desk: Desk, asked: Asked, charts: dict[str, Chart]) -> Markup:
    sheet, wait = desk.decisions.sheet(), desk.app.domain.reward.wait
    title = "How late feedback comes"
    if "delays" not in charts:
        why = "No decision that was read has been heard of yet."
        how = "Applications say what became of a decision with /v1/feedback."
        return layout.section("delays", title, layout.status("empty", why, say(how)))
    told = [say(told_of_delays(sheet, wait)), layout.chart(asked, charts["delays"])]
    return layout.section("delays", title, *told)


# ------------------------------------------------------------------------------------------------------------- the jobs


def _jobs(app: App, asked: Asked, planned: list[Scheduled] | str, told: dict[str, list[Task]]) -> Markup:
    button = layout.act_button(asked, "train", "Train now")
    if isinstance(planned, str):
        shown = layout.status("error", planned)
    elif not planned:
        why = "The schedule is off: nothing is trained, watched or released by itself."
        shown = layout.status("empty", why, say("Set [schedule] enabled = true, and `bondhu reload`."))
    else:
        shown = tag("div", *(_job(app, each) for each in planned), class_="jobs")
    runs = [_runs(name, tasks) for name, tasks in told.items()]
    if not runs:
        runs = [layout.status("empty", "No run of a job was recorded yet.")]
    return layout.section("jobs", "Jobs", button, shown, *runs)


def _job(app: App, job: Scheduled) -> Markup:
    """One job: how often, how its last run went, when it comes next."""
    now = app.now()
    if isfinite(job.next):
        following = joined(["next ", layout.ago(job.next, now), " (", layout.when(job.next), ")"])
        coming = following if job.next > now else Markup("due")
    else:
        coming = Markup("its runs are not recorded")
    last: Markup = Markup("no run is on record")
    if job.last is not None:
        last = joined(["last ", layout.ago(job.last.executed_at, now), " ", _status(job.last)])
    return tag("p", tag("b", job.name), f": {job.rhythm}; ", last, "; ", coming, ".", class_="job")


def _status(task: Task) -> Markup:
    kind = {"completed": "promote", "failed": "refuse"}.get(task.status, "plain")
    return layout.badge(task.status, kind)


def _runs(name: str, tasks: list[Task]) -> Markup:
    rows = [
        (
            moment(each.executed_at),
            each.status,
            seconds(each.duration_seconds),
            f"{each.users_processed:,}",
            f"{each.records_processed:,}",
            each.error or NOTHING,
        )
        for each in tasks
    ]
    columns = ("at", "status", "took", "users", "decisions", "error")
    head = tag("summary", f"{name}: the last {layout.counted(len(tasks), 'run')}")
    return tag("details", head, table(f"Runs of {name}, newest first", columns, rows), id=f"runs-{name}")


# ----------------------------------------------------------------------------------------------------------- the doctor


def _doctor(examined: Latest) -> Markup:
    title = "What the doctor says"
    if examined.result is None:
        return layout.section("doctor", title, _not_yet(examined, "The doctor looks at trainings and versions"))
    if not examined.result:
        good = "Trainings, the live version and the amount of data are as they should be."
        return layout.section("doctor", title, layout.status("good", good))
    found = [
        tag(
            "div",
            tag("p", tag("b", each.case)),
            say(each.evidence),
            tag("ul", *(tag("li", spoken(fix)) for fix in each.fixes)),
            class_="finding",
        )
        for each in examined.result
    ]
    return layout.section("doctor", title, *found)


# ----------------------------------------------------------------------------------------------------------- the alerts


def _alerts(app: App, watched: list[Task]) -> Markup:
    """Where alerts go, and what is told of at the moment; addresses may be secret, so that none is shown."""
    settings = app.settings.alerts
    try:
        set_up = {each.name for each in channels_of(settings)}
    except BondhuError as error:
        return layout.section("alerts", "Alerts", layout.status("error", str(error)))
    says = {"log": "the server's log, always", "webhook": "[alerts] webhook", "mail": "[alerts] mail_host and mail_to"}
    failed = set(watched[0].metadata.get("failed", ())) if watched else set()
    pairs = []
    for name, how in says.items():
        state = "set" if name in set_up else "not set"
        pairs.append((name, f"{state}: {how}" + ("; the last alert did not go out" if name in failed else "")))
    quiet = f"The same trouble is told again after {settings.quiet_hours:g} hours."
    return layout.section("alerts", "Alerts", facts(pairs), say(quiet, "note"), _open(app, watched))


def _open(app: App, watched: list[Task]) -> Markup:
    """What was told and is not over."""
    told = watched[0].metadata.get("told", {}).get("log", {}).get("open", []) if watched else []
    if not told:
        return layout.status("good", "No alert is open.")
    items = [
        tag(
            "li",
            layout.badge(each["alert"]["severity"], TONES.get(each["alert"]["severity"], "plain")),
            f" {each['alert']['title']} (told ",
            layout.ago(np.float64(each["told"]), app.now()),
            ")",
        )
        for each in told
    ]
    return tag("ul", *items)
