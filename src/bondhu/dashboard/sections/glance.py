"""The figures of the first page: who decides, how much comes in, what it earns, what is outstanding, what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

from bondhu.dashboard import layout
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures import series
from bondhu.dashboard.figures.wrong import Trouble
from bondhu.dashboard.layout import Card
from bondhu.dashboard.page import DASHBOARD, Asked
from bondhu.registry.lifecycle import BASELINE, Traffic
from bondhu.report.markup import joined
from bondhu.report.study import Figure
from bondhu.report.words import NOTHING, percent, rounded

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0  # seconds


class Stands(NamedTuple):
    """How things stand."""

    traffic: Traffic  # who decides
    since: float  # seconds; when what is in force began to decide; NaN: it always did
    wait: float  # seconds for which feedback is waited for


def cards(asked: Asked, sheet: Sheet, now: float, stands: Stands, found: Sequence[Trouble]) -> list[Card]:
    """What is to be seen at a glance."""
    traffic, wait = stands.traffic, stands.wait
    return [
        _live(asked, sheet, stands),
        *_rates(sheet, now),
        _earned(asked, sheet, traffic),
        _outstanding(sheet, wait, now),
        _alerts(asked, found),
    ]


def _live(asked: Asked, sheet: Sheet, stands: Stands) -> Card:
    """What is in force, and its share of what was decided in the last day with decisions, or since it is in force."""
    now, day = stands.traffic, float(sheet.time[-1]) - DAY
    young = stands.since > day  # not where it always was
    last = sheet.between(stands.since if young else day, np.inf)
    shown, where = layout.code(now.live) if now.live else "the rule", asked.link(f"{DASHBOARD}/releases")
    if not len(last):
        return Card("live", shown, "nobody has asked for a decision since it is in force", where)
    share = percent(float(last.version.among(now.live or BASELINE).mean()))
    told = "decisions since it is in force" if young else "last day's decisions"
    return Card("live", shown, f"made {share} of the {told}", where)


def _rates(sheet: Sheet, now: float) -> list[Card]:
    """How much came in a minute in the last whole hour, or since the first decision where that is less ago."""
    end = now - now % MINUTE
    first = float(sheet.time[0])
    young = end - HOUR < first < end - MINUTE
    start = first - first % MINUTE if young else end - HOUR
    since = "since the first one" if young else "in the last hour"
    found = series.rates(sheet, np.array([start, end]), end)
    newest = layout.ago(float(sheet.time[-1]), now)
    heard = max(sheet.feedback, default=None)
    spoken = layout.ago(heard * MINUTE, now) if heard is not None else NOTHING
    return [
        Card("decisions a minute", rounded(float(found.decisions[0])), joined([f"{since}; newest ", newest])),
        Card("feedback a minute", rounded(float(found.feedback[0])), joined([f"{since}; newest ", spoken])),
    ]


def _earned(asked: Asked, sheet: Sheet, now: Traffic) -> Card:
    """What the live version earns."""
    name = now.live or BASELINE
    mean = series.overall(sheet, "version").get(name)
    where = asked.link(f"{DASHBOARD}/learning")
    if mean is None or not isfinite(mean.mean):
        return Card("reward of a decision", NOTHING, "nothing of the live version is settled yet", where)
    said, between = layout.within(Figure(mean.mean, mean.low, mean.high))
    sure = f"{between}, {mean.decisions:,} settled decisions" if between else f"{mean.decisions:,} settled decisions"
    return Card("reward of a decision", said, f"{sure}, as served: exploration included", where)


def _outstanding(sheet: Sheet, wait: float, now: float) -> Card:
    found = series.outstanding(sheet, wait, now)
    said = rounded(found.reward) if isfinite(found.reward) else NOTHING
    return Card("outstanding reward", said, f"expected for {found.decisions:,} decisions not settled yet")


def _alerts(asked: Asked, found: Sequence[Trouble]) -> Card:
    """How much is wrong, and how badly."""
    serious = [each for each in found if each.severity != "info"]
    tone = "" if not serious else "refuse" if any(each.severity == "critical" for each in serious) else "wait"
    says = "nothing is known to be wrong" if not serious else serious[0].what
    return Card("alerts", f"{len(serious)}", says, f"{asked.link('/')}#wrong", tone or "promote")
