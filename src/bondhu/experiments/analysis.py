"""Everything a trial says at one look, in figures and in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np

from bondhu.equations.corrections import benjamini_hochberg, bonferroni, holm
from bondhu.equations.intervals import Interval
from bondhu.experiments.effects import Effect, Looks, Metric, bounds, effect, effects_of
from bondhu.experiments.exposures import Exposures, segments_of
from bondhu.experiments.guardrails import Guarded, Guardrail, guard
from bondhu.experiments.ratio import RatioCheck, ratio_check
from bondhu.types import Floats

Answer = Literal["better", "worse", "undecided", "invalid"]


@dataclass(frozen=True)
class Plan:
    """What is asked of a trial; to be written down before it begins."""

    primary: Metric = Metric("reward")
    guardrails: tuple[Guardrail, ...] = ()
    secondary: tuple[Metric, ...] = ()
    segments: tuple[str, ...] = ()  # fields; the primary metric is told for each of their values
    looks: Looks = Looks()


@dataclass(frozen=True)
class Corrected:
    """One of several effects that were asked for together."""

    name: str  # of the metric, or "field = value"
    effect: Effect
    adjusted_p: float  # fixed-horizon: one look at the end
    adjusted_always_valid_p: float
    always_low: float  # all such intervals of the analysis hold together, at every look
    always_high: float
    sentence: str


@dataclass(frozen=True)
class Analysis:
    """What a trial says. `answer` is about the primary metric; "invalid" where users are not split as assigned."""

    answer: Answer
    primary: Effect
    ratio: RatioCheck
    guardrails: tuple[Guarded, ...]
    # "better" and "worse" come from intervals that all hold together (Bonferroni); the p-values are adjusted
    secondary: tuple[Corrected, ...]  # by Holm: none of those below the level is a false alarm
    segments: tuple[Corrected, ...]  # by Benjamini-Hochberg: few of those below the level are
    sentences: tuple[str, ...]  # the answer first


def analyse(exposures: Exposures, plan: Plan | None = None) -> Analysis:
    """The answer of a trial at this look; it may be asked for as often as one likes.

    Of any two variants: trial and live, or live and holdout for what all releases have brought together.
    """
    plan = plan or Plan()
    primary = effect(exposures, plan.primary, plan.looks)
    ratio = ratio_check(exposures)
    guardrails = tuple(guard(exposures, plan.guardrails, plan.looks))
    others = effects_of(exposures, plan.secondary, plan.looks)
    secondary = _corrected({each.metric.label: each for each in others}, holm)
    segments = _corrected(_by_segment(exposures, plan), benjamini_hochberg)
    answer: Answer = "invalid" if ratio.mismatch else _answer(primary, (primary.always_low, primary.always_high))
    sentences = [_verdict(answer, primary), told(primary), ratio.sentence]
    sentences += [each.sentence for each in guardrails] + [each.sentence for each in secondary + segments]
    return Analysis(answer, primary, ratio, guardrails, secondary, segments, tuple(sentences))


def told(found: Effect) -> str:
    """An effect as a sentence, with both kinds of interval."""
    name = found.metric.label
    if found.refused:
        return f"{name}: {found.refused}"
    percent = 100 * found.looks.confidence
    means = f"{found.treated.mean:.4g} treated, {found.control.mean:.4g} control"
    always = f"{_range(found.always_low, found.always_high)}, p = {found.always_valid_p:.2g}"
    fixed = f"{_range(found.low, found.high)}, p = {found.p:.2g}"
    lift = f" ({100 * found.relative:+.3g} %)" if isfinite(found.relative) else ""
    return (
        f"{name}: {means}, a difference of {found.value:+.4g}{lift}. At every look ({percent:g} %): {always}. At one "
        f"planned look: {fixed}."
    )


def _by_segment(exposures: Exposures, plan: Plan) -> dict[str, Effect]:
    """Segments with enough users on either side."""
    parts = segments_of(exposures, plan.segments).items()
    found = {name: effect(part, plan.primary, plan.looks) for name, part in parts}
    return {name: each for name, each in found.items() if each.measured.ready}


def _corrected(found: Mapping[str, Effect], adjust: Callable[[Floats], Floats]) -> tuple[Corrected, ...]:
    """Effects that were asked for together, with p-values and intervals that say so."""
    fixed = adjust(np.array([each.p for each in found.values()]))
    always = adjust(np.array([each.always_valid_p for each in found.values()]))
    rows = []
    for (name, each), p, always_p in zip(found.items(), fixed.tolist(), always.tolist(), strict=True):
        wide = bounds(each.measured, bonferroni(each.looks.confidence, len(found)), each.looks.tuned).always
        sure = _answer(each, wide)
        sentence = (
            f"{name}: {each.refused}"
            if each.refused
            else f"{name}: {sure} among {len(found)} asked together, {each.value:+.4g} ({_range(*wide)} at every look, "
            f"adjusted p = {always_p:.2g})."
        )
        rows.append(Corrected(name, each, p, always_p, *wide, sentence))
    return tuple(rows)


def _answer(found: Effect, interval: Interval) -> Literal["better", "worse", "undecided"]:
    """What an interval of the difference says, in the direction of the metric."""
    low, high = interval
    if low <= 0 <= high:
        return "undecided"
    return "better" if (low > 0) == found.metric.higher_is_better else "worse"


def _verdict(answer: Answer, found: Effect) -> str:
    users = f"{found.treated.users:,} treated and {found.control.users:,} control users"
    if answer == "invalid":
        return "The trial is invalid: its users are not split as they were assigned."
    worth = min(found.treated.worth, found.control.worth)
    if answer == "undecided" and not found.refused and not found.measured.ready:
        return (
            f"Undecided after {users}: those of one variant tell no more than {worth:.3g} equally active ones would, "
            f"and {found.looks.minimum_users} are needed."
        )
    if answer == "undecided":
        return f"Undecided after {users}: the difference in {found.metric.label} may be nothing yet."
    return (
        f"The treatment is {answer} in {found.metric.label}, after {users}; this holds however often it was looked at."
    )


def _range(low: float, high: float) -> str:
    return f"{low:+.4g} to {high:+.4g}" if isfinite(low) and isfinite(high) else "nothing yet"
