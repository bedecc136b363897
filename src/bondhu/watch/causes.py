"""Rewards that fell, and the likely cause: policy, feedback, traffic, season, or one segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from bondhu.equations.drift import population_stability_index
from bondhu.types import Booleans, Floats
from bondhu.watch.expected import Expected, Fall, Sample, by_choice, even, expected, fall, numbered, shortfall
from bondhu.watch.observed import Observed
from bondhu.watch.reporting import Reporting, reporting
from bondhu.watch.season import concurrent_weights, covered
from bondhu.watch.segments import Segment, scan

CAUSES = ("policy", "feedback", "traffic", "season", "segment")
UNKNOWN = "unknown"
MAIN = 0.5  # share of a fall from which one change is its cause
CHOICE = 0.3  # the same for what was done: regressions shrink what is known of rare actions, so it explains less
LIKELY = 0.99  # confidence of a fall that is only spoken of
KNOWN = 0.5  # share of decisions in known hours, below which variants are compared side by side first
OTHER_VERSION = 0.2  # share of decisions by versions that hardly acted before, from which the policy is another one
OTHER_ACTIONS = 0.1  # stability index of the actions from which it acts otherwise


@dataclass(frozen=True)
class Rules:
    """When a fall is one."""

    confidence: float = 0.9999  # of the interval that must lie above 0; high, since one looks again and again
    smallest: float = 0.05  # of the usual mean reward: smaller falls are none
    least_spread: float = 0.02  # of the rewards' deviation: nor are these, where the mean is near 0
    least_rows: int = 200  # decisions in the current stretch, or in a variant
    least_people: int = 20  # behind them
    least_reference: int = 500  # decisions in the reference


@dataclass(frozen=True)
class Diagnosis:
    """Whether the reward fell beyond the season, how far, and why."""

    degraded: bool
    drop: float  # of the mean reward of a decision, beyond the season
    low: float
    high: float
    cause: str | None  # one of CAUSES or UNKNOWN; "season" without `degraded` is a fall that earlier weeks had as well
    sentence: str
    shares: Mapping[str, float] = field(default_factory=dict)  # of the fall that each cause explains by itself
    evidence: tuple[str, ...] = ()
    where: str = "all"  # "all", "trial", or the segment such as "mood = sad"


class Facts(NamedTuple):
    """What the causes are judged by."""

    reference: Observed
    current: Observed
    found: Expected
    overall: Fall
    rows: Floats  # [C] expected of the season and context, less earned
    traffic: float
    segment: Segment | None
    rules: Rules


def diagnose(reference: Observed, current: Observed, rules: Rules | None = None) -> Diagnosis:
    """Compares settled decisions of the current stretch with those of the reference in the same season; those in hours
    of the week that the reference does not know are left out.

    Variants that run side by side are compared with each other: what hits all of them is not the candidate's fault.
    """
    rules = rules or Rules()
    reference, current = reference.known(), current.known()
    if not _enough(current, np.ones(len(current), bool), rules):
        return _healthy(f"{len(current):,} settled decisions are too few to tell.")
    known = current.take(covered(reference.time, current.time))
    if len(reference) < rules.least_reference or not _enough(known, np.ones(len(known), bool), rules):
        return _without_reference(reference, current, rules)
    if len(known) < KNOWN * len(current) and (beside := _without_reference(reference, current, rules)).degraded:
        return beside
    current = known
    found = expected(reference, current)
    before = Sample(reference.reward, found.weights, reference.user)
    overall = fall(before, even(current.reward, current.user), rules.confidence, found.scatter)
    short = shortfall(reference, current, found)
    widen = found.scatter + len(current) / len(reference)
    facts = Facts(
        *(reference, current, found, overall, *short),
        scan(current, short.rows, rules.confidence, widen),
        rules,
    )
    return _judged(facts)


def _judged(facts: Facts) -> Diagnosis:
    overall, least = facts.overall, _least(facts.reference.reward, facts.rules)
    trial = trial_fall(facts.current, facts.rows, facts.rules)
    whole = _sure(overall, least)
    if trial and _sure(trial, least):
        share = float(facts.current.variant.among("trial").mean())
        if not whole or share * trial.drop >= MAIN * overall.drop:
            return _of_trial(facts.current, facts.rows, trial, facts.rules)
    if whole:
        return _of_all(facts)
    one = facts.segment
    if one and one.low > 0 and one.fall >= least and one.alone:
        return _of_segment(one)
    return _seasonal(facts) or _healthy(
        f"The reward is what it was: {_interval(overall)} less than in the same hours before.", overall
    )


def _sure(of: Fall, least: float) -> bool:
    return of.sure and of.drop >= least


def _least(reward: Floats, rules: Rules) -> float:
    """The smallest fall that is one."""
    return max(rules.smallest * abs(float(reward.mean())), rules.least_spread * float(reward.std()))


def _enough(observed: Observed, rows: Booleans, rules: Rules) -> bool:
    return int(rows.sum()) >= rules.least_rows and len(np.unique(observed.user[rows])) >= rules.least_people


# ---------------------------------------------------------------------------------------------- variants side by side


def trial_fall(current: Observed, rows: Floats, rules: Rules) -> Fall | None:
    """How far the trial earns less than the live version on the same days; None where there are not both."""
    samples = _beside(current, rows, rules)
    return samples and fall(*samples, rules.confidence)


def _beside(current: Observed, rows: Floats, rules: Rules) -> tuple[Sample, Sample] | None:
    """The control, weighted to the days of the trial, and the trial. Shortfalls, turned round."""
    trial = current.variant.among("trial")
    if not _enough(current, trial, rules):
        return None
    since = current.time >= current.time[trial].min()
    control = current.variant.among("live") & since
    if not _enough(current, control, rules):
        control = current.variant.among("holdout") & since
    if not _enough(current, control, rules):
        return None
    weights = concurrent_weights(current.time[control], current.time[trial])
    before = Sample(-rows[control], weights, current.user[control])
    return before, even(-rows[trial], current.user[trial])


def _of_trial(current: Observed, rows: Floats, trial: Fall, rules: Rules) -> Diagnosis:
    """The trial fell behind those who run beside it: its policy, everywhere or in one segment."""
    which = current.variant.among("trial")
    one = scan(current.take(which), rows[which] - (rows[which].mean() - trial.drop), rules.confidence)
    evidence = (f"At the same time the others earned {_interval(trial)} more a decision than the trial.",)
    shares = {"policy": 1.0, "segment": max(one.held, 0.0) if one else 0.0}
    if one and one.low > 0 and one.alone:
        sentence = f"The trial serves {one.field} = {one.value} badly: {one.fall:.3g} less a decision there."
        return Diagnosis(
            True, *trial, "segment", sentence, shares, (*evidence, _told(one)), f"{one.field} = {one.value}"
        )
    sentence = f"The trial's policy earns {trial.drop:.3g} less a decision than what runs beside it."
    return Diagnosis(True, *trial, "policy", sentence, shares, evidence, "trial")


def _without_reference(reference: Observed, current: Observed, rules: Rules) -> Diagnosis:
    """Only variants that run side by side can be compared."""
    trial = trial_fall(current, -current.reward, rules)
    if trial and _sure(trial, _least(current.reward, rules)):
        return _of_trial(current, -current.reward, trial, rules)
    return _healthy(f"There are {len(reference):,} settled decisions to compare with: too few in the same hours.")


def _holdout_fell(facts: Facts) -> float | None:
    """Share of the fall that the holdout, whose policy never changes, saw as well; None where there is none."""
    before, now = (each.variant.among("holdout") for each in (facts.reference, facts.current))
    if not (_enough(facts.reference, before, facts.rules) and _enough(facts.current, now, facts.rules)):
        return None
    own = expected(facts.reference.take(before), facts.current.take(now))
    return float(own.seasonal - facts.current.reward[now].mean()) / facts.overall.drop


# ---------------------------------------------------------------------------------------------------- everybody's fall


def _of_all(facts: Facts) -> Diagnosis:
    """The first of the causes that explains most of the fall."""
    drop = facts.overall.drop
    heard = reporting(facts.reference, facts.current, facts.found.weights, facts.rules.confidence)
    held = _holdout_fell(facts)
    changed = _acts_otherwise(facts)
    choice = by_choice(facts.reference, facts.current, facts.found) if changed else 0.0
    one = facts.segment
    shares = {
        "traffic": facts.traffic / drop,
        "segment": max(one.held, 0.0) if one else 0.0,
        "policy": choice / drop,
        "feedback": heard.lost / drop,
    }
    spared = held is not None and held < 1 - MAIN
    blamed = changed is not None and (held is None or spared)
    evidence = _evidence(facts, heard, changed, held)
    made = Diagnosis(True, *facts.overall, UNKNOWN, "", shares, evidence)
    if shares["traffic"] >= MAIN:
        return _said(made, "traffic", "other contexts come than before, in which less is earned.")
    if one and one.low > 0 and one.alone and shares["feedback"] < MAIN:
        return replace(_said(made, "segment", f"it is the fall of {one.field} = {one.value}."), where=_name(one))
    if blamed and (spared or shares["policy"] >= CHOICE):
        return _said(made, "policy", f"{changed}, and what is done now was worth less before.")
    if shares["feedback"] >= MAIN:
        return _said(made, "feedback", f"{_outage(heard)}.")
    if blamed:
        return _said(made, "policy", f"{changed}, and nothing else explains it.")
    return _said(made, UNKNOWN, "no change of contexts, actions or feedback explains it.")


def _said(made: Diagnosis, cause: str, why: str) -> Diagnosis:
    start = f"The reward fell by {made.drop:.3g} a decision ({made.low:.3g} to {made.high:.3g})"
    return replace(made, cause=cause, sentence=f"{start}: {why}")


def _acts_otherwise(facts: Facts) -> str | None:
    """How the policy is another one than in the reference; None where it acts as before."""
    count = np.bincount(facts.reference.version.codes, minlength=len(facts.reference.version.values))
    usual = {
        name for name, rows in zip(facts.reference.version.values, count, strict=True) if rows >= 0.05 * count.sum()
    }
    other = float(np.mean(~facts.current.version.among(*usual)))
    if other >= OTHER_VERSION:
        return f"another version takes {other:.0%} of the decisions"
    before, after, actions = numbered(facts.reference.action, facts.current.action)
    rows = (
        np.bincount(before, facts.found.weights, actions) * 1.0 * len(before),
        np.bincount(after, minlength=actions) * 1.0,
    )
    index = population_stability_index(rows[0], rows[1])
    return f"actions are chosen otherwise (stability index {index:.2f})" if index >= OTHER_ACTIONS else None


def _outage(heard: Reporting) -> str:
    late = ", and comes too late" if heard.late.low > 1 and heard.late.now > 2 * heard.late.usual else ""
    if heard.missing and len(heard.missing) < len(heard.signals):
        return f"feedback is missing ({', '.join(heard.missing)}){late}"
    return f"feedback is missing: {heard.heard.now:.0%} of decisions are heard of, {heard.heard.usual:.0%} before{late}"


def _evidence(facts: Facts, heard: Reporting, changed: str | None, held: float | None) -> tuple[str, ...]:
    found = [
        f"The season lets one expect {facts.found.seasonal:.3g} a decision; {facts.current.reward.mean():.3g} came.",
        f"The mix of contexts explains {facts.traffic:.3g} of it.",
        f"Heard of: {heard.heard.now:.1%} of decisions, {heard.heard.usual:.1%} before.",
        f"The policy is another one: {changed}." if changed else "The policy acts as before.",
    ]
    if heard.missing:
        found.append(f"Signals that are missing: {', '.join(heard.missing)}.")
    if held is not None:
        found.append(f"The holdout saw {held:.0%} of the fall.")
    return (*found, _told(facts.segment)) if facts.segment else tuple(found)


# ------------------------------------------------------------------------------------------------- segments and season


def _of_segment(one: Segment) -> Diagnosis:
    sentence = f"The reward of {_name(one)} fell by {one.fall:.3g} a decision ({one.low:.3g} to {one.high:.3g})."
    shares = {"segment": max(one.held, 0.0)}
    return Diagnosis(True, one.fall, one.low, one.high, "segment", sentence, shares, (_told(one),), _name(one))


def _name(one: Segment) -> str:
    return f"{one.field} = {one.value}"


def _told(one: Segment) -> str:
    return (
        f"Most apart is {_name(one)} ({one.share:.0%} of decisions): {one.fall:.3g} less a decision there, "
        f"{one.elsewhere:.3g} elsewhere; {one.held:.0%} of the fall."
    )


def _seasonal(facts: Facts) -> Diagnosis | None:
    """The mean fell, but no more than in the same hours of earlier weeks."""
    reference, current = facts.reference, facts.current
    raw = fall(even(reference.reward, reference.user), even(current.reward, current.user), LIKELY)
    part = facts.found.usual - facts.found.seasonal
    if not (_sure(raw, _least(reference.reward, facts.rules)) and part >= MAIN * raw.drop):
        return None
    sentence = f"The mean is {_interval(raw)} lower, as in the same hours of earlier weeks."
    return Diagnosis(False, *facts.overall, "season", sentence, {"season": part / raw.drop})


def _healthy(sentence: str, of: Fall | None = None) -> Diagnosis:
    return Diagnosis(False, *(of or (np.nan, np.nan, np.nan)), None, sentence)


def _interval(of: Fall) -> str:
    return f"{of.drop:.3g} ({of.low:.3g} to {of.high:.3g})"
