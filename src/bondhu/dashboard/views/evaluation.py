"""Is one version better than another on the log, how sure is that, and for whom is it worse?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import inf

import numpy as np

from bondhu import studying
from bondhu.app import App
from bondhu.dashboard import layout
from bondhu.dashboard.columns.recurring import Latest, latest
from bondhu.dashboard.figures.runs import verdicts
from bondhu.dashboard.page import DASHBOARD, Asked, Chart, Desk, Page, Table
from bondhu.errors import BondhuError, InvalidInput
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE
from bondhu.report.evidence import the_log
from bondhu.report.layout import Drawn
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.page import about, small_print, verdict
from bondhu.report.study import Curve, Group, Study
from bondhu.report.sure import how_sure
from bondhu.report.winners import who
from bondhu.report.words import numbers
from bondhu.train.window import DAY, Window

TITLE = "Evaluation"
DAYS = (1, 7, 14, 28, 90)  # that can be chosen: each is an evaluation of its own, which takes a while
AGAIN = 3600.0  # seconds after which an evaluation that somebody looks at is made again
ALL = "all"  # of the log
NAMED = 5  # groups in a sentence
CORNERS = 300  # of a distribution function that is drawn: a page is no place for a million


@dataclass(frozen=True)
class Question:
    """Which two versions are compared, on how much of the log."""

    version: str
    against: str
    days: float  # infinite: all of the log

    def __post_init__(self) -> None:
        if self.version == self.against:
            what = f"{self.version!r} is compared with itself."
            raise InvalidInput(what, field="against", value=self.against, fix="Choose two different versions.")


def view(desk: Desk, asked: Asked) -> Page:
    """The page."""
    app = desk.app
    if not app.versions():
        return Page(TITLE, [_nothing_yet(asked)])
    try:
        question = asked_for(app, asked)
    except BondhuError as error:
        return Page(TITLE, [_form(app, asked, None), layout.status("error", str(error))], status=error.status)
    key = ("evaluation", question)
    found = latest(desk, key, AGAIN, partial(studied, app, question))
    charts: dict[str, Chart] = {}
    parts = [_state(asked, question, found)]
    if found.result is not None:
        parts += _study(asked, found.result, charts)
    return Page(TITLE, [_form(app, asked, question), tag("div", *parts, id="study", data_live="")], charts)


def asked_for(app: App, asked: Asked) -> Question:
    """What the address asks; raises InvalidInput. Without words: `of_interest` against the one it would replace, on the
    days that a training reads."""
    wanted = asked.query.get("version") or None
    version = BASELINE if wanted == BASELINE else app.candidate(wanted or of_interest(app))
    rival = asked.query.get("against") or app.opponent(version)
    if rival != BASELINE:
        app.candidate(rival)
    said, offered = asked.query.get("days") or f"{app.settings.training.days_back:g}", spans(app)
    if said not in offered:
        what = "The log is compared over the days that are listed, and these are not."
        raise InvalidInput(what, field="days", value=said, fix=f"Choose one of {', '.join(offered)}.")
    return Question(version, rival, offered[said])


def spans(app: App) -> dict[str, float]:
    """How much of the log can be read, in days, by what an address says of it."""
    days = sorted({float(app.settings.training.days_back), *map(float, DAYS)})
    return {**{f"{each:g}": each for each in days}, ALL: inf}


def of_interest(app: App) -> str | None:
    """The version under release; else the newest candidate that was not refused; else the live one. None: the newest
    of all, where there is none of them."""
    events = app.events()
    now, said = lifecycle.traffic(events), verdicts(events)
    if now.step is not None:
        return now.step.version
    open_ = [
        each.version
        for each in lifecycle.versions(events)
        if each.status == "candidate"
        and (each.version not in said or said[each.version].figures.get("decision") != "refuse")
    ]
    return open_[-1] if open_ else now.live


def studied(app: App, question: Question) -> Study:
    """The study; nothing is kept in the history, since somebody only looks."""
    now = app.now()
    window = Window(-inf if question.days == inf else now - question.days * DAY, now)
    judgement = app.evaluate(question.version, against=question.against, window=window, note=False)
    found = studying.study(app, question.version, against=question.against, window=window, judgement=judgement)
    return replace(found, curves=tuple(map(thinned, found.curves)))


def thinned(curve: Curve) -> Curve:
    """With a few hundred of its values, evenly among them; each share is still the true one."""
    if len(curve.values) <= CORNERS:
        return curve
    kept = np.unique(np.linspace(0, len(curve.values) - 1, CORNERS).astype(np.int64))
    parts = {name: getattr(curve, name)[kept] for name in ("values", "cdf", "low", "high")}
    return curve._replace(**parts)


def _nothing_yet(asked: Asked) -> Markup:
    sentence = "There is no version yet that could be compared with the rule. Trainings make them."
    return layout.status("empty", sentence, layout.act_button(asked, "train", "Train now", kind="main"))


def _form(app: App, asked: Asked, question: Question | None) -> Markup:
    """Which two versions, and how much of the log."""
    names = {each: layout.called(each) for each in (*reversed(app.versions()), BASELINE)}
    chosen = asked.query.get("days") or f"{app.settings.training.days_back:g}"
    offered = {each: each for each in spans(app)} | {ALL: "all of the log"}
    version, rival = (question.version, question.against) if question else ("", "")
    return layout.asking(
        asked,
        layout.choice("version", "Is this version", names, version),
        layout.choice("against", "better than", names, rival),
        layout.choice("days", "on the last days", offered, chosen),
        layout.button("Compare", kind="main"),
        now=False,
    )


def _state(asked: Asked, question: Question, found: Latest) -> Markup:
    """What is under way, and what came to nothing."""
    parts = []
    if found.pending is not None:
        names = f"{layout.called(question.version)} is compared with {layout.called(question.against)}"
        since = layout.ago(found.pending.since)
        older = " Meanwhile, this is what was found before." if found.result is not None else ""
        told = joined([f"{names}; begun ", since, f". Every estimator is asked, which takes a while.{older}"])
        parts.append(layout.status("wait", told))
    if found.failed is not None:
        longer = layout.link("Read all of the log", asked.link(days=ALL))
        parts.append(layout.status("error", found.failed.why, longer))
    return joined(parts)


def _study(asked: Asked, study: Study, charts: dict[str, Chart]) -> list[Markup]:
    """All that the page of an evaluation says, with charts that can be taken along."""

    def show(drawn: Drawn) -> Markup:
        legend = Markup("") if drawn.legend is None else drawn.legend
        table = Table(drawn.columns, drawn.rows)
        made = Chart(drawn.name, drawn.title, drawn.picture, table, drawn.caption, legend)
        charts[made.name] = made
        return layout.chart(asked, made)

    history = layout.link("those that were kept", asked.link(f"{DASHBOARD}/releases", version=study.candidate))
    study, write = for_people(study), numbers([study.by_gate])
    on = joined(
        [f"{about(study)}. Made ", layout.when(study.moment), "; made again once an hour while somebody looks."]
    )
    as_it_is = (
        "Earns is what each policy would earn by itself, without exploration, for people kept back from training; the "
        "overview's reward is that of decisions as they were served, exploration included."
    )
    kept = joined(["Looking keeps no verdict in the history; Releases has ", history, "."])
    return [
        tag("p", on, class_="note"),
        verdict(study, write),
        tag("p", tag("b", "For whom is it worse? "), for_whom(study), id="worse", class_="said"),
        tag("p", as_it_is, class_="note"),
        tag("p", kept, class_="note"),
        *([_too_short(asked)] if not study.rows else []),
        how_sure(study, write, show),
        the_log(study, show),
        who(study, write, show),
        small_print(study),
    ]


def for_people(study: Study) -> Study:
    """The same with the rule called so."""
    return replace(
        study,
        candidate=layout.called(study.candidate),
        against=layout.called(study.against),
        curves=tuple(each._replace(policy=layout.called(each.policy)) for each in study.curves),
        weights=tuple(each._replace(policy=layout.called(each.policy)) for each in study.weights),
        support=tuple(each._replace(policy=layout.called(each.policy)) for each in study.support),
    )


def _too_short(asked: Asked) -> Markup:
    sentence = "In these days there is no settled decision of anybody who was kept back from training."
    return layout.status("empty", sentence, layout.link("Read all of the log", asked.link(days=ALL)))


def for_whom(study: Study) -> str:
    """The groups that lose by the candidate: surely, perhaps, or none."""
    if not study.groups:
        return "There is no advantage that could be told apart by groups."
    surely = [each for each in study.groups if each.advantage.high < 0]
    perhaps = [each for each in study.groups if each.advantage.value < 0 <= each.advantage.high]
    if surely:
        return f"Surely for those where {_names(surely)}."
    if perhaps:
        return f"For nobody surely. It may be for those where {_names(perhaps)}: their intervals do not rule out 0."
    return f"For none of the {study.all_groups:,} groups that were looked at, as far as the estimates go."


def _names(groups: list[Group]) -> str:
    """The worst of them."""
    worst = sorted(groups, key=lambda each: each.advantage.value)
    said = "; ".join(f"{each.name} ({each.advantage.value:+.3g}, {each.rows:,} decisions)" for each in worst[:NAMED])
    return said if len(worst) <= NAMED else f"{said}; and {len(worst) - NAMED} more groups"
