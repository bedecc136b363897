"""What is lost beside always taking the best action, had one known it: the regret, by what exploration tells of each.

Shapes: K stretches of time, T settled decisions.
"""

from __future__ import annotations

from math import nan
from typing import NamedTuple

import numpy as np

from bondhu.dashboard.columns.clusters import Mean, Pairs, clustered, means_of, pairs
from bondhu.dashboard.columns.remembering import remembered
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.types import Floats, Integers

FEWEST = 30.0  # effective decisions with an action, below which nothing is said of it
POSSIBLE = 0.9  # share of the decisions in which an action could be taken, below which it is not known of the others
SURE = 3.0  # standard errors that the share must be below 1


class Regret(NamedTuple):
    """`R_n = sum_t (v - r_t)` with v the value of the best fixed action: negative where people got better than that, as
    a policy that looks at the context can be."""

    time: Floats  # [K] seconds; ends of the stretches
    total: Floats  # [K] regret of all settled decisions until then
    low: Floats  # [K] as the value of the best action is not known exactly
    high: Floats  # [K]
    each: Floats  # [K] regret of a decision of this stretch in the mean; NaN where none is settled
    decisions: Integers  # [K] settled, in this stretch
    best: str  # the action; "" where all are refused
    values: dict[str, Mean]  # by action; all intervals hold together (Bonferroni)
    refused: dict[str, str]  # by action: why nothing is said of it


@remembered
def regret(sheet: Sheet, edges: Floats, confidence: float = 0.95) -> Regret:
    """Regret beside the best fixed action in hindsight (Lattimore & Szepesvári 2020, chapters 4 and 11).

    The value of always taking an action is the mean reward where it was taken, each decision weighted by 1 / p, the
    inverse of the probability with which it was: self-normalised (Swaminathan & Joachims 2015), errors by persons. An
    action with fewer than 30 effective decisions is refused, and one whose weights do not add up to all decisions: in
    some situations it is never taken. The best of several estimates is more likely over- than underestimated.
    """
    rows = np.flatnonzero(np.isfinite(sheet.reward))
    time, reward = sheet.time[rows], sheet.reward[rows].astype(np.float64)
    values, refused = _values(sheet, confidence)
    best = max(values, key=lambda name: values[name].mean, default="")
    known = values[best] if best else Mean(nan, nan, nan, 0, 0)
    ends = np.searchsorted(time, edges)
    decisions = np.diff(ends)
    earned = np.append(0.0, np.cumsum(reward))[ends]
    count, got = ends[1:] - ends[0], earned[1:] - earned[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.diff(earned) / decisions
    total, low, high = (value * count - got for value in known[:3])
    return Regret(edges[1:], total, low, high, known.mean - mean, decisions, best, values, refused)


def _values(sheet: Sheet, confidence: float) -> tuple[dict[str, Mean], dict[str, str]]:
    """The value of each action of which something can be said, and why not of the others."""
    names, weight = [str(each) for each in sheet.action.values], 1 / sheet.probability.astype(np.float64)
    cells = pairs(sheet, sheet.action.codes, len(names))
    found = clustered(cells, sheet.reward, weight)
    effective = np.divide(found.weight**2, found.squares, out=np.zeros(len(names)), where=found.squares > 0)
    share = found.weight / max(len(cells.rows), 1)
    short = 1 - share > SURE * error_of_share(cells, weight, share)
    refused = {}
    for number, name in enumerate(names):
        if effective[number] < FEWEST or found.people[number] < 2:
            refused[name] = f"It is known from {effective[number]:.0f} effective decisions; {FEWEST:.0f} are needed."
        elif share[number] < POSSIBLE and short[number]:
            refused[name] = f"It could be taken in about {100 * share[number]:.0f} % of the decisions only."
    every = 1 - (1 - confidence) / max(len(names) - len(refused), 1)
    means = means_of(found, every)
    return {name: each for name, each in zip(names, means, strict=True) if name not in refused}, refused


def error_of_share(cells: Pairs, weight: Floats, share: Floats) -> Floats:
    """Standard error of `sum w / T` of each action, by persons: those who never had the action count as well. `cells`:
    by action."""
    decisions = np.bincount(cells.person, cells.counts)
    people = int((decisions > 0).sum())
    sums = cells.sums(weight)
    # sum over persons of (w - share n)^2, where n counts all decisions of the person and w is 0 for most actions
    squares = np.bincount(cells.group, sums**2 - 2 * sums * share[cells.group] * decisions[cells.person], cells.size)
    squares = squares + share**2 * float(decisions @ decisions)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0) * people / max(people - 1, 1)) / max(len(cells.rows), 1))
