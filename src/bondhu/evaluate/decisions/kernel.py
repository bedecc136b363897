"""Judging on a dial, where an action is a place on an interval and `Batch.probability` a density, 1 / units of it.

Where the policy has a density, the ratio of the two is exact. Where it always takes one place no logged action is quite
that one: the policy is smoothed over a window around it, which costs a bias of the order of the window squared. Kallus
& Zhou (2018), "Policy evaluation and optimization with continuous treatments". By itself the window is half that of the
rule of thumb, and the interval wider on both sides by as much as halving it changed the value: three times the bias
that is left, where bias grows with the window squared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from bondhu.equations import regression
from bondhu.equations.kernels import (
    cross_fitted_waves,
    rule_of_thumb,
    smoothed_pieces,
    smoothed_points,
    wave_means,
    waves,
)
from bondhu.equations.weights import self_normalised
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, Support, estimate, refusal
from bondhu.evaluate.unlisted import supported
from bondhu.types import Batch, Estimate, Floats, Policy

BANDWIDTHS = ("bandwidth", (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4))
STRATA = 32  # places that stand for a policy of which no density is known
WIDTH = 512  # stand-in for the number of actions: it bounds the features of the regression to 32 columns
WAVES = 6  # cosines along the interval, of which the regression makes the reward


@dataclass(frozen=True)
class KernelInversePropensity:
    """`V = mean(w_t r_t)`, `w_t = pi_h(a_t | x_t) / mu(a_t | x_t)`, `pi_h` the policy's density smoothed over h."""

    name: ClassVar[str] = "kernel_ips"
    scope: ClassVar[str] = "dial"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = BANDWIDTHS

    confidence: float = 0.95  # of the interval
    bandwidth: float | None = None  # h, share of the interval; 0: no smoothing; None: none, or by rule and then halved
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        return _judged(self, policy, batch, lambda _: lambda weights: weights * batch.reward)


@dataclass(frozen=True)
class KernelSelfNormalised:
    """`V = sum(w_t r_t) / sum(w_t)`, with the weights of kernel_ips: stays inside the rewards; bias of order 1/T."""

    name: ClassVar[str] = "kernel_snips"
    scope: ClassVar[str] = "dial"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = BANDWIDTHS

    confidence: float = 0.95  # of the interval
    bandwidth: float | None = None  # h, share of the interval; 0: no smoothing; None: none, or by rule and then halved
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        def terms(weights: Floats) -> Floats:
            shares = self_normalised(weights)
            value = float((shares * batch.reward).mean())
            return np.asarray(value + shares * (batch.reward - value))

        return _judged(self, policy, batch, lambda _: terms)


@dataclass(frozen=True)
class KernelDoublyRobust:
    """`V = mean_t [int pi(a | x_t) q(x_t, a) da + w_t (r_t - q(x_t, a_t))]`, with the weights of kernel_ips.

    q is a cross-fitted ridge regression on features times cosines along the interval. Smoothing biases the correction
    alone, by as much as q is wrong.
    """

    name: ClassVar[str] = "kernel_dr"
    scope: ClassVar[str] = "dial"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = BANDWIDTHS

    confidence: float = 0.95  # of the interval
    bandwidth: float | None = None  # h, share of the interval; 0: no smoothing; None: none, or by rule and then halved
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        def modelled(target: Target) -> Terms:
            design, fold = regression.features(batch.observation, WIDTH), regression.folds(batch.session)
            taken = waves(batch.action, target.ends, WAVES)
            coefficients = cross_fitted_waves(design, taken, batch.reward, fold)
            height = np.empty((len(batch), WAVES))  # of each wave, in the context of each row
            for each in range(regression.FOLDS):
                height[fold == each] = design[fold == each] @ coefficients[each]
            error = batch.reward - (height * taken).sum(1)
            expected = (height * target.mean_waves()).sum(1)
            return lambda weights: expected + weights * error

        return _judged(self, policy, batch, modelled)


Judge = KernelInversePropensity | KernelSelfNormalised | KernelDoublyRobust
Terms = Callable[[Floats], Floats]  # from weights [T] to terms [T]


