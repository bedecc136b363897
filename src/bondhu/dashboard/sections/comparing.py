"""Two variants beside each other: what is asked, and what their people say, drawn."""

from __future__ import annotations

from functools import partial
from math import inf, isfinite

from bondhu import experimenting
from bondhu.app import App
from bondhu.dashboard import layout
from bondhu.dashboard.columns.recurring import latest
from bondhu.dashboard.page import Asked, Chart, Desk, Table
from bondhu.errors import BondhuError, InvalidInput
from bondhu.experimenting import Question
from bondhu.experiments.analysis import Analysis, told
from bondhu.experiments.effects import Effect
from bondhu.registry.share import HOLDOUT, LIVE, TRIAL
from bondhu.report.layout import say, table
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.pictures import Line, Words, forest, legend
from bondhu.report.study import Figure
from bondhu.report.sure import gain
from bondhu.report.words import percent, rounded
from bondhu.wiring import GROUPED

AGAIN = 600.0  # seconds after which a comparison that somebody looks at is made again
LONGEST = 36_600.0  # days
ANSWERS = {
    "better": ("promote", "Better"),
    "worse": ("refuse", "Worse"),
    "undecided": ("wait", "Undecided"),
    "invalid": ("refuse", "Invalid"),
}


def compared(desk: Desk, asked: Asked) -> tuple[Markup, dict[str, Chart]]:
    """The section: the form, and the answer where something was asked."""
    charts: dict[str, Chart] = {}
    answer = Markup("")
    if "treated" in asked.query:
        try:
            question = question_of(desk.app, asked)
        except BondhuError as error:
            answer = layout.status("error", str(error))
        else:
            answer, charts = _answer(desk, asked, question)
    note = "Both intervals of every effect: one holds at every look, the other at one look that was planned before."
    parts = [_form(desk.app, asked), tag("div", answer, id="compared", data_live="")]
    title = "What did it bring? Two variants compared"
    return layout.section("experiment", title, *parts, live=False, note=note), charts


def question_of(app: App, asked: Asked) -> Question:
    """What the address asks; raises InvalidInput."""
    query = asked.query
    for name, known in (("treated", (TRIAL, LIVE)), ("control", (LIVE, HOLDOUT))):
        if query.get(name) not in known:
            what = f"There is no such variant to be {name}."
            raise InvalidInput(what, field=name, value=query.get(name), fix=f"Choose one of {', '.join(known)}.")
    if query["treated"] == query["control"]:
        raise InvalidInput("A variant is compared with itself.", field="control", fix="Choose two different ones.")
    fields = [each["name"] for each in app.domain.describe()["fields"]]
    by = tuple(each for each in (query.get("by") or "",) if each)
    if not set(by) <= set(fields):
        raise InvalidInput(
            f"There is no field {by[0]!r}.", field="by", value=by[0], fix=f"Fields: {', '.join(fields)}."
        )
    metrics = tuple(each for each in (query.get("metric") or "",) if each)
    return Question(query["treated"], query["control"], metrics, by, _days(query.get("days") or ""))


def _days(said: str) -> float | None:
    if not said:
        return None
    try:
        days = float(said)
    except ValueError:
        days = -1.0
    if not 0 < days <= LONGEST:
        raise InvalidInput("These are no days.", field="days", value=said, fix="Write a number of days, such as 7.")
    return days


def _form(app: App, asked: Asked) -> Markup:
    query = asked.query
    fields = [each["name"] for each in app.domain.describe()["fields"] if each["kind"] in GROUPED]
    groups = {"": "nothing", **{each: each for each in fields}}
    signals = {"": "nothing", **{each: each for each in app.domain.reward.signals}}
    return layout.asking(
        asked,
        layout.choice("treated", "People of", [TRIAL, LIVE], query.get("treated", TRIAL)),
        layout.choice("control", "beside people of", [LIVE, HOLDOUT], query.get("control", LIVE)),
        layout.choice("by", "in groups by", groups, query.get("by", "")),
        layout.choice("metric", "and besides the reward", signals, query.get("metric", "")),
        layout.field("days", "on the last days", query.get("days", ""), hint="Empty: since the release began"),
        layout.button("Compare", kind="main"),
        keep=("version", "page"),
        now=False,
    )


def _answer(desk: Desk, asked: Asked, question: Question) -> tuple[Markup, dict[str, Chart]]:
    found = latest(desk, ("experiment", question), AGAIN, partial(experimenting.analysis, desk.app, question))
    if found.failed is not None:
        return layout.status("error", found.failed.why), {}
    if found.result is None:
        since = layout.ago(found.pending.since) if found.pending else Markup("")
        return layout.status("wait", joined(["The two variants are compared; begun ", since, "."])), {}
    analysis: Analysis = found.result
    drawn = effects_chart(analysis)
    tone, word = ANSWERS[analysis.answer]
    rows = [_row(name, each, low, high) for name, each, low, high in effects_of(analysis)]
    columns = ("metric", "treated", "control", "difference", "at every look", "at one planned look")
    parts = [
        layout.verdict_line(tone, analysis.sentences[0], tag("p", told(analysis.primary)), word=word, name="brought"),
        layout.chart(asked, drawn),
        table(f"Effects, {percent(analysis.primary.looks.confidence)} intervals", columns, rows),
        *(say(each) for each in analysis.sentences[2:]),
    ]
    return joined(parts), {drawn.name: drawn}


def effects_of(found: Analysis) -> list[tuple[str, Effect, float, float]]:
    """Everything that was asked, with the ends of the interval that holds at every look."""
    plain = [("reward", found.primary), *((each.guardrail.metric.name, each.effect) for each in found.guardrails)]
    told_first = [(name, each, each.always_low, each.always_high) for name, each in plain]
    together = (*found.secondary, *found.segments)  # their intervals hold together
    return [*told_first, *((each.name, each.effect, each.always_low, each.always_high) for each in together)]


def effects_chart(found: Analysis) -> Chart:
    """The differences with the intervals that hold at every look."""
    shown = [(name, Figure(each.value, low, high)) for name, each, low, high in effects_of(found)]
    known = [(name, each if isfinite(each.low) else Figure(float("nan"), -inf, inf)) for name, each in shown]
    lines = [Line(name, (gain(each),), number == 0) for number, (name, each) in enumerate(known)]
    words = Words("Effects", "The table below has the numbers.", "treated less control")
    picture = forest(words, lines, reference=0.0, labels=150)
    signs = legend([("gain", "surely not 0"), ("unsure", "may be 0")])
    rows = [(name, *each) for name, each in shown]
    caption = f"The {percent(found.primary.looks.confidence)} intervals hold at every look."
    made = Table(("metric", "difference", "from", "to"), rows)
    return Chart("effects", "What the people of the two variants say", picture, made, caption, signs)


def _row(name: str, found: Effect, low: float, high: float) -> tuple[str, ...]:
    if found.refused:
        return (name, "—", "—", "refused", found.refused, "")
    means = (rounded(found.treated.mean, 4), rounded(found.control.mean, 4))
    return (name, *means, f"{found.value:+.4g}", _interval(low, high), _interval(found.low, found.high))


def _interval(low: float, high: float) -> str:
    return f"{low:+.4g} to {high:+.4g}" if isfinite(low) and isfinite(high) else "nothing yet"
