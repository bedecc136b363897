"""Judges a candidate against the policy in force, on decisions of people that neither was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gymnasium.spaces import MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.evaluate.gate import GateRules, gate
from bondhu.log.join import JoinReport, join, only, read_window
from bondhu.train.window import Window, held_out, people
from bondhu.types import Acting, Batch, Deployment, Estimate, Estimator, Verdict


@dataclass(frozen=True)
class Judgement:
    """Every estimator's view of the candidate and of the live policy, and the verdict of the gate."""

    candidate: Mapping[str, Estimate]  # by name of the estimator
    live: Mapping[str, Estimate]
    verdict: Verdict
    report: JoinReport


def judge(
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
    estimates = {
        acting.version: {each.name: each(acting.policy, _seen(batch, acting, deployment)) for each in estimators}
        for acting in (candidate, live)
    }
    chosen = estimators[-1].name
    verdict = gate(
        estimates[candidate.version][chosen],
        estimates[live.version][chosen],
        facts,
        rules,
        session=batch.session,
    )
    return Judgement(estimates[candidate.version], estimates[live.version], verdict, report)


def evaluation_batch(deployment: Deployment, window: Window, holdout: float) -> tuple[Batch, JoinReport]:
    """The window's settled decisions of the people kept back from training; all of them where nobody was."""
    records = read_window(deployment.domain, deployment.log, window.start, window.end)
    if holdout:
        records = only(records, held_out(people(records), holdout))
    joined = join(deployment.domain, records, start=window.start, end=window.end, observes=MultiDiscrete)
    return joined.batch, joined.report


def _seen(batch: Batch, acting: Acting, deployment: Deployment) -> Batch:
    if acting.actions != tuple(deployment.domain.actions):
        raise InvalidInput(
            f"Version {acting.version!r} was trained for other actions than [actions] declares now.",
            field="actions",
            fix="Train a new version, then evaluate that one.",
        )
    return batch.seen_by(acting.encoder) if batch.context else replace(batch)
