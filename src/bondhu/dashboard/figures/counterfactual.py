"""What other actions bring: what people in the same situation would earn by each of them, or a refusal.

Shapes: T rows, N settled rows that are like one decision in its first field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import NamedTuple

import numpy as np

from bondhu.dashboard.columns.clusters import Mean, clustered, means_of, pairs
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures.regrets import POSSIBLE, SURE, error_of_share
from bondhu.report.study import Figure
from bondhu.types import Floats, Integers

FEWEST_DECISIONS, FEWEST_PEOPLE = 30, 10  # effective decisions behind a mean, and people, below which nothing is said
CONFIDENCE = 0.95
REFUSED = Figure(nan, nan, nan)


class Brought(NamedTuple):
    """What one action brought to others."""

    action: str
    reward: Figure  # of a decision; NaN: refused. Without an interval where all of them earned the same
    decisions: int
    people: int
    given_up: tuple[str, ...] = ()  # fields in which those decisions were otherwise than this one
    refused: str = ""


def brought(sheet: Sheet, situation: Mapping[str, str], order: Sequence[str], actions: Sequence[str]) -> list[Brought]:
    """What each of these actions would bring to everybody in this situation, `situation` by field as in the sheet.

    The mean of the decisions in which it was taken, each weighted by 1 / p, the inverse of the probability with which
    it was: self-normalised (Swaminathan & Joachims 2015), with errors by persons. Without the weights it would be that
    of those for whom a policy chose the action, and policies look at the fields that are given up.

    `order`: the fields from the one that matters most. Where too few decisions are like this one in all of them, the
    last field is given up, then the one before, but never more than half of them.
    """
    fields = [name for name in order if name in situation and name in sheet.context]
    if not fields:
        why = "No field of the context says which decisions are like this one."
        return [Brought(each, REFUSED, 0, 0, (), why) for each in actions]
    alike = depth(sheet, situation, fields)
    found: dict[str, Brought] = {}
    for kept in range(len(fields), (len(fields) - 1) // 2, -1):
        open_ = [each for each in actions if each not in found or found[each].refused]
        if not open_:
            break
        found |= {each.action: each for each in _at(sheet, fields, alike, kept, open_)}
    return [found[each] for each in actions]


def depth(sheet: Sheet, situation: Mapping[str, str], fields: Sequence[str]) -> Integers:
    """In how many of the fields, counted from the first until one differs, each decision is like this one: `[T]`."""
    found = np.zeros(len(sheet), np.int16)
    for number, name in enumerate(fields):
        found += (found == number) & sheet.context[name].among(situation[name])
    return found


def _at(sheet: Sheet, fields: Sequence[str], alike: Integers, kept: int, actions: Sequence[str]) -> list[Brought]:
    """What these actions brought where so many fields are alike, or why that is not known."""
    names = [str(each) for each in sheet.action.values]
    weight = 1 / sheet.probability.astype(np.float64)
    cells = pairs(sheet, sheet.action.codes, len(names), alike >= kept)
    sides = clustered(cells, sheet.reward, weight)
    effective = np.divide(sides.weight**2, sides.squares, out=np.zeros(len(names)), where=sides.squares > 0)
    share = sides.weight / max(len(cells.rows), 1)
    short = (share < POSSIBLE) & (1 - share > SURE * error_of_share(cells, weight, share))
    means, given = means_of(sides, CONFIDENCE), tuple(fields[kept:])
    same = ", ".join(fields[:kept])
    found = []
    for action in actions:
        if action not in names:
            found.append(Brought(action, REFUSED, 0, 0, given, _few(0, 0.0, 0, same)))
            continue
        at = names.index(action)
        mean, why = means[at], ""
        if effective[at] < FEWEST_DECISIONS or mean.people < FEWEST_PEOPLE:
            why = _few(mean.decisions, float(effective[at]), mean.people, same)
        elif short[at]:
            why = f"With the same {same} it could be taken in about {100 * share[at]:.0f} % of the decisions only."
        reward = _figure(mean, sheet.reward[cells.rows[sheet.action.codes[cells.rows] == at]])
        found.append(Brought(action, REFUSED if why else reward, mean.decisions, mean.people, given, why))
    return found


def _figure(mean: Mean, rewards: Floats) -> Figure:
    """The mean with its interval; without one where all are the same, which does not make it certain."""
    if len(rewards) and rewards.min() == rewards.max():
        return Figure(float(rewards[0]), nan, nan)
    return Figure(mean.mean, mean.low, mean.high)


def _few(decisions: int, effective: float, people: int, same: str) -> str:
    """Why too few decisions say nothing of an action."""
    counted = f"{decisions:,} settled decision{'' if decisions == 1 else 's'} of {people:,} "
    worth = f", worth {effective:.0f} even ones," if decisions and round(effective) < decisions else ""
    like = f"{counted}{'person' if people == 1 else 'people'}{worth} with the same {same}"
    return f"{like}: fewer than {FEWEST_DECISIONS} decisions of {FEWEST_PEOPLE} people say nothing sure."
