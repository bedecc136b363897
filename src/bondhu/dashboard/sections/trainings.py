"""Trainings, drawn: the table of runs, how far learning has come from version to version, and two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from bondhu.dashboard import layout
from bondhu.dashboard.charts.lines import Drawn, Mark, Series, lines
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.figures.runs import Difference, Run, compared, metrics_of
from bondhu.dashboard.page import Asked, Chart
from bondhu.report.layout import say
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.words import NOTHING, rounded

SHOWN = 20  # runs in the table
LONGEST = 90  # letters of a reason in it
TOLD = ("completed", "added")  # statuses that made a version
SAYS = {  # what metrics mean that tables of values have
    "largest_value": "The largest value that any action has in any state (Q); it should level off.",
    "states": "States of which anything is known.",
    "cells": "Pairs of state and action of which anything is known.",
    "td_error": "How far each new reward was from what was expected (temporal difference); it should fall.",
    "reward": "Mean reward of the decisions that were learned from.",
    "rounds": "Sessions that were learned from and had truly ended.",
    "interactions": "Settled decisions that were learned from.",
}


def growth(asked: Asked, found: Sequence[Run], marks: Sequence[Mark]) -> tuple[Markup, Chart | None]:
    """One metric of all versions, which the address chooses."""
    names = metrics_of(found)
    if not names:
        return layout.status("empty", "No version has metrics yet: the first training brings them."), None
    chosen = asked.query.get("metric", "")
    chosen = chosen if chosen in names else names[0]
    trained = [run for run in found if run.status == "completed"] or found
    made = sorted((run for run in trained if run.version and chosen in run.metrics), key=lambda run: run.time)
    at = np.array([run.time for run in made])
    value = np.array([run.metrics[chosen] for run in made])
    series = Series(chosen, at, value, tells=[f"{run.version} ({run.learner or 'learner unknown'})" for run in made])
    caption = SAYS.get(chosen, "As the learner reports it after each training.")
    about = About("growth", f"{chosen.replace('_', ' ')} from version to version", caption)
    form = layout.asking(
        asked,
        layout.choice("metric", "Metric", {name: name.replace("_", " ") for name in names}, chosen),
        layout.button("Show", kind="unscripted"),
        keep=_others(asked, "metric"),
    )
    chart = lines(about, [series], marks, Drawn(chosen.replace("_", " "), height=150))
    return joined([form, layout.answer("growth-answer", layout.chart(asked, chart))]), chart


def _others(asked: Asked, *names: str) -> list[str]:
    """What the address asks of other parts of the view."""
    return [name for name in asked.query if name not in (*names, "csv")]


def table(asked: Asked, found: Sequence[Run], now: float) -> Markup:
    """The runs, newest first."""
    if not found:
        why = "Nothing was trained yet."
        return layout.status("empty", why, say("Train a first version: `bondhu train`, or Train now under Health."))
    columns = ("when", "came to", "version", "learner", "decisions", "people", "reward", "seconds", "verdict", "why")
    rows = [_row(asked, run, now) for run in found[:SHOWN]]
    made = layout.table("Trainings and versions, newest first", columns, rows, stacked=True)
    more = [say(f"{len(found) - SHOWN} older ones are not shown.", "note")] if len(found) > SHOWN else []
    return joined([made, *more])


def _row(asked: Asked, run: Run, now: float) -> tuple[str, ...]:
    tones = {"completed": "promote", "failed": "refuse"}
    verdict = layout.badge(run.decision, run.decision) if run.decision else Markup(NOTHING)
    why = short(run.problem or " ".join(run.reasons[-1:]))  # the one that it came down to; all of them under Releases
    return (
        layout.ago(run.time, now),
        layout.badge(run.status, tones.get(run.status, "plain")),
        layout.link(layout.code(run.version), f"{asked.link(one=run.version)}#compare") if run.version else NOTHING,
        run.learner or NOTHING,
        f"{run.rows:,}",
        f"{run.users:,}" if run.users else NOTHING,
        rounded(run.reward),
        f"{run.seconds:.3g}" if isfinite(run.seconds) else NOTHING,
        verdict,
        why or NOTHING,
    )


def short(text: str) -> str:
    """As much of a sentence as a table has room for."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(' ')[0]} …"


def comparison(asked: Asked, found: Sequence[Run]) -> Markup:
    """Two runs side by side; the address chooses them, else the two newest that made a version."""
    made = {run.name: run for status in TOLD for run in found if run.status == status}
    if len(made) < 2:
        return layout.status("empty", "There is only one version so far, or none: a comparison takes two.")
    newest = list(made)
    one = asked.query.get("one", "") if asked.query.get("one", "") in made else newest[0]
    rest = [name for name in newest if name != one]
    other = asked.query.get("other", "") if asked.query.get("other", "") in rest else _parent(one, rest)
    form = layout.asking(
        asked,
        layout.choice("one", "One", newest, one),
        layout.choice("other", "The other", newest, other),
        layout.button("Compare", kind="unscripted"),
        keep=_others(asked, "one", "other"),
    )
    beside = compared(made[one], made[other])
    parts = {about: _beside(about.capitalize(), rows, (one, other)) for about, rows in beside.items()}
    differ = sum(row.differs for rows in beside.values() for row in rows)
    note = say(f"{differ} thing{'' if differ == 1 else 's'} differ; they are marked.", "note")
    left = tag("div", parts["training"], parts["metrics"])
    return joined([form, layout.answer("compare-answer", note, layout.row(left, parts["hyper-parameters"]))])


def _parent(one: str, rest: Sequence[str]) -> str:
    """The newest of the older ones, as names begin with the time; else the newest."""
    return next((name for name in rest if name < one), rest[0])


def _beside(about: str, rows: Sequence[Difference], names: tuple[str, str]) -> Markup:
    if not rows:
        return Markup("")
    head = [tag("th", about, scope="col"), *(tag("th", name, scope="col", class_="number") for name in names)]
    body = [
        tag(
            "tr",
            tag("th", row.about.replace("_", " "), *_explained(row.about), scope="row"),
            *(tag("td", _said(value), class_="number") for value in (row.one, row.other)),
            class_="differs" if row.differs else "same",
        )
        for row in rows
    ]
    caption = tag("caption", f"{about} of both", class_="aloud")
    made = tag("table", caption, tag("thead", tag("tr", *head)), tag("tbody", *body), class_="beside")
    return tag("div", made, class_="scroll", role="region", aria_label=f"{about} of both", tabindex=0)


def _explained(metric: str) -> list[Markup]:
    return [tag("small", SAYS[metric], class_="explained")] if metric in SAYS else []


def _said(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool | str | Mapping):
        return str(value)
    if isinstance(value, Sequence):
        return ", ".join(map(_said, value))
    return rounded(float(value), 4) if isfinite(float(value)) else NOTHING
