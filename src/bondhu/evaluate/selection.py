"""Choosing hyper-parameters of an estimator, and among estimators, by what the log itself says of their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from math import hypot, inf, sqrt
from typing import Any, NamedTuple

import numpy as np

from bondhu.equations.intervals import standard_error
from bondhu.equations.lepski import last_meeting, paired_errors
from bondhu.errors import InvalidInput
from bondhu.evaluate.models import Memory, Remembered
from bondhu.evaluate.support import refusal, support
from bondhu.types import Batch, Estimate, Estimator, Integers, Policy

UNBIASED = (  # where they neither clip nor smooth
    *("dr", "balanced", "ips", "slate_ips", "kernel_dr", "kernel_ips"),
    *("session_dr", "per_decision", "trajectory_is"),
)

CHANCE = 2.0  # standard errors of a difference that chance may explain


class Setting(NamedTuple):
    """An estimate and the hyper-parameter it was made with."""

    value: float
    estimate: Estimate


@dataclass(frozen=True)
class Tuned:
    """The estimate with the setting that was chosen, and what the others said."""

    estimate: Estimate
    setting: float  # NaN where all settings refused
    table: tuple[Setting, ...]  # from the least biased to the most
    reason: str


def tuned(estimator: type[Estimator] | Estimator, policy: Policy, batch: Batch) -> Tuned:
    """The last setting that agrees with all less biased ones; `tunes = (field, settings)` of the class says of which.

    As SLOPE chooses (Su, Srinath & Krishnamurthy 2020), but two settings agree where their difference, row by row,
    is within two of its own standard errors: they share most of their luck, so that much less bias goes unseen than
    between two intervals. The interval of the chosen one allows for a bias of the size that goes unseen, the standard
    error of its distance from the least biased: none that is narrower could hold whatever the bias (Low 1997).
    """
    like: Any = estimator() if isinstance(estimator, type) else estimator
    if not hasattr(like, "tunes"):
        what = f"The estimator {like.name!r} has no setting to tune."
        raise InvalidInput(what, field="estimator", value=like.name, fix="Give one whose class has `tunes`.")
    name, grid = like.tunes
    policy, shared = _remembering(policy, like), _shared(like)
    table = tuple(Setting(value, replace(shared, **{name: value})(policy, batch)) for value in grid)
    answered = [each for each in table if not each.estimate.refused]
    if not answered:
        reason = str(table[0].estimate.refused)
        return Tuned(table[0].estimate, np.nan, table, reason)
    values = np.array([each.estimate.value for each in answered])
    terms = np.stack([each.estimate.terms for each in answered], axis=1)
    apart = paired_errors(terms, batch.session)
    last = last_meeting(values, CHANCE * apart)
    kept = _allowing(answered[last].estimate, apart[last, 0] if last else 0.0)
    if kept.effective_samples == 0:  # no weight is in use, as with a model alone: the log still speaks for it
        kept = replace(kept, effective_samples=support(policy, batch, 0.0).effective_samples)
    chosen = answered[last]._replace(estimate=kept)
    if np.isnan(apart).all():
        return Tuned(kept, chosen.value, table, f"{name} = {chosen.value:g}: one session cannot tell settings apart.")
    return Tuned(kept, chosen.value, table, _why(name, chosen, answered[last + 1 :]))


def _allowing(of: Estimate, unseen: float) -> Estimate:
    """The estimate with an interval that allows for a bias with this standard error."""
    half = CHANCE * unseen
    return replace(of, low=of.value - hypot(of.value - of.low, half), high=of.value + hypot(of.high - of.value, half))


def _why(name: str, chosen: Setting, further: Sequence[Setting]) -> str:
    said = f"{name} = {chosen.value:g}: {_interval(chosen.estimate)} agrees with all less biased settings"
    if not further:
        return f"{said}; there is no further one."
    return (
        f"{said}; the next, {name} = {further[0].value:g}: {_interval(further[0].estimate)}, differs from one of them "
        "by more than chance explains."
    )


def _interval(of: Estimate) -> str:
    return f"{of.value:.4g} ({of.low:.4g} to {of.high:.4g})"


class Judged(NamedTuple):
    """What the log says of an estimator's error, in units of the reward."""

    name: str
    error: float  # root of the mean squared error, estimated; infinite where it refused
    noise: float  # standard error
    bias: float  # distance from the reference, less what chance explains of it
    unsure: float  # standard error of that distance: bias below it is not seen
    estimate: Estimate


@dataclass(frozen=True)
class Chosen:
    """The estimator that errs the least, as far as the log can tell, and all that were compared."""

    name: str  # "" where nothing can be said
    estimate: Estimate
    reason: str
    table: tuple[Judged, ...]  # least error first


