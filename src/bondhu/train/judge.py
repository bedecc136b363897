"""Judges a candidate against the policy in force, on decisions of people that neither was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.evaluate.diagnosis import lacking
from bondhu.evaluate.gate import GateRules, Parts, difference, gate
from bondhu.evaluate.models import Memory
from bondhu.evaluate.parts import Seen, by_group, groups_of, of_objectives, weight_error, widened
from bondhu.evaluate.support import broken, refusal
from bondhu.log.join import JoinReport, join, only, read_window
from bondhu.log.rewards import values_of
from bondhu.ports import Deployment, Signal
from bondhu.train.window import Window, held_out, people
from bondhu.types import Acting, Batch, Estimate, Estimator, Verdict

LEARNED = (
    "The log was made by versions that learned from these very decisions, so they depend on each other, and this "
    "estimator assumes otherwise. Keep people back from training ([training] holdout), or use adaptive_dr."
)


@dataclass(frozen=True)
class Judgement:
    """Every estimator's view of the candidate and of the live policy, and the verdict of the gate."""

    candidate: Mapping[str, Estimate]  # by name of the estimator
    live: Mapping[str, Estimate]
    verdict: Verdict
    report: JoinReport
    parts: Parts
    held_out: float  # share of people that the decisions are of; 0: everybody


def judge(  # noqa: PLR0913  all that a verdict rests on
    deployment: Deployment,
    candidate: Acting,
    live: Acting,
    *,
    window: Window,
    holdout: float,
    estimators: Sequence[Estimator],
    rules: GateRules,
    facts: Mapping[str, float],
    adaptive: bool = False,
) -> Judgement:
    """Estimate both on the held-out decisions of the window; the gate looks at the last estimator and at `facts`: the
    `interactions` that the candidate was trained on and the `exploration` of production. `adaptive`: the decisions were
    made by versions that learned from them, and estimators that assume otherwise refuse."""
    batch, report = evaluation_batch(deployment, window, holdout, tuple(rules.guardrails))
    ours, theirs = (_seen(acting, batch) for acting in (candidate, live))
    of_candidate, of_live = (_estimates(seen, estimators, adaptive=adaptive) for seen in (ours, theirs))
    last = estimators[-1]
    advantage = difference(of_candidate[last.name], of_live[last.name], rules.confidence, session=batch.session)
    parts = Parts(advantage)
    if not (isinstance(ours, str) or isinstance(theirs, str) or advantage.refused):
        parts = parts_of(advantage, last, (ours, theirs), batch, deployment.domain.reward.signals, rules)
    verdict = gate(of_candidate[last.name], of_live[last.name], facts, rules, parts)
    if of_candidate[last.name].refused and not isinstance(ours, str) and not adaptive:
        named = _mended(ours, deployment, rules, facts["exploration"])
        verdict = replace(verdict, reasons=(*verdict.reasons, *named))
    return Judgement(of_candidate, of_live, verdict, report, parts, holdout)


def parts_of(
    advantage: Estimate,
    estimator: Estimator,
    pair: tuple[Seen, Seen],
    batch: Batch,
    signals: Mapping[str, Signal],
    rules: GateRules,
) -> Parts:
    """The advantage with uncertain weights allowed for, within groups, and in the parts of the vector reward."""
    errors = {name: each.error for name, each in signals.items() if each.error > 0}
    error = weight_error(estimator, pair, errors)
    fields = {name: groups_of(batch, name) for name in rules.groups}
    groups = by_group(advantage, fields, rules.confidence, batch.session)
    sessions = len(np.unique(batch.session))
    wide = [widened(each, error, rules.confidence, sessions) for each in (advantage, *groups.values())]
    ours, theirs = (of_objectives(estimator, seen) for seen in pair)
    objectives = {name: (ours[name], theirs[name]) for name in ours}
    rails = {
        name: unheard(difference(*objectives[name], rules.confidence, session=batch.session), batch, name, signals)
        for name in rules.guardrails
    }
    return Parts(wide[0], dict(zip(groups, wide[1:], strict=True)), objectives, rails)


def unheard(more: Estimate, batch: Batch, name: str, signals: Mapping[str, Signal]) -> Estimate:
    """With the rule of three where a signal never came: in n decisions nothing is seen of what comes in 3 / n of them
    once in 20 times (Hanley & Lippman-Hand 1983)."""
    if more.refused or batch.objectives[name].any():
        return more
    return replace(more, high=max(more.high, 3.0 * signals[name].high / more.effective_samples))


def evaluation_batch(
    deployment: Deployment, window: Window, holdout: float, signals: Sequence[str] = ()
) -> tuple[Batch, JoinReport]:
    """The window's settled decisions of the people kept back from training; all of them where nobody was. The values
    of these signals are among its objectives."""
    records = read_window(deployment.domain, deployment.log, window.start, window.end)
    if holdout:
        records = only(records, held_out(people(records), holdout))
    joined = join(deployment.domain, records, start=window.start, end=window.end, observes=MultiDiscrete)
    said = {name: values_of(deployment.domain.reward, records, name)[joined.rows] for name in signals}
    return replace(joined.batch, objectives={**joined.batch.objectives, **said}), joined.report


def _seen(acting: Acting, batch: Batch) -> Seen | str:
    """The policy and the batch as it observes it; the reason where it knows other fields than are declared now."""
    try:
        return Seen(Memory(acting.policy), batch.seen_by(acting.encoder))
    except (KeyError, InvalidInput) as error:
        what = f"field {error} is gone from [context]." if isinstance(error, KeyError) else error.what
        return f"{acting.version} was trained for another declaration: {what} Train a new version."


def _mended(seen: Seen, deployment: Deployment, rules: GateRules, exploration: float) -> tuple[str, ...]:
    """Which decisions the log does not speak for, and what exploration would mend it; nothing of a broken log."""
    if broken(seen.batch):
        return ()
    wanted, names = rules.minimum_effective_samples, deployment.domain.actions
    return (lacking(seen.policy, seen.batch, wanted=wanted, exploring=exploration, actions=names).sentence,)


def _estimates(seen: Seen | str, estimators: Sequence[Estimator], *, adaptive: bool) -> dict[str, Estimate]:
    """Every estimator's view."""
    if isinstance(seen, str):
        return {each.name: refusal(seen, math.nan) for each in estimators}
    return {
        each.name: refusal(LEARNED, math.nan) if adaptive and not each.adaptive else each(seen.policy, seen.batch)
        for each in estimators
    }
