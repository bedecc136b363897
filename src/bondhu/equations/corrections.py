"""Several questions to the same data: p-values and confidences that hold for all of them together."""

from __future__ import annotations

import numpy as np

from bondhu.types import Floats


def holm(p: Floats) -> Floats:
    """Adjusted p-values `[M]`: the chance of any false alarm stays below what they are compared with. Holm (1979).

    In ascending order `max_{j <= i} (M - j + 1) p_j`, at most 1; valid however the questions depend on each other, and
    for always-valid p-values at any time. NaN counts as 1.
    """
    p = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)


def benjamini_hochberg(p: Floats) -> Floats:
    """Adjusted p-values `[M]`: the share of false alarms among alarms stays below what they are compared with.

    In ascending order `min_{j >= i} M p_j / j`. Benjamini & Hochberg (1995), for independent or positively dependent
    questions. NaN counts as 1.
    """
    p = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def bonferroni(confidence: float, count: int) -> float:
    """Confidence of each of `count` intervals that all hold together with `confidence`: `1 - (1 - c) / count`."""
    return 1 - (1 - confidence) / max(count, 1)
