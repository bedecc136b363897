"""Features of contexts for linear learners, in a fixed number of columns however many there are.

A context of F standardised columns has the features u = (1, x) or, quadratic, (1, x, products of pairs, squares - 1).
Where they are more than W, they are hashed (Weinberger et al. 2009): each is added to one of W columns with a sign, so
that features share weights. Where they fit, nothing is shared, and small problems are exact.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bondhu.types import Floats, Integers


def expanded_width(columns: int, quadratic: bool) -> int:
    """How many features are made of so many columns."""
    return 1 + columns + (columns * (columns + 1) // 2 if quadratic else 0)


def expanded(scaled: Floats, quadratic: bool, width: int) -> Floats:
    """The features u of standardised columns, `[..., F]` to `[..., W]`. A square counts from its mean, which is 1."""
    parts = [np.ones((*scaled.shape[:-1], 1)), scaled]
    if quadratic:
        first, second = np.triu_indices(scaled.shape[-1])
        parts.append(scaled[..., first] * scaled[..., second] - (first == second))
    features = np.concatenate(parts, axis=-1)
    return features if features.shape[-1] <= width else folded(features, width)


def folded(features: Floats, width: int) -> Floats:
    """Each feature added to one of `width` columns with a sign: `[..., P]` to `[..., W]`."""
    order, sign = places(features.shape[-1], width)
    padded = np.concatenate([features, np.zeros((*features.shape[:-1], 1))], axis=-1)
    columns: Floats = (padded[..., order] * sign).reshape(*features.shape[:-1], -1, width).sum(axis=-2)
    return columns


@lru_cache(maxsize=16)
def places(features: int, width: int) -> tuple[Integers, Floats]:
    """A random order of the features, filled up to whole rows of `width` with the number `features`, and random signs.

    A feature's column is its place modulo the width: unlike with a hash of each feature alone, no column has to hold
    two features more than another. It is the same order whenever it is asked for.
    """
    source = np.random.Generator(np.random.PCG64(0))
    order = np.full(-(-features // width) * width, features)
    order[:features] = source.permutation(features)
    return order, source.choice([-1.0, 1.0], len(order))