def choose(estimators: Sequence[Estimator], policy: Policy, batch: Batch) -> Chosen:
    """The estimator of the least estimated squared error, `se_i^2 + max(0, d_i^2 - se(d_i)^2)`.

    `d_i` is its distance from the narrowest unbiased estimator, whose standard error comes from the differences row by
    row, so that the luck they share cancels: the square of d less its variance is an unbiased estimate of the squared
    bias. A bias within its noise is not seen, and then is hardly larger than the error of the unbiased estimator. No
    candidate's own assumptions enter, no rows are lost to a second log, and nothing is drawn at random (compare
    Udagawa et al. 2023, who split the log into pseudo-logs). All are of one scope. The interval of one that may be
    biased allows for a bias that goes unseen.
    """
    session = _units(estimators, batch)
    shared = Remembered()
    found = [(each, _shared(each, shared)(_remembering(policy, each), batch)) for each in estimators]
    errors = [standard_error(of.terms, session)[0] for each, of in found if _unbiased(each) and not of.refused]
    if not errors:
        reason = next((str(of.refused) for each, of in found if _unbiased(each)), "")
        reason = reason or f"Bias can only be measured against an unbiased estimator, one of {', '.join(UNBIASED)}."
        return Chosen("", refusal(reason, found[0][1].effective_samples if found else np.nan), reason, ())
    unbiased = [(each, of) for each, of in found if _unbiased(each) and not of.refused]
    anchor, reference = unbiased[int(np.argmin(errors))]
    table = [_judged(each, of, reference, session) for each, of in found]
    table.sort(key=lambda row: row.error)
    best = table[0]
    sure = {_label(each) for each, _ in unbiased}
    chosen = best.estimate if best.name in sure else _allowing(best.estimate, best.unsure)
    return Chosen(best.name, chosen, _reason(table, _label(anchor)), tuple(table))


def _units(estimators: Sequence[Estimator], batch: Batch) -> Integers | None:
    """The session of each term: of whole sessions there is one term each."""
    scopes = {each.name: each.scope for each in estimators}
    if len(set(scopes.values())) > 1:
        told = ", ".join(f"{name} of a {scope}" for name, scope in scopes.items())
        fix = "Give estimators of one scope: what a decision earns and what a session earns cannot be compared."
        raise InvalidInput(f"The estimators judge different things: {told}.", field="estimators", value=told, fix=fix)
    return None if "session" in scopes.values() else batch.session


def _judged(estimator: Estimator, of: Estimate, reference: Estimate, session: Integers | None) -> Judged:
    """The parts of one estimator's error."""
    if of.refused:
        return Judged(_label(estimator), inf, np.nan, np.nan, np.nan, of)
    noise, _ = standard_error(of.terms, session)
    apart = of.terms - reference.terms
    unsure = standard_error(apart, session)[0] if apart.any() else 0.0
    bias = sqrt(max(0.0, (of.value - reference.value) ** 2 - unsure**2))
    return Judged(_label(estimator), hypot(noise, bias), noise, bias, unsure, of)


def _reason(table: Sequence[Judged], anchor: str) -> str:
    best, others = table[0], [row for row in table[1:] if row.error < inf]
    parts = f"standard error {best.noise:.3g}, "
    if best.name == anchor:
        parts += "no bias"
    elif best.bias > 0:
        parts += f"bias {best.bias:.3g} seen against {anchor}"
    else:
        parts += f"no bias seen against {anchor}, to within {2 * best.unsure:.2g}"
    said = f"{best.name}: estimated error {best.error:.3g} ({parts})"
    return f"{said}, next {others[0].name} {others[0].error:.3g}." if others else f"{said}; no other answers."


def _unbiased(estimator: Estimator) -> bool:
    """Whether no setting of it trades bias for variance."""
    clip, bandwidth = getattr(estimator, "clip", inf), getattr(estimator, "bandwidth", None)
    return estimator.name in UNBIASED and clip in (None, inf) and not bandwidth


def _label(estimator: Any) -> str:
    """Its name, and the numbers in which it is not the usual one: "ips (clip = 5)"."""
    changed = [
        f"{each.name} = {value:g}"
        for each in fields(estimator)
        if isinstance(value := getattr(estimator, each.name), int | float)
        and each.default is not MISSING
        and value != each.default
        and each.name not in ("confidence", "minimum_effective_samples")
    ]
    return f"{estimator.name} ({', '.join(changed)})" if changed else str(estimator.name)


def _remembering(policy: Policy, estimator: Estimator) -> Policy:
    """Over single actions, a policy that is asked once; others say more of themselves than their probabilities."""
    return policy if estimator.scope != "decision" or isinstance(policy, Memory) else Memory(policy)


def _shared(estimator: Any, said: Remembered | None = None) -> Any:
    """The estimator with a reward model that is fitted once: all settings, or estimators, ask for the same one."""
    usual = Remembered().model
    if getattr(estimator, "model", None) is usual:
        return replace(estimator, model=said or Remembered())
    return estimator
