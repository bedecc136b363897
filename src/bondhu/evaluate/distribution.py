"""The whole distribution of the reward under a policy, not its mean alone: quantiles, the worst cases, the spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bondhu.equations import regression
from bondhu.equations.distributions import (
    bernstein_band,
    cumulative,
    lower_tail_mean,
    quantile,
    resampled_band,
    rising,
    variance,
)
from bondhu.equations.weights import self_normalised
from bondhu.errors import InvalidInput, nearest
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, support
from bondhu.types import Batch, Floats, Policy

METHODS, BANDS = ("ips", "snips", "dr"), ("bootstrap", "bernstein")
BEYOND = 10.0  # effective samples in a tail below which resampling says nothing of it
MODELLED = 32  # values at which a model of the distribution is made


class Figure(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Distribution:
    """P(reward <= value) with a band that holds the whole function, or a refusal."""

    values: Floats  # [V] ascending
    cdf: Floats  # [V]
    low: Floats  # [V]
    high: Floats  # [V]
    effective_samples: float
    draws: Floats  # [B, V] what resampled sessions said; [0, V] where the band needs none
    confidence: float = 0.95  # of the band, and of each interval
    refused: str | None = None

    def quantile(self, level: float) -> Figure:
        """The least value that the reward stays within with this probability."""
        _share("level", level)
        return self._figure(lambda cdf: quantile(self.values, cdf, level), min(level, 1.0 - level))

    def cvar(self, alpha: float) -> Figure:
        """The mean reward of the worst share alpha of decisions."""
        _share("alpha", alpha)
        return self._figure(lambda cdf: lower_tail_mean(self.values, cdf, alpha), alpha)

    @property
    def mean(self) -> Figure:
        return self.cvar(1.0)

    @property
    def variance(self) -> Figure:
        """By resampling alone: a band says next to nothing of it."""
        if self.refused:
            return Figure(np.nan, np.nan, np.nan)
        value = float(variance(self.values, self.cdf))
        low, high = self._ends(variance(self.values, self.draws)) if len(self.draws) else (np.nan, np.nan)
        return Figure(value, low, high)

    def _figure(self, of: Callable[[Floats], Floats], tail: float) -> Figure:
        """From what resampled sessions say where enough of them lie in the tail, else from the band."""
        if self.refused:
            return Figure(np.nan, np.nan, np.nan)
        value = float(of(self.cdf))
        if len(self.draws) and tail * self.effective_samples >= BEYOND:
            low, high = self._ends(of(self.draws))
        else:
            low, high = float(of(self.high)), float(of(self.low))  # more mass below is a lower reward
        return Figure(value, min(low, value), max(high, value))

    def _ends(self, figures: Floats) -> tuple[float, float]:
        tail = (1.0 - self.confidence) / 2
        low, high = np.quantile(figures, [tail, 1.0 - tail])
        return float(low), float(high)


@dataclass(frozen=True)
class RewardDistribution:
    """`F(v) = mean_t w_t 1{r_t <= v}`, self-normalised or doubly robust. Huang et al. (2021), "Off-policy risk
    assessment in contextual bandits"; Chandak et al. (2021), "Universal off-policy evaluation"."""

    method: str = "snips"  # "ips", "snips", or "dr", with ridge regressions of 1{r <= v}
    band: str = "bootstrap"  # of whole sessions; "bernstein": holds at any T, for sessions of one decision
    confidence: float = 0.95  # of the band, and of each interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    points: int = 256  # values at which the function is told, at most
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
        values = self._grid(batch.reward)
        if self.band == "bernstein":
            weights = found.weights if self.method == "ips" else self_normalised(found.weights)
            cdf: Floats = rising(cumulative(batch.reward, weights, values))
            draws: Floats = np.empty((0, len(values)))
            limit = self.heaviest or 1.0 / float(batch.probability.min())
            low, high = bernstein_band(batch.reward, found.weights, values, self.confidence, limit)
        else:
            cdf, draws = self._resampled(policy, batch, found.weights, values, rng)
            low, high = resampled_band(cdf, draws, self.confidence)
        return Distribution(values, cdf, low, high, found.effective_samples, draws, self.confidence)

    def _unanswerable(self, batch: Batch) -> str | None:
        if self.bounds and not (self.bounds[0] <= batch.reward.min() and batch.reward.max() <= self.bounds[1]):
            return f"Rewards from {batch.reward.min():g} to {batch.reward.max():g} were logged, beyond {self.bounds}."
        if self.band == "bernstein" and len(np.unique(batch.session)) < len(batch):
            return "Sessions hold several decisions, which are not independent. Use the band by bootstrap."
        if self.band == "bernstein" and self.method == "dr":
            return "The doubly robust distribution has no Bernstein band. Use ips, snips, or the band by bootstrap."
        return None

    def _grid(self, reward: Floats) -> Floats:
        """Every value that came, or as many quantiles as can be told; and the bounds."""
        points = min(self.points, MODELLED) if self.method == "dr" else self.points
        values = np.unique(reward)
        if len(values) > points:
            values = np.unique(np.quantile(reward, np.linspace(0.0, 1.0, points), method="higher"))
        return np.union1d(values, self.bounds) if self.bounds else values

    def _resampled(
        self, policy: Policy, batch: Batch, weights: Floats, values: Floats, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """The function `[V]`, and what it is in resampled sessions `[B, V]`."""
        _, session = np.unique(batch.session, return_inverse=True)
        sessions = int(session.max()) + 1
        terms = _modelled(policy, batch, weights, values) if self.method == "dr" else None

        def told(times: Floats) -> Floats:
            if terms is not None:
                return rising(times @ terms / times.sum())
            counted = times * weights
            total = counted.sum() if self.method == "snips" else times.sum()
            return rising(cumulative(batch.reward, counted, values) * (len(batch) / max(float(total), 1e-300)))

        draws = np.empty((self.resamples, len(values)))
        for number in range(self.resamples):
            again = np.bincount(rng.integers(sessions, size=sessions), minlength=sessions)
            draws[number] = told(again[session].astype(np.float64))
        return told(np.ones(len(batch))), draws


def _modelled(policy: Policy, batch: Batch, weights: Floats, values: Floats) -> Floats:
    """Doubly robust terms `[T, V]`: `sum_a pi(a | x_t) G(v | x_t, a) + w_t (1{r_t <= v} - G(v | x_t, a_t))`."""
    target = policy.distribution(batch.observation, batch.allowed)
    actions, rows = target.shape[1], np.arange(len(batch))
    design, fold = regression.features(batch.observation, actions), regression.folds(batch.session)
    terms = np.empty((len(batch), len(values)))
    for number, value in enumerate(values):
        below = (batch.reward <= value).astype(np.float64)
        parts = regression.by_fold(design, batch.action, below, fold, actions)
        predicted = np.clip(regression.cross_fit(design, parts, fold), 0.0, 1.0)
        terms[:, number] = (target * predicted).sum(1) + weights * (below - predicted[rows, batch.action])
    return terms


def _nothing(reason: str, effective: float) -> Distribution:
    empty = np.empty(0)
    return Distribution(empty, empty, empty, empty, effective, np.empty((0, 0)), refused=reason)


def _share(name: str, value: float) -> None:
    if not 0.0 < value <= 1.0:
        raise InvalidInput(f"{name!r} got {value!r}.", field=name, value=value, fix="It is a share above 0, up to 1.")
