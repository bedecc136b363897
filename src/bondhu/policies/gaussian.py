"""Acting with several numbers at once: drawn around a mean, and squashed into the bounds where that is asked for.

A density takes the place of the probability, in 1 / units of the action; it may be as large as floats go, so its
logarithm is the last column of the memo.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Array, Booleans, Choice, Floats, Uniforms

Spread = Callable[[Array], tuple[Floats, Floats]]  # observation [T, F] -> mean [T, D], log of the deviation [T, D]
LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Gaussian:
    """Each number by itself: a normal one around its mean. What leaves the bounds is for the environment to clip."""

    spread: Spread

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:  # noqa: ARG002  there is none
        raise _no_distribution(self)

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:  # noqa: ARG002  all are
        mean, deviation = self.spread(observation)
        density: Floats = np.exp(_log_density(action, mean, deviation))
        return density

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:  # noqa: ARG002  all are allowed
        mean, deviation = self.spread(observation)
        action = mean + np.exp(deviation) * normal(mean.shape, rng)
        density = _log_density(action, mean, deviation)
        return Choice(action, np.exp(density), density[:, None])


@dataclass(frozen=True)
class Squashed:
    """A normal number bent by tanh into the bounds, so that none is ever clipped."""

    spread: Spread  # before it is bent
    low: Floats  # [D]
    high: Floats  # [D]

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:  # noqa: ARG002  there is none
        raise _no_distribution(self)

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:  # noqa: ARG002  all are
        mean, deviation = self.spread(observation)
        inside = np.clip((action - self.low) / (self.high - self.low) * 2 - 1, -1 + 1e-6, 1 - 1e-6)
        density: Floats = np.exp(self._log_density(np.arctanh(inside), mean, deviation))
        return density

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:  # noqa: ARG002  all are allowed
        mean, deviation = self.spread(observation)
        raw = mean + np.exp(deviation) * normal(mean.shape, rng)
        density = self._log_density(raw, mean, deviation)
        action = self.low + (np.tanh(raw) + 1) / 2 * (self.high - self.low)
        return Choice(action, np.exp(density), density[:, None])

    def _log_density(self, raw: Floats, mean: Floats, deviation: Floats) -> Floats:
        """That of the bent number: minus the logarithm of how much tanh and the bounds stretch (log 2 of it stays)."""
        stretch = 2 * (np.log(2.0) - raw - np.logaddexp(0.0, -2 * raw)) + np.log((self.high - self.low) / 2)
        density: Floats = _log_density(raw, mean, deviation) - stretch.sum(axis=1)
        return density


@dataclass(frozen=True)
class Certain:
    """One action in each context, with noise on top where `deviation` is not 0, cut off at the bounds."""

    mean: Callable[[Array], Floats]  # observation [T, F] -> [T, D]
    low: Floats  # [D]
    high: Floats  # [D]
    deviation: Floats | float = 0.0  # [D] of the noise, in units of the action

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:  # noqa: ARG002  there is none
        raise _no_distribution(self)

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:  # noqa: ARG002  all are
        return self._chance(np.clip(self.mean(observation), self.low, self.high), action)

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:  # noqa: ARG002  all are allowed
        mean = np.clip(self.mean(observation), self.low, self.high)
        if not np.any(self.deviation):
            return Choice(mean, np.ones(len(mean)), np.empty((len(mean), 0)))
        action = np.clip(mean + self.deviation * normal(mean.shape, rng), self.low, self.high)
        return Choice(action, self._chance(mean, action), np.empty((len(mean), 0)))

    def _chance(self, mean: Floats, action: Array) -> Floats:
        """The density inside of the bounds; on a bound the probability of all that would have gone beyond it."""
        if not np.any(self.deviation):
            same: Floats = (action == mean).all(axis=1).astype(np.float64)
            return same
        wide = np.broadcast_to(np.asarray(self.deviation, np.float64), mean.shape)
        away = (np.asarray(action, np.float64) - mean) / wide
        inside = np.exp(-0.5 * away * away - 0.5 * LOG_TWO_PI) / wide
        beyond = 0.5 * _erfc(np.abs(away) / np.sqrt(2.0))
        each = np.where((action <= self.low) | (action >= self.high), beyond, inside)
        chance: Floats = each.prod(axis=1)
        return chance


@dataclass(frozen=True)
class Anywhere:
    """Every action between the bounds is as likely as any other: how one begins before anything is known."""

    low: Floats  # [D]
    high: Floats  # [D]

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:  # noqa: ARG002  there is none
        raise _no_distribution(self)

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:  # noqa: ARG002  all are
        inside = ((action >= self.low) & (action <= self.high)).all(axis=1)
        density: Floats = np.where(inside, np.prod(1.0 / (self.high - self.low)), 0.0)
        return density

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:  # noqa: ARG002  all are allowed
        rows, dimensions = len(observation), len(self.low)
        action = self.low + rng.random(rows * dimensions).reshape(rows, dimensions) * (self.high - self.low)
        density = np.full(rows, np.prod(1.0 / (self.high - self.low)))
        return Choice(action, density, np.log(density)[:, None])


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def normal(shape: tuple[int, ...], rng: Uniforms) -> Floats:
    """Standard normal numbers from two uniform ones each (Box & Muller 1958), those of a row in succession."""
    first, second = np.moveaxis(rng.random(2 * int(np.prod(shape))).reshape(*shape, 2), -1, 0)
    drawn: Floats = np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)
    return drawn


def _log_density(action: Floats, mean: Floats, deviation: Floats) -> Floats:
    """log N(action; mean, exp(deviation)²), the dimensions together: `[T, D]` to `[T]`."""
    away = (action - mean) * np.exp(-deviation)
    density: Floats = (-0.5 * away * away - deviation - 0.5 * LOG_TWO_PI).sum(axis=1)
    return density


def _no_distribution(policy: object) -> InvalidInput:
    what = "A policy over continuous actions has no probability for each of finitely many."
    return InvalidInput(what, field="policy", value=type(policy).__name__, fix="Ask for `probability`: its density.")
