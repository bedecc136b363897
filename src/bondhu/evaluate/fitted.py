"""What a model says of a log: the values of what was done and came next, and what each row counts for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bondhu.equations.trajectories import Layout, session_sums, temporal_errors
from bondhu.types import Floats


class Values(NamedTuple):
    """What sessions still return under a policy, at each row."""

    chosen: Floats  # [T] q(x_t, a_t)
    value: Floats  # [T] v(x_t) = Σ_a π(a | x_t) q(x_t, a)
    following: Floats  # [T] v of what came next, seen or not; 0 at a true end


class Fitted(NamedTuple):
    """A model of the whole log."""

    values: Values
    ratio: Floats  # [T] visits of the policy to where the row was, for each visit of the log
    ratio_from: Callable[[Floats], Floats]  # the same where sessions begin in row t as often as it says: [T] -> [T]
    left_out: Floats  # [T] how much larger the row's error would be, had the model not seen it
    missing: float  # share of the policy's decisions of which the log shows nothing
    visits: float  # discounted decisions of one session of the policy


def balanced_terms(found: Fitted, reward: Floats, where: Layout, factor: float) -> Floats:
    """`v(x_0) + Σ_t ratio_t δ_t` of each session `[N]`: its mean is the value, its spread the value's error.

    Kallus & Uehara (2022): no estimator of a Markov problem can be narrower in large samples.
    """
    values = found.values
    errors = found.ratio * temporal_errors(reward, values.following, values.chosen, factor)
    start = values.value[where.first]
    mean = float((start + session_sums(errors, where, 1.0)).mean())
    terms = start + session_sums(errors * found.left_out, where, 1.0)
    centred: Floats = terms - terms.mean() + mean
    return centred
