"""What every estimator of whole sessions asks of a log before it answers, and how its terms become an Estimate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import skewness_corrected, student
from bondhu.equations.trajectories import Layout, cumulative_weights, layout, session_sums, session_weights, step_shares
from bondhu.equations.weights import effective_samples, importance, tail_shape
from bondhu.errors import InvalidInput
from bondhu.evaluate.support import EVENTS, HEAVY, LARGEST, MINIMUM_EFFECTIVE_SAMPLES, SURE, stray_of, support
from bondhu.types import Batch, Estimate, Floats, Policy

MINIMUM_EFFECTIVE_SESSIONS = MINIMUM_EFFECTIVE_SAMPLES
CUT = 0.03  # share of sessions that may have been cut where no interval knows of what nobody saw
UNKNOWN = 0.05  # share of its decisions in which a policy may do what the log never shows, where a model judges it
LONGEST = 100.0  # times the longest session of the log: a policy whose sessions would last longer never ends them


ENDLESS = (
    "In the model of this log, sessions under the policy do not end. Give a discount below 1, or collect sessions that "
    "end."
)


class Trajectories(NamedTuple):
    """The sessions of a batch under another policy, or why they say nothing of it."""

    where: Layout
    weights: Floats  # [T] importance weight of each decision
    cumulative: Floats  # [T] product of the weights so far in the session
    cut: float  # share of the sessions that went on unseen
    refused: str | None = None
    effective_samples: float = np.nan


def trajectories(policy: Policy, batch: Batch, factor: float) -> Trajectories:
    """The sessions and their weights. Refuses what no estimator of sessions could answer."""
    if not 0 <= factor <= 1:
        raise InvalidInput(f"'discount' got {factor!r}.", field="discount", value=factor, fix="Give 0 to 1.")
    rows = support(policy, batch, 0.0)
    reason = rows.refused or _torn(batch)
    if reason:
        return Trajectories(layout(batch.session), rows.weights, rows.weights, 0.0, reason, rows.effective_samples)
    where = layout(batch.session)
    weights = importance(policy.probability(batch.observation, batch.allowed, batch.action), batch.probability)
    with np.errstate(over="ignore", invalid="ignore"):
        cumulative = cumulative_weights(weights, where)
    cut = float((batch.discount[where.last] > 0).mean())
    return Trajectories(where, weights, cumulative, cut)


def _torn(batch: Batch) -> str | None:
    """Whether sessions are whole: what `has_next` says and the session numbers must agree."""
    going = np.append(batch.session[1:] == batch.session[:-1], False)
    falls = batch.session[1:] < batch.session[:-1]
    if (going == batch.has_next).all() and not falls.any():
        return None
    row = int(np.argmax(going != batch.has_next)) if (going != batch.has_next).any() else int(np.argmax(falls))
    return (
        f"Sessions are torn at row {row}: it says has_next {bool(batch.has_next[row])}, and its session is "
        f"{batch.session[row]}. Keep the rows of a session together, in time order, and number sessions upwards."
    )


class Weighty(NamedTuple):
    """How many sessions speak for a policy where their decisions' weights multiply."""

    effective_samples: float
    refused: str | None


def whole_sessions(found: Trajectories, values: Floats, factor: float, minimum: float) -> Weighty:
    """Effective sessions at the steps where `values [T]` are earned, or why products of weights cannot answer."""
    if not np.isfinite(values).all():
        return Weighty(np.nan, ENDLESS)
    if not np.isfinite(found.cumulative).all():
        return Weighty(np.nan, f"The weights of sessions of {found.where.steps:,} decisions overflow. {_ELSE}")
    return of_sessions(
        found, session_weights(found.cumulative, step_shares(values, found.where, factor), found.where), minimum
    )


