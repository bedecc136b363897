"""The course of things over time, drawn: rewards of each version, how much comes in, what is tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bondhu.dashboard.charts.lines import Drawn, Mark, Series, lines
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures import series
from bondhu.dashboard.figures.regrets import Regret
from bondhu.dashboard.figures.series import Track
from bondhu.dashboard.layout import status, when
from bondhu.dashboard.page import Chart, Table
from bondhu.ports import Event
from bondhu.registry.lifecycle import BASELINE, Traffic
from bondhu.report.layout import refusals
from bondhu.report.markup import Markup, joined
from bondhu.report.pictures import Line, Words, forest
from bondhu.report.pictures import Mark as Dot
from bondhu.report.study import Figure
from bondhu.types import Floats

DAY = 86_400.0  # seconds
MINUTE = 60.0
RULE = "the rule"
SHOWN = 5  # lines of one picture
WINDOWS: Mapping[str, str] = {"all": "everything", "90": "90 days", "28": "28 days", "7": "7 days", "1": "24 hours"}
FIRST = "all"
MOVES = {"promoted": "live: {0}", "rolled_back": "back to {0}", "stopped": "stopped", "tried": "{0} at {1:.0%}"}


class Stretch(NamedTuple):
    """What is looked at."""

    sheet: Sheet  # the decisions of it
    edges: Floats  # [K + 1] seconds
    chosen: str  # a key of WINDOWS

    @property
    def middles(self) -> Floats:
        """[K] seconds."""
        middles: Floats = (self.edges[1:] + self.edges[:-1]) / 2
        return middles


def stretch(sheet: Sheet, chosen: str, now: float) -> Stretch:
    """The decisions of the last days and the stretches that they are told in; of a sheet that holds any."""
    chosen = chosen if chosen in WINDOWS else FIRST
    start, end = series.window(sheet)
    if chosen != "all":
        start = max(start, now - float(chosen) * DAY)
    length = series.bins(min(start, end), end, MOST)
    return Stretch(sheet, length.edges, chosen)


MOST = 60  # stretches


def marks(events: Sequence[Event], kinds: Sequence[str] = ("promoted", "rolled_back", "stopped")) -> list[Mark]:
    """What happened to versions, as it is written in pictures."""
    found = []
    for each in events:
        if each.kind in kinds:
            name = RULE if each.version == BASELINE else each.version
            found.append(Mark(each.time, MOVES[each.kind].format(name, each.share or 0.0)))
    return found


def reward_chart(of: Stretch, events: Sequence[Event], now: Traffic) -> Chart:
    """The reward of a decision under each version."""
    found = series.reward_over_time(of.sheet, of.edges, "version")
    names = shown(found, now)
    drawn = [_track(RULE if name == BASELINE else name, found[name], of, kinds(now).get(name, "")) for name in names]
    left = len(found) - len(names)
    more = f" {left} other version{'s are' if left > 1 else ' is'} not drawn." if left else ""
    caption = (
        f"Mean of settled decisions as they were served, exploration included, with 95 % intervals, {told(of)} at a "
        f"time.{more}"
    )
    return lines(
        About("reward", "Reward of a decision, by who decided", caption), drawn, marks(events), Drawn("reward")
    )


def settled(of: Stretch) -> bool:
    """Whether there is any reward to draw."""
    return bool(np.isfinite(of.sheet.between(of.edges[0], of.edges[-1]).reward).any())


def unsettled(of: Stretch, wait: float) -> Markup:
    """Said where there is none. `wait`: seconds after which a decision is settled."""
    here = of.sheet.between(of.edges[0], of.edges[-1])
    if not len(here):
        return status("empty", "No decision was made in this time.")
    when_ = when(float(here.time[0]) + wait)
    return status("wait", joined(["Nothing is settled yet; the first reward settles at ", when_, "."]))


def kinds(now: Traffic) -> dict[str, str]:
    """Which line is whose, on every page alike: the live version, the rule, the one on trial."""
    trial = {} if now.step is None else {now.step.version: "three"}
    return {**trial, BASELINE: "other", **({now.live: "one"} if now.live else {})}


def shown(found: Mapping[str, Track], now: Traffic) -> list[str]:
    """The lines worth drawing, in order of first decision: those that decide now, the rule, then those that decided
    most."""
    special = [name for name in kinds(now) if name in found]
    rest = sorted((name for name in found if name not in special), key=lambda name: -int(found[name].decisions.sum()))
    kept = {*special, *rest[: SHOWN - len(special)]}
    return [name for name in found if name in kept]


def _track(name: str, of: Track, over: Stretch, kind: str) -> Series:
    tells = [
        f"{rows:,} decisions of {people:,} people"
        for rows, people in zip(of.decisions.tolist(), of.people.tolist(), strict=True)
    ]
    return Series(name, over.middles, of.mean, of.low, of.high, kind, tells)


def rates_chart(of: Stretch, now: float) -> Chart:
    """Decisions and feedback a minute."""
    found = series.rates(of.sheet, of.edges, now - now % MINUTE)
    drawn = [
        Series("decisions", of.middles, found.decisions, kind="one"),
        Series("feedback", of.middles, found.feedback, kind="three"),
    ]
    about = About("rates", "Decisions and feedback a minute", f"Means of {told(of)}.")
    return lines(about, drawn, (), Drawn("a minute", zero=True, height=130))


def exploration_chart(of: Stretch, events: Sequence[Event]) -> Chart:
    """The share of random decisions."""
    value = series.exploration_rate(of.sheet, of.edges)
    about = About("exploration", "Exploration", f"Share of decisions drawn at random, means of {told(of)}.")
    drawn = Drawn("of decisions", shares=True, zero=True, height=130)
    return lines(about, [Series("exploration", of.middles, value)], marks(events), drawn)


def shares_chart(of: Stretch, events: Sequence[Event]) -> Chart:
    """Which actions are taken; those that are taken most, and all others together."""
    found = series.taken(of.sheet, of.edges)
    total = np.nansum(found.share, axis=1)
    order = np.argsort(-total, kind="stable").tolist()
    most = order if len(order) <= SHOWN else order[: SHOWN - 1]
    drawn = [
        Series(found.actions[row], of.middles, found.share[row], kind=kind)
        for row, kind in zip(most, ORDER, strict=False)
    ]
    if len(order) > SHOWN:
        rest = found.share[order[SHOWN - 1 :]].sum(axis=0)
        drawn.append(Series(f"{len(order) - SHOWN + 1} others", of.middles, rest, kind=ORDER[-1]))
    caption = f"Parts of all decisions, by {told(of)}."
    about = About("actions", "Which actions are taken", caption)
    return lines(about, drawn, marks(events), Drawn("of decisions", shares=True, zero=True))


ORDER = ("one", "other", "three", "four", "five")  # of lines that stand for nothing else


def told(of: Stretch) -> str:
    """The length of one stretch."""
    length = float(of.edges[1] - of.edges[0])
    for size, name in ((7 * DAY, "week"), (DAY, "day"), (3600.0, "hour"), (MINUTE, "minute")):
        if length >= size:
            number = round(length / size)
            return f"{number} {name}s" if number > 1 else f"a {name}" if name != "hour" else "an hour"
    return f"{length:g} seconds"


def regret_chart(found: Regret, marks: Sequence[Mark]) -> Chart:
    """What was lost beside the best fixed action so far."""
    tells = [f"{number:,} settled decisions in it" for number in found.decisions.tolist()]
    caption = (
        f"What always taking {found.best} would have earned more, of all decisions until then; below 0, what was done "
        "earned more than any single action could. The band is the doubt about that action's value."
    )
    line = Series("regret", found.time, found.total, found.low, found.high, "one", tells)
    return lines(About("regret", "Regret", caption), [line], marks, Drawn("reward, in all", reference=0.0))


def worth_chart(found: Regret, most: int = 10) -> Chart:
    """What each action would earn if it were always taken, best first."""
    order = sorted(found.values, key=lambda name: -found.values[name].mean)
    figures = {name: Figure(*found.values[name][:3]) for name in order}
    drawn = [Line(name, (Dot("candidate", figures[name]),), name == found.best) for name in order[:most]]
    left = len(order) - len(drawn)
    words = Words("What each action is worth", "The table has the numbers.", "reward of a decision")
    more = f" {left} lower ones are in the table alone." if left > 0 else ""
    caption = f"If it were always taken, by what exploration tells; intervals hold together.{more}"
    rows = [[name, *found.values[name]] for name in order]
    table = Table(["action", "reward", "low", "high", "people", "decisions"], rows)
    return Chart("worth", "What each action is worth", forest(words, drawn, labels=165), table, caption)


def refused(found: Regret) -> Markup:
    """The actions of which nothing can be said, and why."""
    return refusals([(name, "", why) for name, why in found.refused.items()])
