"""Acting on an interval: a centre by any policy over single actions, then any place in the window around it.

A continuous action has a density instead of a probability, in 1 / units of the action. Smoothing each centre over a
window makes the density positive and exact, so that logs can be learned from and judged (Krishnamurthy, Langford,
Slivkins & Zhang 2020, "Contextual bandits with continuous actions: smoothing, zooming, and adapting").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bondhu.catalogue import require
from bondhu.equations.rows import product
from bondhu.errors import InvalidInput
from bondhu.policies.drawing import BELOW_ONE
from bondhu.types import Array, Booleans, Choice, Floats, Integers, Policy, Uniforms


@dataclass(frozen=True)
class Windows:
    """K windows with evenly spaced centres, cut off at the ends of the interval. Their ends cut it into P pieces."""

    low: float
    high: float
    bins: int  # K
    bandwidth: float  # half of a window's width, as a share of the interval

    def __post_init__(self) -> None:
        require(self, 1, math.inf, "bins")
        require(self, 0.5 / self.bins, 1.0, "bandwidth")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            what = f"There is no interval from {self.low:g} to {self.high:g}."
            raise InvalidInput(
                what, field="action", value=(self.low, self.high), fix="Give it finite ends, the lower first."
            )

    @cached_property
    def reach(self) -> Floats:
        """Where each window begins and ends: `[2, K]`."""
        centre, half = (np.arange(self.bins) + 0.5) / self.bins, self.bandwidth
        ends = np.clip(np.stack([centre - half, centre + half]), 0.0, 1.0).round(12)  # ends that meet are the same
        return (1.0 - ends) * self.low + ends * self.high

    @cached_property
    def edges(self) -> Floats:
        """The ends of the pieces, ascending: `[P + 1]`."""
        return np.unique(self.reach)

    @cached_property
    def lengths(self) -> Floats:
        """Of the pieces: `[P]`."""
        return np.diff(self.edges)

    @cached_property
    def covered(self) -> Integers:
        """The first piece of each window, and the first after it: `[2, K]`."""
        return np.searchsorted(self.edges, self.reach)

    @cached_property
    def shares(self) -> Floats:
        """How the probability of a centre spreads over the pieces: `[K, P]`; rows sum to 1."""
        first, after = self.covered[:, :, None]
        piece = np.arange(len(self.edges) - 1)
        inside = (piece >= first) & (piece < after)
        shares: Floats = inside * self.lengths / np.diff(self.reach, axis=0).T
        return shares

    def piece(self, action: Array) -> Integers:
        """The piece in which each action lies: `[T]`. A piece ends before the next; the last holds the end as well."""
        return np.minimum(np.searchsorted(self.edges, action, side="right") - 1, len(self.edges) - 2)


@dataclass(frozen=True)
class Smoothed:
    """Uniform in the window of a centre that `policy` draws.

    What `policy` spreads evenly over all centres is spread evenly over the interval instead (windows overlap less at
    its ends). So ε-greedy over centres becomes what CATS plays: (1 - ε) near the best centre, ε anywhere. `allowed` has
    one column, `[T, 1]`: the interval as a whole.
    """

    policy: Policy  # over the K centres
    windows: Windows

    @property
    def edges(self) -> Floats:
        """Where the density may change, ascending: `[P + 1]`."""
        return self.windows.edges

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        """Probability of each piece between two edges, inside of which the density is the same: `[T, P]`."""
        if not allowed.all():
            what = f"Row {int(allowed.all(axis=1).argmin())} allows no action."
            raise InvalidInput(what, field="allowed", fix="An interval is allowed as a whole: one column, true.")
        centres = self.policy.distribution(observation, np.ones((len(observation), self.windows.bins), np.bool_))
        evenly = centres.min(axis=1, keepdims=True)
        density = self.windows.bins * evenly / (self.windows.high - self.windows.low)
        pieces: Floats = product(centres - evenly, self.windows.shares) + density * self.windows.lengths
        return pieces

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:
        """Density of one action a row, in 1 / units of the action: `[T]` to `[T]`; 0 outside of the interval."""
        inside = (action >= self.windows.low) & (action <= self.windows.high)
        piece = self.windows.piece(np.where(inside, action, self.windows.low))
        chosen = self.distribution(observation, allowed)[np.arange(len(action)), piece]
        return np.where(inside, chosen / self.windows.lengths[piece], 0.0)

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        """Actions and their densities, `[T]` each: the cumulative distribution inverted at one uniform number a row."""
        pieces, rows = self.distribution(observation, allowed), np.arange(len(observation))
        cumulative = np.add.accumulate(pieces, axis=1)
        reaches = np.minimum(rng.random(len(rows)), BELOW_ONE) * cumulative[:, -1]
        piece = (cumulative > reaches[:, None]).argmax(axis=1)
        chosen, start, end = pieces[rows, piece], self.edges[piece], self.edges[piece + 1]
        beyond = np.clip((reaches - cumulative[rows, piece]) / chosen + 1.0, 0.0, 1.0)
        action = np.minimum(start + beyond * (end - start), np.nextafter(end, start))
        return Choice(action, chosen / (end - start), np.empty((len(rows), 0)))
