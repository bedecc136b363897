"""Sample-ratio mismatch: whether as many users came in each variant as were assigned to it.

Where not, users of one variant were lost, doubled or moved, and what is left of the two is not alike any more: then no
effect is to be believed, however sure it looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import NamedTuple

import numpy as np

from bondhu.equations.mismatch import split_p, split_path
from bondhu.experiments.exposures import Exposures, steps_of
from bondhu.experiments.shares import SAME
from bondhu.types import Booleans, Floats

# A mismatch stops a trial, so false alarms must be rare; true ones grow beyond any level soon.
SURE = 0.99


class Split(NamedTuple):
    """Users who were drawn with one probability."""

    chance: float  # of being treated
    users: int
    treated: int
    expected: float


@dataclass(frozen=True)
class RatioCheck:
    """How the users were split, beside how they should have been."""

    users: int  # draws: a control user is drawn anew when the share grows
    treated: int
    expected: float
    p: float  # for one look at the end
    always_valid_p: float  # for every look so far at once: it only falls
    switched: int  # users seen in both variants at one share, which assignment by a hash never does
    splits: tuple[Split, ...]
    mismatch: bool
    sentence: str


class Draws(NamedTuple):
    """The draws of users, in the order of time."""

    treated: Booleans  # [N]
    chance: Floats  # [N] given the user's draws before


def ratio_check(exposures: Exposures, confidence: float = SURE) -> RatioCheck:
    """Users of either variant beside their assigned probabilities, at this look and at all looks before."""
    drawn, switched = draws(exposures)
    total, expected = int(drawn.treated.sum()), float(drawn.chance.sum())
    found = split_p(total, drawn.chance)
    always = min(exp(-float(split_path(drawn.treated, drawn.chance).max(initial=0.0))), 1.0)
    splits = []
    for chance in np.unique(drawn.chance):
        rows = drawn.chance == chance
        users = int(rows.sum())
        splits.append(Split(float(chance), users, int(drawn.treated[rows].sum()), users * float(chance)))
    mismatch = always < 1 - confidence or switched > 0
    sentence = _sentence(total, expected, always, switched, mismatch)
    return RatioCheck(len(drawn.chance), total, expected, found, always, switched, tuple(splits), mismatch, sentence)


def draws(exposures: Exposures) -> tuple[Draws, int]:
    """What chance decided of each user, and how many were in both variants at one share.

    Who is seen first at share s is treated with probability s. Who was not treated at a share r before is so now with
    `(s - r) / (1 - r)`, since r of all users are gone. Who was treated stays: nothing is drawn. Nor is it where others
    than the two variants have a part in it (`Exposures.drawn`).
    """
    if not len(exposures):
        return Draws(np.zeros(0, bool), np.zeros(0)), 0
    shares, step = steps_of(exposures.share)
    order = np.lexsort((exposures.time, exposures.unit))
    unit, step, treated = exposures.unit[order], step[order], exposures.treated[order]
    time = exposures.time[order]
    began = np.append(True, (unit[1:] != unit[:-1]) | (step[1:] != step[:-1]))
    run = np.cumsum(began) - 1
    first = np.flatnonzero(began)
    newcomer = np.append(True, unit[1:] != unit[:-1])[first]
    before = np.append(-1, first[:-1])
    earlier = shares[step[before]]
    grown = ~newcomer & ~treated[before] & (shares[step[first]] > earlier)
    chance = np.where(newcomer, shares[step[first]], 0.0)
    chance[grown] = (shares[step[first]][grown] - earlier[grown]) / (1 - earlier[grown])
    possible = np.ones(len(order), bool) if exposures.drawn is None else exposures.drawn[order]
    drawn = (newcomer | grown) & (chance > 0) & (chance < 1) & possible[first]
    rows = first[drawn]
    sequence = np.argsort(time[rows], kind="stable")
    switched = len(np.unique(unit[treated != treated[first][run]]))
    return Draws(treated[rows][sequence], np.round(chance[drawn][sequence], SAME)), switched


def _sentence(treated: int, expected: float, always: float, switched: int, mismatch: bool) -> str:
    seen = f"{treated:,} users were drawn to be treated where {expected:,.0f} were expected"
    if switched:
        return f"{switched:,} users were seen in both variants at one share: the assignment is not stable. {seen}."
    if mismatch:
        return (
            f"{seen} (always-valid p = {always:.2g}): users of one variant are lost or moved. No effect of this trial "
            "is to be believed until the reason is found."
        )
    return f"{seen} (always-valid p = {always:.2g}): the split is as assigned."
