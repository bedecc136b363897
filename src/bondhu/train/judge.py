"""Judges a candidate against the policy in force, on decisions of people that neither was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gymnasium.spaces import MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.evaluate.gate import GateRules, gate
from bondhu.evaluate.support import refusal
from bondhu.log.join import JoinReport, join, only, read_window
from bondhu.ports import Deployment
from bondhu.train.window import Window, held_out, people
from bondhu.types import Acting, Batch, Estimate, Estimator, Verdict


@dataclass(frozen=True)
class Judgement:
    """Every estimator's view of the candidate and of the live policy, and the verdict of the gate."""

    candidate: Mapping[str, Estimate]  # by name of the estimator
    live: Mapping[str, Estimate]
    verdict: Verdict
    report: JoinReport
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
) -> Judgement:
    """Estimate both on the held-out decisions of the window; the gate looks at the last estimator and at `facts`: the
    `interactions` that the candidate was trained on and the `exploration` of production."""
    batch, report = evaluation_batch(deployment, window, holdout)
    of_candidate, of_live = (_estimates(acting, batch, deployment, estimators) for acting in (candidate, live))
    chosen = estimators[-1].name
    verdict = gate(of_candidate[chosen], of_live[chosen], facts, rules, session=batch.session)
    return Judgement(of_candidate, of_live, verdict, report, holdout)


def evaluation_batch(deployment: Deployment, window: Window, holdout: float) -> tuple[Batch, JoinReport]:
    """The window's settled decisions of the people kept back from training; all of them where nobody was."""
    records = read_window(deployment.domain, deployment.log, window.start, window.end)
    if holdout:
        records = only(records, held_out(people(records), holdout))
    joined = join(deployment.domain, records, start=window.start, end=window.end, observes=MultiDiscrete)
    return joined.batch, joined.report


def _estimates(
    acting: Acting, batch: Batch, deployment: Deployment, estimators: Sequence[Estimator]
) -> dict[str, Estimate]:
    """Every estimator's view; refusals where the version knows other actions or fields than are declared now."""
    try:
        if acting.actions != tuple(deployment.domain.actions):
            raise InvalidInput("[actions] has changed.")
        seen = batch.seen_by(acting.encoder)
        return {each.name: each(acting.policy, seen) for each in estimators}
    except (KeyError, InvalidInput) as error:
        what = f"field {error} is gone from [context]." if isinstance(error, KeyError) else error.what
        reason = f"{acting.version} was trained for another declaration: {what} Train a new version."
        return {each.name: refusal(reason, math.nan) for each in estimators}
