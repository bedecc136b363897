"""The first page: is it better than the rule, what is going on, what comes next, and is anything wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isfinite

from bondhu.dashboard import layout
from bondhu.dashboard.columns.recurring import Latest, earlier, latest
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures import series
from bondhu.dashboard.figures.answers import ADVICE, answered, in_force_since
from bondhu.dashboard.figures.differences import Course
from bondhu.dashboard.figures.scheduled import history, scheduled
from bondhu.dashboard.figures.served import served
from bondhu.dashboard.figures.trials import missing, running, wait_of
from bondhu.dashboard.figures.upcoming import Coming, coming, earliest
from bondhu.dashboard.figures.wrong import Trouble, troubles
from bondhu.dashboard.page import DASHBOARD, Asked, Chart, Desk, Page
from bondhu.dashboard.sections import beside, courses, glance
from bondhu.dashboard.sections.beside import Compared, Span, Worse
from bondhu.dashboard.sections.glance import Stands
from bondhu.dashboard.sections.starting import first_steps
from bondhu.dashboard.views.releases import LOOK
from bondhu.experiments.effects import MINIMUM_USERS
from bondhu.monitor import doctor
from bondhu.ports import Event
from bondhu.registry import lifecycle
from bondhu.registry.share import HOLDOUT
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.study import Figure
from bondhu.report.words import VERDICTS, percent, rounded
from bondhu.watching import JOB as WATCH
from bondhu.wiring import GROUPED

TITLE = "Overview"
VERDICTS_SHOWN = 4
TONES = {"critical": "refuse", "warning": "wait"}  # of what is wrong
SELDOM = 300.0  # seconds after which the doctor examines, and segments are compared, again


def view(desk: Desk, asked: Asked) -> Page:
    """The page."""
    app, sheet = desk.app, desk.decisions.sheet()
    events, now = app.events(), app.now()
    if not len(sheet):
        return Page(TITLE, first_steps(desk, asked))
    standing = lifecycle.traffic(events)
    span = beside.released(events)
    found = beside.course(sheet, span)
    means = series.overall(sheet, "version")
    said = answered(events, standing, beside.beside(found, span), app.release_rules.holdout, means)
    notes = [tag("p", each, class_="note") for each in said.notes]
    wrong, watched = _troubles(desk)
    charts = _charts(desk, asked, sheet, found)
    parts = [
        layout.verdict_line(said.decision, said.sentence, *notes, word=said.word),
        tag(
            "div",
            layout.cards(glance.cards(asked, sheet, now, _stands(desk, events), wrong)),
            id="glance",
            data_live="",
        ),
        _courses(desk, asked, sheet, charts),
        layout.row(_next(asked, _coming(desk, events), now), _wrong(asked, wrong, watched, now)),
        layout.row(_worse(asked, desk, sheet, span), _verdicts(asked, events, now)),
    ]
    return Page(TITLE, parts, charts)


# -------------------------------------------------------------------------------------------------------- over time


def _stands(desk: Desk, events: Sequence[Event]) -> Stands:
    """Who decides, since when, and how long feedback is waited for."""
    return Stands(lifecycle.traffic(events), in_force_since(events), desk.app.domain.reward.wait)


def _charts(desk: Desk, asked: Asked, sheet: Sheet, found: Course | None) -> dict[str, Chart]:
    events, now = desk.app.events(), desk.app.now()
    of = courses.stretch(sheet, asked.query.get("window", ""), now)
    drawn = [courses.reward_chart(of, events, lifecycle.traffic(events))] if courses.settled(of) else []
    span = beside.released(events)
    if span is not None and found is not None and not found.refused:
        drawn.append(beside.difference_chart(found, span, courses.marks(events)))
    drawn.append(courses.rates_chart(of, now))
    return {each.name: each for each in drawn}


def _courses(desk: Desk, asked: Asked, sheet: Sheet, charts: dict[str, Chart]) -> Markup:
    """The pictures, and how far back they look."""
    chosen = asked.query.get("window", courses.FIRST)
    form = layout.asking(
        asked, layout.choice("window", "Time", courses.WINDOWS, chosen), layout.button("Show", kind="unscripted")
    )
    first, *rest = [layout.chart(asked, each) for each in charts.values()]
    parts = [first, *([layout.row(*rest)] if rest else [])]
    if "reward" not in charts:
        of = courses.stretch(sheet, chosen, desk.app.now())
        parts = [courses.unsettled(of, desk.app.domain.reward.wait), first, *rest]
    return layout.section("over-time", "What it earns over time", form, layout.answer("courses", *parts))


# ----------------------------------------------------------------------------------------------------- what comes next


def _coming(desk: Desk, events: Sequence[Event]) -> list[Coming]:
    """What comes; of the release under way with what the page of releases found, which is the same errand."""
    app, rules = desk.app, desk.app.release_rules
    step = lifecycle.traffic(events).step
    seen = None
    if step is not None:
        key = ("release", step)
        seen = latest(desk, key, LOOK, partial(running, app, step, earlier(desk, key, LOOK))).result
    release = None if seen is None else (seen, missing(seen, rules, wait_of(app)))
    return coming(events, rules, (scheduled(app), app.settings.schedule.enabled), release)


def _next(asked: Asked, found: Sequence[Coming], now: float) -> Markup:
    """What happens next."""
    items = [_one_coming(asked, each, now) for each in found]
    return layout.section("next", "What happens next", tag("ul", *items, class_="plain"))


def _one_coming(asked: Asked, of: Coming, now: float) -> Markup:
    name = [layout.code(of.version), " "] if of.version else []
    at = earliest(of, now)
    time = [tag("p", "Next ", layout.ago(at, now), ": ", layout.when(at), class_="note")] if isfinite(at) else []
    more = layout.link(of.where.capitalize(), asked.link(f"{DASHBOARD}/{of.where}"))
    return tag("li", tag("p", tag("b", of.what.capitalize()), " ", *name, of.says, " ", more), *time)


# ------------------------------------------------------------------------------------------------------ what is wrong


def _troubles(desk: Desk) -> tuple[list[Trouble], float]:
    """What is wrong, and when the watch looked last; NaN where it never did."""
    app = desk.app
    examined = latest(desk, "doctor", SELDOM, lambda: tuple(doctor.examine(app.facts())))
    told = history(app)
    watched = told.get(WATCH, [])
    looked = watched[0].executed_at if watched else float("nan")
    return troubles(served(desk.counters()), watched, told, examined.result or ()), looked


def _wrong(asked: Asked, found: Sequence[Trouble], watched: float, now: float) -> Markup:
    """What is wrong, worst first."""
    last = joined(["The watch looked ", layout.ago(watched, now), "."])
    looked = last if isfinite(watched) else "The watch has not looked yet."
    title = "Is anything wrong?"
    if not found:
        return layout.section("wrong", title, layout.status("good", joined(["Nothing is known to be. ", looked])))
    items = [
        tag(
            "li",
            tag(
                "p",
                layout.badge(each.severity, TONES.get(each.severity, "plain")),
                " ",
                each.what,
                " ",
                layout.link("Health", f"{asked.link(f'{DASHBOARD}/health')}#{each.section}"),
            ),
        )
        for each in found
    ]
    return layout.section("wrong", title, tag("ul", *items, class_="plain"), tag("p", looked, class_="note"))


# --------------------------------------------------------------------------------------------- for whom, and verdicts


def _worse(asked: Asked, desk: Desk, sheet: Sheet, span: Span | None) -> Markup:
    """For whom it is worse than the rule."""
    title = "For whom is it worse?"
    app = desk.app
    why = _incomparable(sheet, span, app.release_rules.holdout)
    if span is None or why:
        more = layout.link("Evaluation", asked.link(f"{DASHBOARD}/evaluation"))
        where = tag("span", more, ": what the log says of groups.") if app.versions() else Markup("")
        return layout.section(
            "worse",
            title,
            layout.status("empty", why[0], *(tag("span", each) for each in why[1:]), *([where] if where else [])),
        )
    fields = tuple(each["name"] for each in app.domain.describe()["fields"] if each["kind"] in GROUPED)
    found = latest(desk, ("worse", span), SELDOM, partial(beside.worse, sheet, fields, span))
    note = [_over(span)] if isfinite(span.end) else []
    return layout.section("worse", title, *note, *_of_segments(asked, found))


def _incomparable(sheet: Sheet, span: Span | None, holdout: float) -> list[str]:
    """Why nobody can be compared, and what to do; nothing where they can."""
    if span is None:
        return ["Nothing that was learned has decided for anybody yet: everybody meets the rule."]
    if beside.learned(sheet, span.start, span.end).variant.among(HOLDOUT).any():
        return []
    advice = [] if holdout else [ADVICE]
    if isfinite(span.end):
        why = "Nobody can tell: while versions decided, nobody who always meets the rule asked for a decision."
        return [why, *advice]
    if holdout:
        return [f"Nobody of the {percent(holdout)} who always meet the rule was decided for since the release."]
    return ["Nobody can tell: there are no people who always meet the rule.", *advice]


def _over(span: Span) -> Markup:
    """That it is of the past."""
    told = ["Between ", layout.when(span.start), " and ", layout.when(span.end), ", when the rule was put back:"]
    return tag("p", *told, class_="note")


def _of_segments(asked: Asked, found: Latest) -> list[Markup]:
    if found.result is None:
        if found.failed is not None:
            return [layout.status("error", found.failed.why)]
        return [layout.status("wait", "People are being compared by every field of the context.")]
    result: Compared = found.result
    need = f"too few people were heard on one side: {MINIMUM_USERS} who are equally active are needed"
    if not result.told:
        thin = f"in all {result.thin} segments {need}." if result.thin else "no field tells people apart."
        return [layout.status("empty", f"Nobody can tell yet: {thin}")]
    few = f" In {result.thin} more {need}." if result.thin else ""
    told = f"{result.told} segments were compared with the same ones of the holdout; all intervals hold together.{few}"
    if not result.losing:
        least, most = (rounded(each, 2) for each in result.reach)
        shown = f"{least}" if least == most else f"{least} to {most}, by the segment,"
        why = f"For nobody who could be told apart. {told} A loss of less than {shown} would not have shown."
        return [layout.status("empty", why)]
    items = [_losing(asked, each) for each in result.losing[:6]]
    return [tag("ul", *items, class_="plain"), tag("p", told, class_="note")]


def _losing(asked: Asked, of: Worse) -> Markup:
    part = of.segment
    said, between = layout.within(Figure(part.difference, part.low, part.high), signed=True)
    where = asked.link(f"{DASHBOARD}/decisions", **{f"context.{of.field}": part.value})
    name = layout.link(f"{of.field} = {part.value}", where)
    rests = f" a decision ({between}); {part.people[0]:,} people, beside {part.people[1]:,} of the holdout"
    return tag("li", tag("p", layout.badge("worse", "refuse"), " ", name, f": {said}{rests}"))


def _verdicts(asked: Asked, events: Sequence[Event], now: float) -> Markup:
    """The last verdicts of the gate, newest first, with their reasons."""
    said = [each for each in events if each.kind == "judged"][::-1][:VERDICTS_SHOWN]
    title = "Last verdicts"
    if not said:
        why = "The gate has judged no version yet: each training is followed by a verdict where people are held out."
        return layout.section("verdicts", title, layout.status("empty", why))
    return layout.section("verdicts", title, tag("ul", *(_verdict(asked, each, now) for each in said), class_="plain"))


def _verdict(asked: Asked, of: Event, now: float) -> Markup:
    decision = str(of.figures.get("decision", "wait"))
    sign, word, _ = VERDICTS.get(decision, VERDICTS["wait"])
    where = asked.link(f"{DASHBOARD}/evaluation", version=of.version)
    about = layout.link(layout.code(of.version), where)
    head = tag(
        "p",
        layout.badge(f"{sign} {word.lower()}", decision),
        " ",
        about,
        " ",
        tag("span", layout.ago(of.time, now), class_="note"),
    )
    return tag("li", head, tag("p", " ".join(of.figures.get("reasons", ())) or of.reason, class_="note"))