class Target(NamedTuple):
    """Where a policy would act: by probabilities of pieces between edges, or by points where it has no density."""

    ends: tuple[float, float]
    edges: Floats | None  # [P + 1]
    mass: Floats  # [T, P] of pieces; [T, M] points

    def density(self, action: Floats, reach: float) -> Floats:
        """At these actions, smoothed over this far to both sides: `[T]`; 0 outside of the interval."""
        inside = (action >= self.ends[0]) & (action <= self.ends[1])
        if self.edges is None:
            found = smoothed_points(action, self.mass, self.ends, reach)
        elif reach > 0:
            found = smoothed_pieces(action, self.edges, self.mass, reach)
        else:
            piece = np.clip(np.searchsorted(self.edges, action, side="right") - 1, 0, len(self.edges) - 2)
            found = self.mass[np.arange(len(action)), piece] / np.diff(self.edges)[piece]
        return np.where(inside, found, 0.0)

    def mean_waves(self) -> Floats:
        """The mean of each wave where the policy acts: `[T, K]`."""
        if self.edges is None:
            return np.asarray(waves(self.mass, self.ends, WAVES).mean(axis=1))
        return np.asarray(self.mass @ wave_means(self.edges, WAVES))


class _Strata(NamedTuple):
    """The same number for every row, in place of a uniform one."""

    number: float

    def random(self, size: int, /) -> Floats:
        return np.full(size, self.number)


def _judged(judge: Judge, policy: Policy, batch: Batch, terms_of: Callable[[Target], Terms]) -> Estimate:
    """The mean of the terms, with an interval that holds the bias of a window chosen by rule."""
    fault = _misfit(batch)
    if fault:
        return refusal(fault, np.nan)
    target = _target(policy, batch)
    if judge.bandwidth == 0 and target.edges is None:
        reason = "The policy has no density, so that no logged action is quite its own. Give a bandwidth above 0."
        return refusal(reason, np.nan)
    by_rule = judge.bandwidth is None and target.edges is None
    whole = rule_of_thumb(np.asarray(batch.action, np.float64)) if by_rule else 0.0
    reach = whole / 2 if by_rule else (judge.bandwidth or 0.0) * (target.ends[1] - target.ends[0])
    found = _supported(judge, target, batch, reach)
    if found.refused:
        return refusal(found.refused, found.effective_samples)
    terms = terms_of(target)
    said = estimate(terms(found.weights), batch, judge.confidence, found.effective_samples)
    if not by_rule:
        return said
    moved = abs(said.value - float(terms(_supported(judge, target, batch, whole).weights).mean()))
    return replace(said, low=said.low - moved, high=said.high + moved)


def _supported(judge: Judge, target: Target, batch: Batch, reach: float) -> Support:
    """How far the log speaks for the policy smoothed over this far."""
    chance = target.density(np.asarray(batch.action, np.float64), reach)
    unit = 0.5 / max(float(chance.max()), float(batch.probability.max()))  # densities as if they were probabilities
    return supported(chance * unit, batch.probability * unit, batch, judge.minimum_effective_samples)


def _target(policy: Any, batch: Batch) -> Target:
    """From the density's pieces; without them from places drawn at evenly spaced numbers."""
    if hasattr(policy, "edges"):
        edges = np.asarray(policy.edges, np.float64)
        return Target((float(edges[0]), float(edges[-1])), edges, policy.distribution(batch.observation, batch.allowed))
    numbers = (np.arange(STRATA) + 0.5) / STRATA
    drawn = [policy.sample(batch.observation, batch.allowed, _Strata(each)).action for each in numbers.tolist()]
    points = np.stack(drawn, axis=1).astype(np.float64)
    ends = min(float(batch.action.min()), float(points.min())), max(float(batch.action.max()), float(points.max()))
    return Target(ends, None, points)


def _misfit(batch: Batch) -> str | None:
    """Why these are no places on an interval with their densities."""
    if len(batch) == 0:
        return "There are no settled decisions to judge with. Wait until feedback has settled, or widen the window."
    if batch.action.ndim != 1 or batch.allowed.shape[1:] != (1,):
        return "The log holds actions from a list, not places on an interval. Use ips or dr."
    checks = (
        ("density", batch.probability, np.isfinite(batch.probability) & (batch.probability > 0)),
        ("action", batch.action, np.isfinite(batch.action)),
    )
    for name, column, good in checks:
        if not good.all():
            row = int(np.argmin(good))
            return f"Row {row} has {name} {column[row]}; a number is needed, and a density above 0. Mend the log."
    return None
