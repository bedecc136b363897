"""What every estimator asks of a log before it answers, and how its terms become an Estimate."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import empirical_bernstein, skewness_corrected, student
from bondhu.equations.weights import calibration, effective_samples, importance, tail_shape
from bondhu.types import Batch, Estimate, Floats, Policy

# Below, an answer is noise (95 % intervals are +-0.28 standard deviations of the reward wide at 50) and they are too
# short: for a deterministic policy on a uniform log they held the truth in 79-91 % of 400 logs at 11 effective samples,
# 88-95 % at 22 and 94-96 % at 54.
MINIMUM_EFFECTIVE_SAMPLES = 50.0
# With fewer rows that earned anything unusual, the terms say nothing of their own variance: 128 effective samples of a
# click rate of 0.5 % may hold no click at all, and an interval of [0, 0] would be a lie.
EVENTS = 0.1  # rows that earned something unusual, for each effective sample that is asked for
# How far from 1 the mean weight may lie, beyond chance, before the log is said not to fit the policy: what is missing
# moves an estimate by as much of the rewards, so it may be no more than the intervals of so many rows are wide.
STRAY = (0.02, 5.0, 0.1)  # at least, over the root of the rows, at most
SURE = 0.999  # confidence beyond which it is not chance
# Above this Pareto shape of the weights' tail, means of feasible samples do not settle (Vehtari et al. 2024).
HEAVY = 0.7
# A tail does no harm while its heaviest row counts for less than this share of all. Softmax policies of five standard
# normal features and 27 actions, 1,000 to 20,000 rows: of logs on which 95 % intervals of IPS held the truth in 93 % or
# more, 0.0 % were refused; of those on which they did in 57-80 %, 13-100 %.
LARGEST = 0.05


class Support(NamedTuple):
    """How far a log speaks for a policy."""

    weights: Floats  # [T] importance weights
    effective_samples: float  # NaN where more decisions of this kind would not help
    refused: str | None


def support(policy: Policy, batch: Batch, minimum: float) -> Support:
    """Importance weights of the batch, or the reason why it cannot say what the policy is worth."""
    fault = broken(batch)
    if fault:
        return Support(np.empty(0), np.nan, fault)
    chance = policy.probability(batch.observation, batch.allowed, batch.action)
    if not np.all((chance >= 0) & (chance <= 1 + 1e-9)):  # false for NaN too
        row = int(np.argmin((chance >= 0) & (chance <= 1 + 1e-9)))
        return Support(np.empty(0), np.nan, f"The policy gives probability {chance[row]} to the action of row {row}.")
    return weighed(importance(chance, batch.probability), batch, minimum)


def weighed(weights: Floats, batch: Batch, minimum: float) -> Support:
    """What these importance weights `[T]` of a batch that is not broken are worth."""
    effective = effective_samples(weights)
    forced = int((batch.probability >= 1).sum())
    if forced == len(batch) and bool((weights < 1 - 1e-9).any()):
        reason = (
            "The log contains no exploration: every decision was taken with probability 1, so nothing is known of the "
            "other actions. Set [exploration] rate and collect new decisions."
        )
        return Support(weights, np.nan, reason)
    if effective == 0:
        reason = f"No overlap: the policy never takes the action that was logged, in any of {len(batch):,} decisions."
        rare = empirical_bernstein(weights, SURE, (0.0, 1.0 / float(batch.probability.min())))[1] >= 1
        return Support(weights, 0.0 if rare else np.nan, reason)  # with many actions its own may be yet to come
    wrong = _miscalibrated(batch)
    if wrong:
        return Support(weights, np.nan, wrong)
    stray, surely = _stray(weights, batch, forced)
    if effective < minimum:
        reason = (
            f"The {len(batch):,} decisions are worth {effective:.1f} effective samples for this policy, fewer than "
            f"{minimum:g}. Collect more decisions, or judge a policy closer to the one that acted."
        )
        return Support(weights, effective, reason)
    doubt = stray or _rare(batch, weights, EVENTS * minimum) or _heavy(weights)
    return Support(weights, np.nan if surely else effective, doubt)


def broken(batch: Batch) -> str | None:
    """The first row that cannot be a logged decision."""
    if len(batch) == 0:
        return "There are no settled decisions to judge with. Wait until feedback has settled, or widen the window."
    checks = (
        ("probability", batch.probability, (batch.probability > 0) & (batch.probability <= 1), "outside (0, 1]"),
        ("reward", batch.reward, np.isfinite(batch.reward), "not a number"),
        ("action", batch.action, (batch.action >= 0) & (batch.action < batch.allowed.shape[1]), "not an action"),
    )
    for name, column, good, fault in checks:
        if not good.all():
            row = int(np.argmin(good))
            return f"Row {row} has {name} {column[row]}, which is {fault} ({int((~good).sum()):,} such rows). Mend it."
    open_to = batch.allowed[np.arange(len(batch)), batch.action]
    if not open_to.all():
        row = int(np.argmin(open_to))
        return f"Row {row} took action {batch.action[row]}, which was not allowed there. Mend the log."
    return None


def stray_of(rows: int) -> float:
    """How far the mean weight of so many rows may lie from 1."""
    least, share, most = STRAY
    return min(max(least, share / sqrt(rows)), most)


def _stray(weights: Floats, batch: Batch, forced: int) -> tuple[str | None, bool]:
    """Weights average 1 where logged probabilities are right and the log tries all that the policy does.

    A mean below 1 may only say that rare, heavy rows have not come yet: it is sure where no weights up to the heaviest
    possible could average 1. Otherwise more decisions will tell.
    """
    mean = float(weights.mean())
    slight = stray_of(len(batch))
    low, high = student(weights, SURE, batch.session) if abs(mean - 1) > slight else (-np.inf, np.inf)
    if not low <= 1 <= high:  # few heavy rows make for a skewed mean
        low, high = skewness_corrected(weights, SURE, batch.session)
    if low <= 1 <= high:
        return None, False
    heaviest = 1.0 / float(batch.probability.min())
    if mean < 1 <= empirical_bernstein(weights, SURE, (0.0, heaviest))[1]:
        return (
            f"Importance weights average {mean:.3f} where 1 is expected: of the rarely logged actions that this policy "
            "would take, hardly any has come yet. Collect more decisions."
        ), False
    return (
        f"The log does not fit the policy: importance weights average {mean:.3f} (99.9 % interval {low:.3f} to "
        f"{high:.3f}) where 1 is expected. Either the policy takes actions the log never tried ({forced:,} decisions "
        "were logged with probability 1), or the logged probabilities are wrong."
    ), True


def _miscalibrated(batch: Batch) -> str | None:
    """An action that was logged more often than its own probabilities allow: mu cannot be right.

    Fewer times says less: where the log never tries an action, nothing is wrong with its probabilities.
    """
    mean, error = calibration(batch.action, batch.probability, batch.allowed, batch.session)
    sure = NormalDist().inv_cdf(1 - (1 - SURE) / len(mean))  # for all actions at once (Bonferroni)
    worst = int(np.argmax(mean - sure * error))
    if mean[worst] - sure * error[worst] <= 1 or mean[worst] <= 1 + stray_of(len(batch)):
        return None
    return (
        f"The logged probabilities are wrong: decisions with action {worst} count, each 1 / probability times, for "
        f"{mean[worst]:.3f} (standard error {error[worst]:.3f}) of the decisions that allowed it, where 1 is expected. "
        "Log the probability under which each action was really drawn."
    )


def _heavy(weights: Floats) -> str | None:
    """Weights with so heavy a tail that the heaviest are still to come, and will outweigh those that are here."""
    largest = float(weights.max() / weights.sum())
    shape = tail_shape(weights) if largest > LARGEST else -np.inf
    if shape <= HEAVY:
        return None
    return (
        f"The importance weights have a heavy tail (Pareto shape {shape:.2f}, above {HEAVY:g}): one decision counts "
        f"for {largest:.1%} of all, and heavier ones are still to come. Collect more decisions, explore more, or judge "
        "a policy closer to the one that acted."
    )


def _rare(batch: Batch, weights: Floats, minimum: float) -> str | None:
    """Too few rows that speak for the policy earned something else than most rows do."""
    reward = batch.reward
    values, count = np.unique(reward, return_counts=True)
    usual = values[count.argmax()]
    unusual, speaking = reward != usual, weights > 0
    events = int((unusual & speaking).sum())
    if events >= minimum or not unusual.any() or _by_action_alone(batch):
        return None
    return (
        f"Rewards are too rare: of the {int(speaking.sum()):,} decisions that speak for this policy, {events} earned "
        f"other than {usual:g}, fewer than {minimum:g}. Collect more decisions."
    )


def _by_action_alone(batch: Batch) -> bool:
    """Whether each action always earned the same, as a part of the reward does that is the worth of the action."""
    order = np.argsort(batch.action, kind="stable")
    same = np.diff(batch.action[order]) == 0
    return bool((np.diff(batch.reward[order])[same] == 0).all())


def refusal(reason: str, effective: float) -> Estimate:
    """An Estimate that says why it says nothing else."""
    return Estimate(np.nan, np.nan, np.nan, effective, np.empty(0), reason)


def estimate(terms: Floats, batch: Batch, confidence: float, effective: float) -> Estimate:
    """The mean of the terms, with an interval over sessions that allows for their skewness."""
    if not np.isfinite(terms).all():
        row = int(np.argmin(np.isfinite(terms)))
        return refusal(f"Row {row} counts {terms[row]}: what is observed or predicted there is not a number.", np.nan)
    low, high = skewness_corrected(terms, confidence, batch.session)
    return Estimate(float(terms.mean()), low, high, effective, terms)
