"""From probabilities to actions: one uniform number a row, so that any draw can be replayed.

A row is drawn alike alone, among others, and from its sums kept from an earlier time. One row is the live request:
there the reductions over an axis are replaced by cheaper calls with the same result.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import NoReturn, Protocol

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Array, Booleans, Choice, Floats, Integers, Policy, Uniforms

BELOW_ONE = float(np.nextafter(1.0, 0.0))
NARROW = 256  # actions up to which the shares of a single row are remembered
NOTHING = np.empty((1, 0))  # the memo of one row


class Distribution(Protocol):
    """The part of a policy that drawing needs."""

    def distribution(self, observation: Array, allowed: Booleans) -> Floats: ...


def evenly(chosen: Booleans, rate: float = 1.0) -> Floats:
    """p(a) = rate / |chosen| for each chosen action, 0 for the others: `[T, A]` to `[T, A]`, not to be written to."""
    if len(chosen) == 1:
        shares = _remembered if chosen.size <= NARROW else _shares
        return shares(chosen.tobytes(), rate)
    counts = np.add.reduce(chosen, axis=-1, keepdims=True, dtype=np.int64)
    return rate * np.true_divide(chosen, counts) if counts.all() else _none_allowed(int(counts.argmin()))


def uniformly(allowed: Booleans, rate: float) -> Floats:
    """`evenly` over the allowed actions, in a form that adds to `[T, A]`: one row where one mask holds for all."""
    return evenly(allowed[:1] if allowed.strides[0] == 0 else allowed, rate)


def draw(probabilities: Floats, rng: Uniforms) -> Choice:
    """Invert the cumulative distribution at one uniform number a row: the first a with F(a) > u·F(A).

    An action of probability 0 does not raise F, so it is never first; u stays below 1 so that one is always found.
    """
    uniform = rng.random(len(probabilities))
    if len(probabilities) == 1:
        sums = list(accumulate(probabilities.tolist()[0]))
        one = bisect_right(sums, min(uniform.item(), BELOW_ONE) * sums[-1])
        return Choice(np.array([one]), probabilities[0, one : one + 1], NOTHING)
    cumulative = rising(probabilities)
    reaches = np.minimum(uniform, BELOW_ONE) * cumulative[:, -1]
    action = (cumulative > reaches[:, None]).argmax(axis=-1)
    return Choice(action, pick(probabilities, action), np.empty((len(action), 0)))


def rising(probabilities: Floats) -> Floats:
    """F(a), the probability of the actions up to a, added in their order: `[T, A]` to `[T, A]`."""
    sums: Floats = np.add.accumulate(probabilities, axis=-1, dtype=np.float64)
    return sums


def drawn(policy: Distribution, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
    """The `sample` of every policy that draws each row from its distribution, which looks at that row alone."""
    return draw(policy.distribution(observation, allowed), rng)


def by_row(policy: Policy) -> bool:
    """Whether `drawn` is how this policy samples, and any policy in it: then the distribution of a row can be kept."""
    inner = getattr(policy, "policy", None)
    return getattr(type(policy), "sample", None) is drawn and (inner is None or by_row(inner))


def pick(probabilities: Floats, action: Integers) -> Floats:
    """The entry of each row's action: `[T, A]`, `[T]` to `[T]`."""
    chosen: Floats = probabilities[np.arange(len(action)), action]
    return chosen


def _shares(row: bytes, rate: float) -> Floats:
    """`evenly` of the one row with these bytes: `[1, A]`."""
    chosen = np.frombuffer(row, np.bool_)[None]
    count = np.count_nonzero(chosen)
    shares = rate * np.true_divide(chosen, count) if count else _none_allowed(0)
    shares.flags.writeable = False
    return shares


_remembered = lru_cache(maxsize=4096)(_shares)  # masks and best actions come again and again


def _none_allowed(row: int) -> NoReturn:
    raise InvalidInput(f"Row {row} allows no action.", field="allowed", fix="Allow at least one action a row.")
