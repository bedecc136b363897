"""Those who meet what was learned beside the holdout, who always meet the rule: on the whole, from day to day, and for
whom it is worse."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, nan
from typing import NamedTuple

import numpy as np

from bondhu.dashboard.charts.lines import Drawn, Mark, Series, lines
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.columns.remembering import remembered
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures import series
from bondhu.dashboard.figures.answers import Beside, rule_left
from bondhu.dashboard.figures.differences import SIDES, Course, Segment, against_rule, segments
from bondhu.dashboard.page import Chart
from bondhu.experiments.effects import Looks
from bondhu.ports import Event
from bondhu.registry import lifecycle
from bondhu.registry.share import TRIAL
from bondhu.report.study import Figure
from bondhu.report.words import moment

LOOKS = 40  # at most: a look at the end of each stretch
VALUES = 24  # of a field, beyond which nobody is told apart by it
MOVES = ("promoted", "rolled_back", "stopped", "shadowed", "tried", "withdrawn")  # what changes who decides for whom


class Span(NamedTuple):
    """A time in which people were given what was learned or the rule by one and the same draw."""

    start: float  # seconds
    end: float  # seconds; infinite while it goes on
    treated: tuple[str, ...]  # variants that meet what was learned


class Worse(NamedTuple):
    """People for whom it is surely worse."""

    field: str
    segment: Segment


class Compared(NamedTuple):
    """For whom it is worse, as far as anybody can tell."""

    losing: tuple[Worse, ...]  # surely, worst first
    told: int  # segments in which enough people were heard on both sides
    thin: int  # and in which they were not
    reach: tuple[float, float]  # the loss that would have shown in a segment: the smallest and the largest; NaN: none


@remembered
def learned(sheet: Sheet, start: float, end: float = inf) -> Sheet:
    """The decisions of this time; the same object where that is asked again."""
    return sheet.between(start, end)


def released(events: Sequence[Event]) -> Span | None:
    """The last time in which versions decided for people; None where there was none.

    While none is live only those on trial met what was learned, and their share changed with each step: it began with
    the present one. Once a version is live it is everybody outside of the holdout.
    """
    moves = [each for each in events if each.kind in MOVES]
    for count in range(len(moves), 0, -1):
        until = moves[:count]
        now = lifecycle.traffic(until)
        end = inf if count == len(moves) else moves[count].time
        if now.live is not None:
            return Span(rule_left(until), end, SIDES[0])
        if now.step is not None and now.step.share > 0:
            return Span(now.step.since, end, (TRIAL,))
    return None


def course(sheet: Sheet, span: Span | None) -> Course | None:
    """The difference in that time; None where there are no decisions in it."""
    part = None if span is None else learned(sheet, span.start, span.end)
    if span is None or part is None or not len(part):
        return None
    return against_rule(part, series.bins(*series.window(part), LOOKS).edges, span.treated)


def beside(found: Course | None, span: Span | None) -> Beside | None:
    """The last look; None where there is nobody to compare."""
    if span is None or found is None or found.refused or not len(found.value):
        return None
    difference = Figure(float(found.value[-1]), float(found.low[-1]), float(found.high[-1]))
    people = found.people[-1].tolist()
    return Beside(difference, people[0], people[1], span.start, nan if found.since is None else found.since, span.end)


def difference_chart(found: Course, span: Span, marks: Sequence[Mark]) -> Chart:
    """How the difference became known."""
    there = np.isfinite(found.value) & np.isfinite(found.low) & np.isfinite(found.high)
    value, low, high = (np.where(there, each, np.nan) for each in (found.value, found.low, found.high))
    tells = [f"{first:,} people, {second:,} of the holdout" for first, second in found.people.tolist()]
    who = "on trial" if span.treated == (TRIAL,) else "who meet what was learned"
    ended = isfinite(span.end)
    over = f" It ends {moment(span.end)}, when the rule was put back for everybody." if ended else ""
    caption = (
        f"Reward of a decision for people {who}, less that of the holdout, by all that was settled until then. The "
        f"95 % band holds at every look.{over}"
    )
    about = About("difference", "More than the rule earned" if ended else "More than the rule earns", caption)
    drawn = Drawn("reward", reference=0.0)
    return lines(about, [Series("difference", found.time, value, low, high, "one", tells)], marks, drawn)


def worse(sheet: Sheet, fields: Sequence[str], span: Span, confidence: float = 0.95) -> Compared:
    """Segments that surely earn less than they would under the rule. All intervals hold together (Bonferroni), and at
    every look: the sheet grows, and the page is looked at again and again."""
    part = learned(sheet, span.start, span.end)
    known = [name for name in fields if name in part.context and 1 < len(part.context[name].values) <= VALUES]
    number = sum(len(part.context[name].values) for name in known)  # the same at every look, whoever was met so far
    looks = Looks(confidence=1 - (1 - confidence) / max(number, 1))
    seen = [Worse(name, each) for name in known for each in segments(part, name, span.treated, looks=looks)]
    told = [found.segment for found in seen if found.segment.told]
    losing = sorted((found for found in seen if found.segment.high < 0), key=lambda found: found.segment.difference)
    reach = [each.high - each.difference for each in told]
    ends = (min(reach), max(reach)) if reach else (nan, nan)
    return Compared(tuple(losing), len(told), len(seen) - len(told), ends)
