"""Support for actions that cannot be listed: slates, and places on a dial. Of each only what was logged is known."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np

from bondhu.equations.weights import importance
from bondhu.evaluate.support import Support, broken, weighed
from bondhu.types import Batch, Floats

MOST = 128  # stand-ins


def supported(chance: Floats, logged: Floats, batch: Batch, minimum: float) -> Support:
    """How far the log speaks for a policy that gives what was logged this probability, where it had that one: `[T]`."""
    rows = len(batch)
    one = np.zeros(rows, np.int64), np.ones((rows, 1), np.bool_)
    fault = broken(replace(batch, action=one[0], allowed=one[1], probability=logged))
    good = np.isfinite(chance) & (chance >= 0)
    if not fault and not good.all():
        row = int(np.argmin(good))
        fault = f"The policy gives probability {chance[row]} to the action of row {row}."
    if fault:
        return Support(np.empty(0), np.nan, fault)
    weights = importance(chance, logged)
    if bool((logged >= 1).all()) and bool((weights < 1 - 1e-9).any()):
        reason = (
            "The log contains no exploration: every decision was taken with probability 1, so nothing is known of the "
            "other actions. Set [exploration] rate and collect new decisions."
        )
        return Support(weights, np.nan, reason)
    return weighed(weights, _stand_in(batch, float(logged.min())), minimum)


def _stand_in(batch: Batch, least: float) -> Batch:
    """The batch with actions drawn evenly in the place of its own: whether single actions came as often as they should
    cannot be asked of actions of which most never come."""
    actions = min(max(ceil(1.0 / least), 2), MOST)
    drawn = np.arange(len(batch)) % actions
    allowed = np.broadcast_to(np.True_, (len(batch), actions))
    return replace(batch, action=drawn, allowed=allowed, probability=np.full(len(batch), 1.0 / actions))