def of_sessions(found: Trajectories, weight: Floats, minimum: float) -> Weighty:
    """Effective sessions by the weight `[N]` of each, or why they cannot answer."""
    sessions, effective = found.where.sessions, effective_samples(weight)
    if effective == 0:
        return Weighty(np.nan, f"No overlap: none of {sessions:,} sessions went as the policy might have gone.")
    if effective < minimum:
        reason = (
            f"The {sessions:,} sessions of up to {found.where.steps:,} decisions are worth {effective:.1f} effective "
            f"sessions for this policy, fewer than {minimum:g}: weights multiply along a session. {_ELSE}"
        )
        return Weighty(effective, reason)
    mean, (low, high) = float(weight.mean()), student(weight, SURE)
    if abs(mean - 1) > stray_of(len(weight)) and not low <= 1 <= high:
        why = "hardly any of the rare, heavy sessions has come yet" if mean < 1 else "logged probabilities are wrong"
        reason = (
            f"The weights of sessions average {mean:.3f} (99.9 % interval {low:.3f} to {high:.3f}) where 1 is "
            f"expected: {why}. {_ELSE}"
        )
        return Weighty(effective if mean < 1 else np.nan, reason)
    return Weighty(effective, _heavy(weight))


def _heavy(weight: Floats) -> str | None:
    """Sessions' weights with so heavy a tail that the heaviest are still to come."""
    largest = float(weight.max() / weight.sum())
    shape = tail_shape(weight) if largest > LARGEST else -np.inf
    if shape <= HEAVY:
        return None
    return (
        f"The weights of sessions have a heavy tail (Pareto shape {shape:.2f}, above {HEAVY:g}): one session counts "
        f"for {largest:.1%} of all, and heavier ones are still to come. {_ELSE}"
    )


_ELSE = "Collect more sessions, judge a policy closer to the one that acted, or use fqe or marginalised."


def rare(found: Trajectories, batch: Batch, factor: float, minimum: float) -> str | None:
    """Too few sessions that speak for the policy returned something else than most do."""
    returns = session_sums(batch.reward, found.where, factor)
    values, count = np.unique(returns, return_counts=True)
    usual, speaking = values[count.argmax()], found.cumulative[found.where.first] > 0
    events = int(((returns != usual) & speaking).sum())
    if events >= EVENTS * minimum or len(values) == 1:
        return None
    return (
        f"Returns are too rare: of the {int(speaking.sum()):,} sessions that speak for this policy, {events} returned "
        f"other than {usual:g}, fewer than {EVENTS * minimum:g}. Collect more sessions."
    )


def unseen_ends(found: Trajectories) -> str | None:
    """Weights cannot say what cut sessions would still have earned: where a model stands for it, all sessions share the
    model's error, which the spread of their terms does not show."""
    if found.cut <= CUT:
        return None
    return (
        f"{found.cut:.1%} of the sessions were cut before their end, more than {CUT:.0%}: what they would still have "
        "earned is not in the log. Use fqe, dual_dice or marginalised, whose intervals hold their model's error."
    )


def modelled(found: Trajectories, missing: float, visits: float) -> str | None:
    """Why a model of this log cannot judge the policy, if so: it has not seen it, or its sessions never end."""
    if not (np.isfinite(visits) and 0 < visits <= LONGEST * found.where.steps):
        return ENDLESS
    if missing > UNKNOWN:
        return (
            f"The log shows nothing of {missing:.1%} of the decisions that the policy would come to, more than "
            f"{UNKNOWN:.0%}. Collect decisions with exploration there, or judge a policy closer to the one that acted."
        )
    return None


def estimate(terms: Floats, confidence: float, effective: float) -> Estimate:
    """The mean of one term for each session, with an interval that allows for their skewness."""
    low, high = skewness_corrected(terms, confidence)
    return Estimate(float(terms.mean()), low, high, effective, terms)


def model_effective(found: Trajectories, ratio: Floats, minimum: float) -> Weighty:
    """Effective sessions where row t counts `ratio_t` in a model: `(Σ ω)² / Σ ω²` decisions, by those of a session."""
    effective = effective_samples(ratio) * found.where.sessions / len(ratio)
    if effective >= minimum:
        return Weighty(effective, None)
    return Weighty(
        effective,
        f"The {found.where.sessions:,} sessions are worth {effective:.1f} effective sessions for this policy, fewer "
        f"than {minimum:g}. Collect more sessions, or judge a policy closer to the one that acted.",
    )
