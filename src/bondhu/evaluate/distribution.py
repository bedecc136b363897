"""The whole distribution of the reward under a policy, not its mean alone: quantiles, the worst cases, the spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bondhu.equations import regression
from bondhu.equations.distributions import (
    Cells,
    bernstein_band,
    cells,
    cumulative,
    lower_tail_mean,
    points,
    quantile,
    resampled_band,
    rising,
    variance,
)
from bondhu.equations.weights import self_normalised
from bondhu.errors import InvalidInput, nearest
from bondhu.evaluate.models import cross_fitted, direct
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, support
from bondhu.types import Batch, Estimate, Floats, Integers, Policy

METHODS, BANDS = ("ips", "snips", "dr"), ("bootstrap", "bernstein")
BEYOND = 10.0  # effective samples in a tail below which resampling says nothing of it
MODELLED = 32  # values at which a model of the distribution is made
GROUPS = 2_000  # that are resampled, at most: of more sessions several make a group, whose sums vary as theirs do


class Figure(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float
    high: float


NOTHING = Figure(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Distribution:
    """P(reward <= value) with a band that holds the whole function, or a refusal."""

    cells: Cells  # where the mass of each step lies
    cdf: Floats  # [V]
    low: Floats  # [V]
    high: Floats  # [V]
    effective_samples: float
    draws: Floats  # [B, V] what resampled sessions said; [0, V] where the band needs none
    mean: Figure  # from every reward as it is
    confidence: float = 0.95  # of the band, and of each interval
    refused: str | None = None

    @property
    def values(self) -> Floats:
        """Where the function is told: `[V]`, ascending."""
        return self.cells.high

    def quantile(self, level: float) -> Figure:
        """The least value that the reward stays within with this probability."""
        _share("level", level)
        return self._figure(lambda where, cdf: quantile(where, cdf, level), min(level, 1.0 - level))

    def cvar(self, alpha: float) -> Figure:
        """The mean reward of the worst share alpha of decisions."""
        _share("alpha", alpha)
        return self.mean if alpha == 1 else self._figure(lambda where, cdf: lower_tail_mean(where, cdf, alpha), alpha)

    @property
    def variance(self) -> Figure:
        """By resampling alone: a band says next to nothing of it."""
        if self.refused:
            return NOTHING
        value = float(variance(self.cells, self.cdf))
        low, high = self._ends(variance(self.cells, self.draws)) if len(self.draws) else (np.nan, np.nan)
        return Figure(value, low, high)

    def _figure(self, of: Callable[[Cells, Floats], Floats], tail: float) -> Figure:
        """From what resampled sessions say where enough of them lie in the tail, else from the band."""
        if self.refused:
            return NOTHING
        value = float(of(self.cells, self.cdf))
        if len(self.draws) and tail * self.effective_samples >= BEYOND:
            low, high = self._ends(of(self.cells, self.draws))
        else:
            low, high = _held(of, self.cells, (self.low, self.high))
        return Figure(value, min(low, value), max(high, value))

    def _ends(self, figures: Floats) -> tuple[float, float]:
        tail = (1.0 - self.confidence) / 2
        low, high = np.quantile(figures, [tail, 1.0 - tail])
        return float(low), float(high)


@dataclass(frozen=True)
class RewardDistribution:
    """`F(v) = sum_t w_t 1{r_t <= v} / sum_t w_t`, or doubly robust. Huang et al. (2021), "Off-policy risk assessment in
    contextual bandits"; Chandak et al. (2021), "Universal off-policy evaluation".

    The mean and its interval are those of the estimator of this name. Of more than `points` values, cells are told.
    """

    method: str = "snips"  # "ips", "snips", or "dr", with ridge regressions of 1{r <= v}
    band: str = "bootstrap"  # of whole sessions; "bernstein": holds at any T, for sessions of one decision
    confidence: float = 0.95  # of the band, and of each interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    points: int = 512  # values at which the function is told, at most
    resamples: int = 400  # of sessions
    bounds: tuple[float, float] | None = None  # of the reward; None: nothing beyond what was logged
    heaviest: float | None = None  # possible weight, for the Bernstein band; None: 1 / the least logged probability

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("band", BANDS)):
            value = getattr(self, name)
            if value not in known:
                raise InvalidInput(f"No {name} {value!r}.", field=name, value=value, fix=nearest(value, known))

    def __call__(self, policy: Policy, batch: Batch, rng: np.random.Generator) -> Distribution:
        found = support(policy, batch, self.minimum_effective_samples)
        refused = found.refused or self._unanswerable(batch)
        if refused:
            return _nothing(refused, found.effective_samples)
        shares = self_normalised(found.weights)
        where = cells(batch.reward, shares, self.points, self.bounds)
        told = self._mean(policy, batch, found.weights)
        if told.refused:
            return _nothing(told.refused, np.nan)
        mean = Figure(told.value, told.low, told.high)
        if self.band == "bernstein":
            cdf: Floats = rising(cumulative(batch.reward, shares, where.high))
            draws: Floats = np.empty((0, len(cdf)))
            weights = found.weights if self.method == "ips" else shares
            limit = self.heaviest or 1.0 / float(batch.probability.min())
            low, high = bernstein_band(batch.reward, weights, where.high, self.confidence, limit)
            ends = _held(lambda at, held: lower_tail_mean(at, held, 1.0), where, (low, high))
            mean = Figure(mean.value, min(ends[0], mean.value), max(ends[1], mean.value))
        else:
            cdf, draws = self._resampled(policy, batch, found.weights, where, rng)
            low, high = resampled_band(cdf, draws, self.confidence)
        return Distribution(where, cdf, low, high, found.effective_samples, draws, mean, self.confidence)

    def _mean(self, policy: Policy, batch: Batch, weights: Floats) -> Estimate:
        """As the estimator of this name says, every reward as it is."""
        if self.method == "dr":
            values, error = direct(policy, batch, cross_fitted)
            terms: Floats = values + weights * error
        elif self.method == "ips":
            terms = weights * batch.reward
        else:
            shares = self_normalised(weights)
            value = float((shares * batch.reward).mean())
            terms = value + shares * (batch.reward - value)
        return estimate(terms, batch, self.confidence, np.nan)

    def _unanswerable(self, batch: Batch) -> str | None:
        if self.bounds and not (self.bounds[0] <= batch.reward.min() and batch.reward.max() <= self.bounds[1]):
            return f"Rewards from {batch.reward.min():g} to {batch.reward.max():g} were logged, beyond {self.bounds}."
        if self.band == "bernstein" and len(np.unique(batch.session)) < len(batch):
            return "Sessions hold several decisions, which are not independent. Use the band by bootstrap."
        if self.band == "bernstein" and self.method == "dr":
            return "The doubly robust distribution has no Bernstein band. Use ips, snips, or the band by bootstrap."
        return None

    def _resampled(
        self, policy: Policy, batch: Batch, weights: Floats, where: Cells, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """The function `[V]`, and what it is in resampled sessions `[B, V]`."""
        group, count = _groups(batch.session, rng)
        width = len(where.high)
        place = group * width + np.searchsorted(where.high, batch.reward)
        below = np.bincount(place, weights=weights, minlength=count * width).reshape(count, width).cumsum(axis=1)
        total = np.bincount(group, weights=None if self.method == "dr" else weights, minlength=count)
        if self.method == "dr":
            below = below + _modelled(policy, batch, weights, where.high, group)

        def told(times: Floats) -> Floats:
            return rising(times @ below / np.maximum(times @ total, 1e-300)[..., None])

        times = rng.multinomial(count, np.full(count, 1.0 / count), size=self.resamples)
        return told(np.ones(count)), told(times.astype(np.float64))


def _held(of: Callable[[Cells, Floats], Floats], where: Cells, band: tuple[Floats, Floats]) -> tuple[float, float]:
    """A figure's ends by a band: more mass below is a lower reward, and so is mass at the lower end of its cell."""
    return float(of(points(where.low), band[1])), float(of(points(where.high), band[0]))


