"""Metrics that must not get worse by more than is tolerated, at every look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bondhu.equations.corrections import bonferroni
from bondhu.equations.intervals import Interval
from bondhu.experiments.effects import Effect, Looks, Metric, bounds, effects_of
from bondhu.experiments.exposures import Exposures


@dataclass(frozen=True)
class Guardrail:
    """A metric and how much worse it may get. Which direction is worse, the metric says."""

    metric: Metric
    tolerance: float  # in parts of the control mean, or in units of the metric
    relative: bool = True


@dataclass(frozen=True)
class Guarded:
    """What the data say of one guardrail."""

    guardrail: Guardrail
    effect: Effect
    state: Literal["ok", "undecided", "breached"]
    worse: float  # how much worse it is: of the control mean where the guardrail is relative; negative: better
    worse_low: float  # always-valid bounds of it, one-sided each
    worse_high: float
    sentence: str


def guard(exposures: Exposures, guardrails: Sequence[Guardrail], looks: Looks | None = None) -> list[Guarded]:
    """Non-inferiority of every guardrail metric, with always-valid one-sided bounds.

    "ok" where it is surely less worse than is tolerated, "breached" where surely more. All of them must be ok, so each
    is asked at the full confidence; any breach counts, so for that the confidence is shared (Bonferroni).
    """
    looks = looks or Looks()
    found = effects_of(exposures, [each.metric for each in guardrails], looks)
    return [_guarded(one, rail, len(guardrails)) for one, rail in zip(found, guardrails, strict=True)]


def _guarded(found: Effect, rail: Guardrail, of: int) -> Guarded:
    error = 1 - found.looks.confidence
    high = _worse(found, rail, 1 - 2 * error)[1]
    low = _worse(found, rail, 1 - 2 * (1 - bonferroni(found.looks.confidence, of)))[0]
    state: Literal["ok", "undecided", "breached"] = "undecided"
    if high < rail.tolerance:
        state = "ok"
    elif low > rail.tolerance:
        state = "breached"
    value = found.relative if rail.relative else found.value
    worse = -value if rail.metric.higher_is_better else value
    return Guarded(rail, found, state, worse, low, high, _sentence(found, rail, state, (low, high)))


def _worse(found: Effect, rail: Guardrail, confidence: float) -> Interval:
    """Two-sided always-valid interval of how much worse the metric is."""
    intervals = bounds(found.measured, confidence, found.looks.tuned)
    low, high = intervals.always_lift if rail.relative else intervals.always
    return (-high, -low) if rail.metric.higher_is_better else (low, high)


def _sentence(found: Effect, rail: Guardrail, state: str, between: Interval) -> str:
    name = found.metric.label
    if found.refused:
        return f"{name}: undecided. {found.refused}"
    low, high, limit = (
        f"{100 * each:.3g} %" if rail.relative else f"{each:.4g}" for each in (*between, rail.tolerance)
    )
    how = {"ok": f"at most {high}", "breached": f"at least {low}", "undecided": f"{low} to {high}"}[state]
    return f"{name}: {state}, {how} worse where {limit} is tolerated."
