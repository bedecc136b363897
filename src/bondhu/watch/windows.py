"""Which stretches are compared: the last day, three days and week, each with the weeks before."""

from __future__ import annotations

from bondhu.watch.causes import Diagnosis, Rules, diagnose
from bondhu.watch.observed import Observed

DAY = 86_400.0  # seconds
LENGTHS = (1.0, 3.0, 7.0)  # days; a large fall shows in one, a small one in a week
EARLIER = 28.0  # days that a reference reaches back from the end of the longest


def stretches(observed: Observed, settled: float, length: float) -> tuple[Observed, Observed]:
    """The reference, and the `length` days before `settled`, the time up to which every reward is final.

    No reference reaches into the longest stretch: a fault that lasts must not become what is usual.
    """
    start = settled - max(LENGTHS) * DAY
    reference = observed.between(start - EARLIER * DAY, start)
    return reference, observed.between(settled - length * DAY, settled)


def newest(observed: Observed, settled: float, rules: Rules | None = None) -> Diagnosis:
    """The diagnosis of the shortest stretch in which the reward fell for sure; else of the shortest at all."""
    first: Diagnosis | None = None
    for length in LENGTHS:
        found = diagnose(*stretches(observed, settled, length), rules)
        if found.degraded:
            return found
        first = first if first and first.cause else found
    assert first is not None
    return first
