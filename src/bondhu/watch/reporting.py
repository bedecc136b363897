"""Whether feedback still comes in: how many decisions are heard of, and how often each signal is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bondhu.equations.drift import clustered_error
from bondhu.equations.intervals import t_quantile
from bondhu.types import Floats
from bondhu.watch.observed import Observed

GONE = 0.7  # of its usual rate, at most: a signal that is missing
SILENT = 0.9  # of the usual share of decisions, at most: decisions that nobody is heard of
RISEN = 1.15  # of its usual rate, at least: a signal that is said more often, which no outage does
LEAST_RATE = 0.01  # a signal that is usually said of fewer decisions is not judged


@dataclass(frozen=True)
class Rate:
    """A rate in the current stretch as a share of what it was in the reference, with an interval."""

    usual: float
    now: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Reporting:
    """How feedback comes in, beside how it came in."""

    heard: Rate  # decisions of which anything was said in time
    signals: Mapping[str, Rate]
    late: Rate  # decisions of which something was said too late
    lost: float  # reward a decision that missing feedback explains

    @property
    def missing(self) -> tuple[str, ...]:
        """Signals that are reported much less than they were."""
        return tuple(name for name, rate in self.signals.items() if rate.high <= GONE)

    @property
    def risen(self) -> tuple[str, ...]:
        """Signals that are reported more than they were."""
        return tuple(name for name, rate in self.signals.items() if rate.low >= RISEN)


def reporting(reference: Observed, current: Observed, weights: Floats, confidence: float) -> Reporting:
    """Settled decisions only; `weights [R]` give the reference the current season."""

    def rate(before: Floats, after: Floats) -> Rate:
        return _rate(reference, current, (before, after), weights, confidence)

    heard = rate(reference.heard * 1.0, current.heard * 1.0)
    signals = {
        name: rate(np.minimum(count, 1.0), np.minimum(current.said[name], 1.0))
        for name, count in reference.said.items()
        if float(weights @ np.minimum(count, 1.0)) >= LEAST_RATE
    }
    late = rate(np.minimum(reference.late, 1.0), np.minimum(current.late, 1.0))
    found = Reporting(heard, signals, late, 0.0)
    gone = sum(float(weights @ reference.worth[name] - current.worth[name].mean()) for name in found.missing)
    silence = 0.0
    if heard.high <= SILENT:
        default = reference.reward[~reference.heard].mean() if (~reference.heard).any() else 0.0
        silence = float(weights @ (reference.reward - default)) * (1 - heard.ratio)
    return Reporting(heard, signals, late, 0.0 if found.risen else max(gone, silence, 0.0))


def _rate(
    reference: Observed, current: Observed, outcome: tuple[Floats, Floats], weights: Floats, confidence: float
) -> Rate:
    """Ratio of two means by the delta method, clustered by the people of both stretches."""
    before, after = outcome
    usual, now = float(weights @ before), float(after.mean())
    if usual <= 0:
        return Rate(usual, now, 1.0, 0.0, np.inf)
    ratio = now / usual
    contributions = np.concatenate([(after - now) / len(after) / usual, -ratio * weights * (before - usual) / usual])
    error, people = clustered_error(contributions, np.concatenate([current.user, reference.user]))
    half = t_quantile((1 + confidence) / 2, people - 1) * error if people > 1 else np.inf
    return Rate(usual, now, ratio, ratio - half, ratio + half)
