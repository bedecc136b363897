"""How late feedback comes, beside the time that is waited for it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bondhu.dashboard.charts.bars import Groups, Row, bars
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.page import Chart
from bondhu.report.words import percent
from bondhu.types import Floats

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0  # seconds
EDGES = (1.0, 10.0, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 28 * DAY)  # seconds
UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1.0, "s"))
SHARES = (0.5, 0.9, 0.99)


def heard_delays(sheet: Sheet) -> Floats:
    """Seconds until the first feedback in time, of the decisions that have some."""
    delays: Floats = sheet.delay[np.isfinite(sheet.delay)]
    return delays


def delay_chart(sheet: Sheet, wait: float) -> Chart | None:
    """How many of the first feedbacks come in which stretch of time, up to the `wait` in seconds; None without any."""
    delays = heard_delays(sheet)
    if not len(delays):
        return None
    edges = [0.0, *(each for each in EDGES if each < wait), wait]
    counts = np.histogram(np.clip(delays, 0.0, wait), edges)[0]
    shares = counts / len(delays)
    rows = [
        Row(f"up to {length(high)}", [share], tip=f"{length(low)} to {length(high)}\n{count:,} decisions")
        for (low, high), share, count in zip(pairwise(edges), shares.tolist(), counts.tolist(), strict=True)
    ]
    title = "Time until a decision is heard of"
    caption = f"The first feedback in time of {len(delays):,} decisions; each bar begins where the one above it ends."
    about = About("delays", title, caption)
    return bars(about, rows, Groups(["first feedback"], "share of the decisions that were heard of", shares=True))


def told_of_delays(sheet: Sheet, wait: float) -> str:
    """The quantiles in a sentence, beside the wait."""
    delays = heard_delays(sheet)
    quantiles = np.quantile(delays, SHARES).tolist()
    said = ", ".join(f"{percent(share)} within {length(each)}" for share, each in zip(SHARES, quantiles, strict=True))
    settled = int(sheet.settled.sum())
    silent = (
        f" Of {settled:,} settled decisions nobody said anything of {percent(1 - _heard(sheet))}." if settled else ""
    )
    return f"Of what is heard in time, {said} of the decision; the wait is {length(wait)} ([reward] wait).{silent}"


def _heard(sheet: Sheet) -> float:
    """Share of the settled decisions that were heard of in time."""
    return float(sheet.heard[sheet.settled].mean())


def length(seconds: float) -> str:
    """A length of time, short."""
    size, unit = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    return f"{seconds / size:.3g} {unit}"
