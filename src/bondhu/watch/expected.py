"""What the current decisions would have earned if only the season, the contexts or the choices had changed."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import NamedTuple

import numpy as np

from bondhu.equations.drift import clustered_error
from bondhu.equations.intervals import t_quantile
from bondhu.equations.regression import choose_penalty, moments, solve, total
from bondhu.equations.weights import effective_samples
from bondhu.types import Floats, Integers, Names
from bondhu.watch.observed import Observed
from bondhu.watch.season import days_scatter, demeaned, seasonal_weights

WIDEST = 64  # codes of one field that are told apart; more share columns
ACTIONS = 100  # the most frequent actions that are told apart; the others are one


@dataclass(frozen=True)
class Expected:
    """The current stretch of C decisions beside a reference of R in its season."""

    weights: Floats  # [R] of the reference, sum 1: the current mix of weekdays and hours
    usual: float  # mean reward of the reference
    seasonal: float  # the same with those weights: what the season lets one expect
    scatter: float  # how many times more daily means vary than their rows explain: a factor of variances


class Sample(NamedTuple):
    """Values, their weights (which sum to 1) and whose they are: `[T]` each."""

    values: Floats
    weights: Floats
    people: Integers


def even(values: Floats, people: Integers) -> Sample:
    """Every row counts the same."""
    return Sample(values, np.full(len(values), 1 / max(len(values), 1)), people)


def effective_people(of: Sample) -> float:
    """The number of equally active people that the sample is worth."""
    weight = np.bincount(np.unique(of.people, return_inverse=True)[1], of.weights)
    return effective_samples(weight.astype(np.float64))


class Fall(NamedTuple):
    """How far a mean fell, with the bounds of its interval."""

    drop: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        return self.low > 0


def expected(reference: Observed, current: Observed) -> Expected:
    """Settled decisions only."""
    weights = seasonal_weights(reference.time, current.time)
    scatter = days_scatter(reference.time, reference.reward, reference.user)
    return Expected(weights, float(reference.reward.mean()), float(weights @ reference.reward), scatter)


def fall(before: Sample, after: Sample, confidence: float, scatter: float = 1.0) -> Fall:
    """The mean of `before` less the mean of `after`, clustered by the people of both.

    Student's degrees of freedom are those of the effective number of people in the smaller sample: few who come often
    say less than their number (Carter, Schnepel & Steigerwald 2017).
    """
    means = [float(each.weights @ each.values) for each in (before, after)]
    contributions = [each.weights * (each.values - mean) for each, mean in zip((before, after), means, strict=True)]
    people = np.concatenate([before.people, after.people])
    error, _ = clustered_error(np.concatenate([contributions[0], -contributions[1]]), people)
    degrees = min(map(effective_people, (before, after))) - 1
    half = t_quantile((1 + confidence) / 2, int(degrees)) * error * sqrt(scatter) if degrees >= 1 else inf
    drop = means[0] - means[1]
    return Fall(drop, drop - half, drop + half)


def design(observed: Observed) -> Floats:
    """One column for each value of each field: `[T, F]`."""
    parts = []
    for names in observed.context.values():
        size = min(len(names.values), WIDEST)
        hot = np.zeros((len(observed), size))
        hot[np.arange(len(observed)), names.codes % size] = 1.0
        parts.append(hot)
    return np.hstack(parts) if parts else np.zeros((len(observed), 0))


class Shortfall(NamedTuple):
    """By how much each current decision earned less than expected of its season, context and person."""

    rows: Floats  # [C]
    traffic: float  # of the fall of the mean: by who comes, and in which contexts


def shortfall(reference: Observed, current: Observed, found: Expected) -> Shortfall:
    """Decomposes the fall of the mean as Oaxaca (1973) and Blinder (1973): inputs first, what is left after them.

    Expected of row t is `s + (x_t - E x)' b + u - E u`: s, E x and E u of the reference in the current season, b from a
    ridge regression within the same hours of the week, u what the person usually earns beyond that.
    """
    there, here = design(reference), design(current)
    context, reward = demeaned(there, reference.time), demeaned(reference.reward, reference.time)
    beta = solve(moments(context, np.zeros(len(reward), np.int64), reward, 1), 1.0)[0]
    own = personal(reward - context @ beta, reference.user, np.concatenate([reference.user, current.user]))
    predicted = (here - found.weights @ there) @ beta
    predicted += own[len(reference) :] - found.weights @ own[: len(reference)]
    return Shortfall(found.seasonal + predicted - current.reward, float(-predicted.mean()))


def personal(residual: Floats, user: Integers, asked: Integers) -> Floats:
    """The mean residual of each asked row's person, shrunk by `n t^2 / (n t^2 + s^2)`; 0 of who is not known.

    s^2 and t^2 are the variances within and between people, by analysis of variance: Searle et al. (1992).
    """
    known, number, rows = np.unique(user, return_inverse=True, return_counts=True)
    means = np.bincount(number, residual) / rows
    between = float(rows @ means**2)
    within = (float(residual @ residual) - between) / max(len(residual) - len(known), 1)
    apart = max(0.0, (between - len(known) * within) / len(residual))
    shrunk = means * rows * apart / np.maximum(rows * apart + within, 1e-12)
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.where(known[place] == asked, shrunk[place], 0.0)


def by_choice(reference: Observed, current: Observed, found: Expected) -> float:
    """The part of the fall that the actions taken explain, given the contexts: what they were worth in the reference.

    `E_ref[g(x, a)] - E_cur[g(x, a)]` with `g` the gain of an action over what is usual in its context, by ridge
    regressions on the reference: one model that all actions share, and each action's deviation from it.
    """
    before, after, actions = numbered(reference.action, current.action)
    there, here = (np.insert(design(each), 0, 1.0, axis=1) for each in (reference, current))
    centre = found.weights @ there
    centre[0] = 0.0
    context, reward = demeaned(there, reference.time), demeaned(reference.reward, reference.time)
    context[:, 0] = 1.0
    usual = solve(moments(context, np.zeros(len(reward), np.int64), reward, 1), 1.0)[0]
    half = np.unique(reference.user, return_inverse=True)[1] % 2 == 0
    parts = [moments(context[which], before[which], reward[which], actions) for which in (half, ~half)]
    gain = solve(total(parts), choose_penalty(*parts)) - usual
    earned = [((seen - centre) * gain[action]).sum(1) for seen, action in ((there, before), (here, after))]
    return float(found.weights @ earned[0] - earned[1].mean())


def numbered(first: Names, second: Names) -> tuple[Integers, Integers, int]:
    """Both columns as numbers below the third: of names that are frequent in either, and one for all others."""
    names = list(dict.fromkeys([*map(str, first.values), *map(str, second.values)]))
    place = {name: number for number, name in enumerate(names)}
    codes = [
        np.array([place[str(each)] for each in column.values], np.int64)[column.codes] for column in (first, second)
    ]
    if len(names) <= ACTIONS:
        return codes[0], codes[1], len(names)
    count = sum(np.bincount(each, minlength=len(names)) / max(len(each), 1) for each in codes)
    kept = np.full(len(names), ACTIONS - 1)
    kept[np.argsort(-count, kind="stable")[: ACTIONS - 1]] = np.arange(ACTIONS - 1)
    return kept[codes[0]], kept[codes[1]], ACTIONS