def _groups(session: Integers, rng: np.random.Generator) -> tuple[Integers, int]:
    """The number of each row's group `[T]`, and how many there are: a session each, or equally many by chance."""
    _, number = np.unique(session, return_inverse=True)
    sessions = int(number.max()) + 1
    if sessions <= GROUPS:
        return number, sessions
    return (rng.permutation(sessions) % GROUPS)[number], GROUPS


def _modelled(policy: Policy, batch: Batch, weights: Floats, values: Floats, group: Integers) -> Floats:
    """What a model adds for each group `[G, V]`: the sum of `sum_a pi(a | x_t) G(v | x_t, a) - w_t G(v | x_t, a_t)`.

    G is a ridge regression of 1{r <= v} at some of the values, and linear from one to the next: whatever G is, what it
    adds has mean 0, so the function stays unbiased.
    """
    target = policy.distribution(batch.observation, batch.allowed)
    actions, rows = target.shape[1], np.arange(len(batch))
    design, fold = regression.features(batch.observation, actions), regression.folds(batch.session)
    last = len(values) - 1
    knots = np.unique(np.linspace(0, last, min(MODELLED, last + 1)).round().astype(int))
    added = np.empty((int(group.max()) + 1, len(knots)))
    for number, knot in enumerate(knots):
        below = (batch.reward <= values[knot]).astype(np.float64)
        parts = regression.by_fold(design, batch.action, below, fold, actions)
        predicted = (
            np.clip(regression.cross_fit(design, parts, fold), 0.0, 1.0) if knot < last else np.ones(target.shape)
        )
        terms = (target * predicted).sum(1) - weights * predicted[rows, batch.action]
        added[:, number] = np.bincount(group, weights=terms, minlength=len(added))
    between = np.stack([np.interp(np.arange(last + 1), knots, each) for each in np.eye(len(knots))])
    return np.asarray(added @ between)


def _nothing(reason: str, effective: float) -> Distribution:
    empty = np.empty(0)
    return Distribution(points(empty), empty, empty, empty, effective, np.empty((0, 0)), NOTHING, refused=reason)


def _share(name: str, value: float) -> None:
    if not 0.0 < value <= 1.0:
        raise InvalidInput(f"{name!r} got {value!r}.", field=name, value=value, fix="It is a share above 0, up to 1.")
