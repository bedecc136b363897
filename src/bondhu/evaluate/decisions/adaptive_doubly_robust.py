"""Doubly robust estimation from a log made by policies that learned from that very log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bondhu.equations import regression
from bondhu.equations.adaptive_weights import Effect, earlier_mean, effect, heaviness, linearised, stabilisers
from bondhu.equations.indicators import Indicators
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, refusal, support
from bondhu.types import Batch, Estimate, Floats, Integers, Policy

FIRST = 64  # sessions before the first model
FEWEST = 3  # rows: the first says nothing, and the others have to have a spread


@dataclass(frozen=True)
class AdaptiveDoublyRobust:
    """`V = sum_t h_t [ sum_a pi(a | x_t) q_t(x_t, a) + w_t (r_t - q_t(x_t, a_t)) ] / sum_t h_t`.

    q_t and h_t know only what came before t, so that the errors are a martingale whatever the log learned; h_t is about
    1 over the deviation of its row, which makes their mean normal. Hadad et al. (2021), Bibaut et al. (2021).
    """

    name: ClassVar[str] = "adaptive_dr"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = True

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        weights, effective, refused = support(policy, batch, self.minimum_effective_samples)
        refused = refused or _few(batch)
        if refused:
            return refusal(refused, effective)
        scores, stable = scored(policy.distribution(batch.observation, batch.allowed), weights, batch)
        return _told(scores, stable, effective, effect(scores, stable, self.confidence, batch.session))

    def versus(self, first: Policy, second: Policy, batch: Batch, *, anytime: bool = False) -> Estimate:
        """How much more the first policy earns than the second, under weights that suit their difference.

        `anytime`: an interval that holds however often one looks while the log grows.
        """
        ours, theirs = (support(each, batch, self.minimum_effective_samples) for each in (first, second))
        effective = min(ours.effective_samples, theirs.effective_samples)
        refused = ours.refused or theirs.refused or _few(batch)
        if refused:
            return refusal(refused, effective)
        target, other = (each.distribution(batch.observation, batch.allowed) for each in (first, second))
        scores, stable = scored(target - other, ours.weights - theirs.weights, batch)
        return _told(scores, stable, effective, effect(scores, stable, self.confidence, batch.session, anytime))


def _told(scores: Floats, stable: Floats, effective: float, found: Effect) -> Estimate:
    terms = linearised(scores, stable)
    if not np.isfinite(terms).all():
        row = int(np.argmin(np.isfinite(scores)))
        return refusal(f"Row {row} counts {scores[row]}: what is observed or predicted is not a number.", np.nan)
    return Estimate(*found, effective, terms)


def _few(batch: Batch) -> str | None:
    if len(batch) >= FEWEST:
        return None
    return f"{len(batch)} decisions say nothing of their own spread: the first only tells what the next may earn."


def scored(target: Floats, weights: Floats, batch: Batch) -> tuple[Floats, Floats]:
    """Scores and their weights h, `[T]` each: of a policy `target [T, A]`, or of the difference between two."""
    order = np.argsort(batch.time, kind="stable")
    rows, target, weights = batch.take(order), target[order], weights[order]
    predicted = sequential(rows)
    direct = (target * predicted).sum(1)
    error = rows.reward - predicted[np.arange(len(rows)), rows.action]
    scores, stable = np.empty(len(rows)), np.empty(len(rows))
    scores[order] = direct + weights * error
    error[0] = 0.0  # nothing was known of rewards yet: the first row says nothing of the model
    noise, spread = earlier_mean(np.abs(weights) * error**2), earlier_mean(direct**2) - earlier_mean(direct) ** 2
    heavy = heaviness(weights, float(rows.allowed[0].sum()), float(np.abs(target).sum(1).mean()))
    stable[order] = stabilisers(heavy, noise, np.maximum(spread, 0.0))
    stable[order[0]] = 0.0
    return scores, stable


def sequential(batch: Batch) -> Floats:
    """Rewards `[T, A]` by ridge regression on earlier rows, and never the row's own session; rows in order of time.

    A model is fitted after FIRST sessions and whenever they have doubled; until then earlier rewards' mean will do.
    """
    actions = batch.allowed.shape[1]
    design = regression.design(batch.observation, actions)
    _, first, session = np.unique(batch.session, return_index=True, return_inverse=True)
    start = first[session]  # of each row, the row that its session began with
    predicted = np.repeat(earlier_mean(batch.reward)[:, None], actions, axis=1)
    ends = np.sort(first)[_doubling(len(first))].tolist()
    parts: list[regression.Moments] = []
    for known, end, following in zip([0, *ends], ends, [*ends[1:], len(batch)], strict=False):
        rows = slice(known, end)
        part = _rows(design, rows), batch.action[rows], batch.reward[rows]
        parts.append(regression.moments(*part, actions))
        if len(parts) > 1:
            penalty = regression.choose_penalty(regression.total(parts[:-1]), parts[-1])
            later = np.flatnonzero((start >= end) & (start < following))
            model = regression.solve(regression.total(parts), penalty)
            predicted[later] = regression.predict(_rows(design, later), model)
    return predicted


def _rows(design: regression.Design, rows: slice | Integers) -> regression.Design:
    if isinstance(design, Indicators):
        return Indicators(np.ascontiguousarray(design.columns[rows]), design.width)
    return design[rows]


def _doubling(sessions: int) -> list[int]:
    """FIRST / 2, FIRST, 2 FIRST, … below the number of sessions."""
    return [FIRST // 2 * 2**times for times in range(sessions.bit_length()) if FIRST // 2 * 2**times < sessions]
