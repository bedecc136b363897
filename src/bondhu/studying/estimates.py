"""What every estimator and every kind of interval says of the two policies of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np

from bondhu import evaluate
from bondhu.app import ADAPTIVE
from bondhu.evaluate.gate import difference
from bondhu.evaluate.intervals import KINDS, of_every_kind
from bondhu.evaluate.models import Remembered, cross_fitted
from bondhu.evaluate.selection import choose
from bondhu.evaluate.support import refusal
from bondhu.report.study import Choice, Compared, Figure, Guess, Kind
from bondhu.report.words import ASSUMES
from bondhu.studying.question import SEED, Question
from bondhu.train.judge import LEARNED
from bondhu.types import Estimate, Estimator

AS_IPS = ("balanced", "mips")  # which are nothing else without the policies that acted, or features of the actions
BOUNDED = "ips"  # the estimator whose terms have bounds that are known
NEEDY = "empirical_bernstein"  # the kind of interval that asks for them
TAKEN = "Taken from the log's least probability and its rewards."
NONE = Figure(nan, nan, nan)

Bounds = tuple[float, float] | None


def estimators(scope: str, asked: Question) -> list[Estimator]:
    """Those of the catalogue that judge this; the one for adaptive logs where the log is one."""
    left_out = AS_IPS if asked.adaptive else (*AS_IPS, ADAPTIVE)
    names = [name for name in evaluate.names(scope) if name not in left_out]
    made: list[Any] = [evaluate.find(name)() for name in names]
    confidence = asked.rules.confidence
    said = Remembered()  # one model of rewards for all of them
    shared = [{"model": said} if getattr(each, "model", None) is cross_fitted else {} for each in made]
    return [replace(each, confidence=confidence, **more) for each, more in zip(made, shared, strict=True)]


def compared(asked: Question, estimators: Sequence[Estimator]) -> tuple[Compared, ...]:
    """What each estimator says of both policies."""
    found = []
    ours, theirs = (_said(asked, number, estimators) for number in (0, 1))
    for each, candidate, against in zip(estimators, ours, theirs, strict=True):
        session = asked.batch.session if each.scope == "decision" else None
        advantage = difference(candidate, against, asked.rules.confidence, session=session)
        if each.name == asked.judged_by:
            advantage = asked.judgement.parts.advantage  # uncertain weights are allowed for in it
        found.append(Compared(each.name, candidate, against, advantage, ASSUMES.get(each.name, "")))
    return tuple(found)


def _said(asked: Question, number: int, estimators: Sequence[Estimator]) -> list[Estimate]:
    """Every estimator's view of one of the two."""
    if asked.pair is None:
        why = next(str(each.refused) for each in (asked.judgement.candidate, asked.judgement.live)[number].values())
        return [refusal(why, nan) for _ in estimators]
    seen = asked.pair[number]
    return [
        refusal(LEARNED, nan) if asked.adaptive and not each.adaptive else each(seen.policy, seen.batch)
        for each in estimators
    ]


def chosen(asked: Question, estimators: Sequence[Estimator]) -> Choice:
    """The estimator that errs the least for the candidate, as far as the log can tell."""
    if asked.adaptive:
        return Choice(
            "", f"Of these estimators {ADAPTIVE} alone holds on a log made by versions that learned from it.", ()
        )
    if asked.pair is None:
        return Choice("", "None of them can see these decisions as the policies do.", ())
    found = choose(estimators, *asked.pair[0])
    return Choice(found.name, found.reason, tuple(Guess(*each[:4]) for each in found.table))


def objectives(asked: Question) -> tuple[Compared, ...]:
    """The parts of the reward, as the gate's estimator sees them."""
    confidence, session = asked.rules.confidence, asked.batch.session
    return tuple(
        Compared(name, ours, theirs, difference(ours, theirs, confidence, session=session))
        for name, (ours, theirs) in asked.judgement.parts.objectives.items()
    )


def kinds(asked: Question, by_name: Mapping[str, Compared]) -> tuple[Kind, ...]:
    """Every kind of interval of the candidate's value and of the advantage."""
    found, bounded = by_name[asked.judged_by], by_name[BOUNDED]
    told = _of_every_kind(asked, found, None, None)
    if not bounded.candidate.refused:
        weight = (1.0 + 1e-6) / float(asked.batch.probability.min())
        low, high = (weight * end for end in (min(asked.batch.reward.min(), 0.0), max(asked.batch.reward.max(), 0.0)))
        most = max(high, -low)
        needy = (each for each in _of_every_kind(asked, bounded, (low, high), (-most, most)) if each.name == NEEDY)
        told += [each._replace(assumes=f"{each.assumes} {TAKEN}") for each in needy]
    return tuple(told)


def _of_every_kind(asked: Question, of: Compared, bounds: Bounds, apart: Bounds) -> list[Kind]:
    """The intervals of one estimator, whose terms lie within these bounds, and their differences within others."""
    if of.candidate.refused:
        return []
    values, gains = _intervals(asked, of.candidate, bounds), _intervals(asked, of.advantage, apart)
    return [Kind(name, of.name, KINDS[name].assumes, value, gains.get(name, NONE)) for name, value in values.items()]


def _intervals(asked: Question, of: Estimate, bounds: Bounds) -> dict[str, Figure]:
    if of.refused:
        return {}
    confidence, rng = asked.rules.confidence, np.random.default_rng(SEED)
    found = of_every_kind(of.terms, confidence, session=asked.batch.session, bounds=bounds, rng=rng)
    return {name: Figure(of.value, *each) for name, each in found.items()}
