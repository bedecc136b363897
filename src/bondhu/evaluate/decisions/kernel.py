"""Judging on a dial, where an action is a place on an interval and `Batch.probability` a density, 1 / units of it.

Where the policy has a density, the ratio of the two is exact. Where it always takes one place no logged action is quite
that one: the policy is smoothed over a window around it, which costs a bias of the order of the window squared. Kallus
& Zhou (2018), "Policy evaluation and optimization with continuous treatments".
"""

from __future__ import annotations

from dataclasses import dataclass
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
    bandwidth: float | None = None  # h, share of the interval; 0: no smoothing; None: as little as the policy needs
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        _, found = _look(self, policy, batch)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        return estimate(found.weights * batch.reward, batch, self.confidence, found.effective_samples)


@dataclass(frozen=True)
class KernelSelfNormalised:
    """`V = sum(w_t r_t) / sum(w_t)`, with the weights of kernel_ips: stays inside the rewards; bias of order 1/T."""

    name: ClassVar[str] = "kernel_snips"
    scope: ClassVar[str] = "dial"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = BANDWIDTHS

    confidence: float = 0.95  # of the interval
    bandwidth: float | None = None  # h, share of the interval; 0: no smoothing; None: as little as the policy needs
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        _, found = _look(self, policy, batch)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        shares = self_normalised(found.weights)
        value = float((shares * batch.reward).mean())
        return estimate(value + shares * (batch.reward - value), batch, self.confidence, found.effective_samples)


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
    bandwidth: float | None = None  # h, share of the interval; 0: no smoothing; None: as little as the policy needs
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        target, found = _look(self, policy, batch)
        if found.refused or target is None:
            return refusal(found.refused or "", found.effective_samples)
        design, fold = regression.features(batch.observation, WIDTH), regression.folds(batch.session)
        taken = waves(batch.action, target.ends, WAVES)
        coefficients = cross_fitted_waves(design, taken, batch.reward, fold)
        height = np.empty((len(batch), WAVES))  # of each wave, in the context of each row
        for each in range(regression.FOLDS):
            height[fold == each] = design[fold == each] @ coefficients[each]
        error = batch.reward - (height * taken).sum(1)
        terms = (height * target.mean_waves()).sum(1) + found.weights * error
        return estimate(terms, batch, self.confidence, found.effective_samples)


Judge = KernelInversePropensity | KernelSelfNormalised | KernelDoublyRobust


class Target(NamedTuple):
    """Where a policy would act: by probabilities of pieces between edges, or by points where it has no density."""

    ends: tuple[float, float]
    edges: Floats | None  # [P + 1]
    mass: Floats  # [T, P] of pieces; [T, M] points

    def density(self, action: Floats, bandwidth: float) -> Floats:
        """At these actions, smoothed over this share of the interval: `[T]`; 0 outside of it."""
        inside = (action >= self.ends[0]) & (action <= self.ends[1])
        reach = bandwidth * (self.ends[1] - self.ends[0])
        if self.edges is None:
            found = smoothed_points(action, self.mass, self.ends, reach or rule_of_thumb(action))
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


def _look(judge: Judge, policy: Policy, batch: Batch) -> tuple[Target | None, Support]:
    """Where the policy would act, and how far the log speaks for it."""
    fault = _misfit(batch)
    if fault:
        return None, Support(np.empty(0), np.nan, fault)
    target = _target(policy, batch)
    if judge.bandwidth == 0 and target.edges is None:
        reason = "The policy has no density, so that no logged action is quite its own. Give a bandwidth above 0."
        return None, Support(np.empty(0), np.nan, reason)
    chance = target.density(np.asarray(batch.action, np.float64), judge.bandwidth or 0.0)
    unit = 0.5 / max(float(chance.max()), float(batch.probability.max()))  # densities as if they were probabilities
    return target, supported(chance * unit, batch.probability * unit, batch, judge.minimum_effective_samples)


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
