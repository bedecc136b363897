"""Whether the policy that acts still tries things: its entropy, what it leaves to exploration, actions it dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bondhu.equations.drift import shares_scatter
from bondhu.types import Floats
from bondhu.watch.expected import Fall, even, fall, numbered
from bondhu.watch.observed import Observed


@dataclass(frozen=True)
class EntropyRules:
    """When exploration has collapsed."""

    confidence: float = 0.9999  # of the intervals
    share: float = 0.5  # of the reference's entropy, below which it has collapsed
    floor: float = 0.02  # nats; below, whatever it was. 1 % of exploration over 2 actions leaves 0.03
    chance: float = 1e-6  # of an action not being taken although it is taken as often as before
    least_rows: int = 200  # decisions of each stretch


@dataclass(frozen=True)
class Entropy:
    """What the probabilities of the actions taken say."""

    collapsed: bool
    before: float  # nats, mean entropy of the distribution of actions in the reference
    now: float
    low: float  # of `now`
    high: float
    explored: float  # share of the current decisions that the policy itself would hardly have taken
    forced: float  # share of the current decisions that had no alternative: probability 1
    dropped: tuple[str, ...]  # actions that are no longer taken
    sentence: str


def entropy(
    reference: Observed, current: Observed, floor: float | None = None, rules: EntropyRules | None = None
) -> Entropy | None:
    """The mean of `-ln p` of the actions taken, whose expectation is the mean entropy; None of too few decisions.

    `floor`: the probability that exploration alone gives each action; else the lowest in the reference.
    """
    rules = rules or EntropyRules()
    if min(len(reference), len(current)) < rules.least_rows:
        return None
    before, now = (even(-np.log(each.probability), each.user) for each in (reference, current))
    usual, mean = float(before.values.mean()), float(now.values.mean())
    nothing = even(np.zeros(len(current)), current.user)
    above = fall(now, nothing, rules.confidence)  # the interval of the current mean
    less = fall(even(rules.share * before.values, before.people), now, rules.confidence)
    lowest = float(reference.probability.min()) if floor is None else floor
    dropped = no_longer_taken(reference, current, rules.chance)
    collapsed = less.sure or above.high < rules.floor
    return Entropy(
        *(collapsed, usual, mean, above.low, above.high),
        explored=float((current.probability <= 1.5 * lowest).mean()),
        forced=float((current.probability >= 1.0).mean()),
        dropped=dropped,
        sentence=_said(collapsed, usual, above, dropped),
    )


def no_longer_taken(reference: Observed, current: Observed, chance: float) -> tuple[str, ...]:
    """Actions of the reference that the current stretch lacks, where that is no accident: `(1 - share)^n <= chance`.

    n counts decisions of people who return for less.
    """
    before, after, size = numbered(reference.action, current.action)
    share: Floats = np.bincount(before, minlength=size) / len(before)
    rows = len(after) / shares_scatter(before, reference.user, size)
    gone = (
        (np.bincount(after, minlength=size) == 0)
        & (share > 0)
        & (rows * np.log1p(-np.minimum(share, 0.999)) <= np.log(chance))
    )
    names = {int(number): str(name) for number, name in zip(before, reference.action, strict=True)}
    return tuple(names[number] for number in np.flatnonzero(gone).tolist())


def _said(collapsed: bool, usual: float, now: Fall, dropped: tuple[str, ...]) -> str:
    state = "collapsed" if collapsed else "is there"
    missing = f" No longer taken: {', '.join(dropped)}." if dropped else ""
    interval = f"{now.low:.3g} to {now.high:.3g}"
    return f"Exploration {state}: entropy {now.drop:.3g} nats ({interval}), {usual:.3g} before.{missing}"
