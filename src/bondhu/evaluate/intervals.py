"""The kinds of interval that the terms of an estimate may be given, by name, and what each takes for granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import (
    Interval,
    bootstrap_t,
    empirical_bernstein,
    group_sums,
    skewness_corrected,
    student,
)
from bondhu.equations.sequences import confidence_sequence
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.types import Floats, Integers

DEFAULT = "skewness"  # the kind that estimates have


class Sample(NamedTuple):
    """Terms whose mean is in question, and what is known of them."""

    terms: Floats  # [T]
    session: Integers | None  # [T] what is independent of each other; None: every term
    bounds: Interval | None  # between which every term must lie, known beforehand
    rng: np.random.Generator | None


class Kind(NamedTuple):
    """One kind of interval."""

    of: Callable[[Sample, float], Interval]
    assumes: str  # in one line, to be printed beside it


def _asymptotic(sample: Sample, confidence: float) -> Interval:
    return student(sample.terms, confidence, sample.session)


def _skewness(sample: Sample, confidence: float) -> Interval:
    return skewness_corrected(sample.terms, confidence, sample.session)


def _bootstrap(sample: Sample, confidence: float) -> Interval:
    rng = np.random.default_rng(0) if sample.rng is None else sample.rng
    return bootstrap_t(sample.terms, confidence, rng, sample.session)


def _empirical_bernstein(sample: Sample, confidence: float) -> Interval:
    """Over sessions: `mean = (G / T) mean_g(sum of session g)`, given how long the sessions are."""
    if sample.bounds is None:
        raise InvalidInput(
            "An empirical Bernstein interval needs bounds of the terms.",
            field="bounds",
            fix="Give the largest weight times the largest reward, or choose another kind.",
        )
    scale = len(sample.terms)
    sizes = group_sums(np.ones(scale), sample.session)
    if len(sizes) < 2:
        return -inf, inf
    sums, share = group_sums(sample.terms, sample.session), len(sizes) / scale
    edges = np.outer(sample.bounds, sizes) * share
    return empirical_bernstein(sums * share, confidence, (float(edges.min()), float(edges.max())))


def _anytime(sample: Sample, confidence: float) -> Interval:
    return confidence_sequence(sample.terms, confidence, sample.session)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "asymptotic": Kind(
            _asymptotic, "Student's t: sessions independent, and so many that their mean is nearly normal."
        ),
        "skewness": Kind(
            _skewness, "Hall's transformed t: sessions independent, ten or more of which carry the variance."
        ),
        "bootstrap": Kind(
            _bootstrap, "Studentised resampling: sessions independent, and like those that are still to come."
        ),
        "empirical_bernstein": Kind(
            _empirical_bernstein,
            "Maurer and Pontil: sessions independent, terms inside known bounds; holds at any size.",
        ),
        "anytime": Kind(
            _anytime,
            "Confidence sequence: sessions independent, first looked at when there are many; holds at every look.",
        ),
    }
)


def interval(
    terms: Floats,
    kind: str,
    confidence: float,
    *,
    session: Integers | None = None,
    bounds: Interval | None = None,
    rng: np.random.Generator | None = None,
) -> Interval:
    """Where the expectation of the terms `[T]` lies, by one kind of interval.

    `session [T]` says which terms may depend on each other. `bounds` hold every term that could be, and only empirical
    Bernstein needs them; `rng` is what the bootstrap draws from, the same draws each time unless it is given.
    """
    if kind not in KINDS:
        raise UnknownName(f"No kind of interval {kind!r}.", field="kind", value=kind, fix=nearest(kind, tuple(KINDS)))
    _check(terms, confidence, bounds)
    return KINDS[kind].of(Sample(terms, session, bounds, rng), confidence)


def of_every_kind(
    terms: Floats,
    confidence: float,
    *,
    session: Integers | None = None,
    bounds: Interval | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, Interval]:
    """The interval of every kind by its name; without bounds there is no empirical Bernstein."""
    kinds = [kind for kind in KINDS if bounds is not None or kind != "empirical_bernstein"]
    return {kind: interval(terms, kind, confidence, session=session, bounds=bounds, rng=rng) for kind in kinds}


def _check(terms: Floats, confidence: float, bounds: Interval | None) -> None:
    if not 0 < confidence < 1:
        raise InvalidInput(
            f"A confidence of {confidence} is not between 0 and 1.",
            field="confidence",
            value=confidence,
            fix="0.95 is usual.",
        )
    if len(terms) == 0 or not np.isfinite(terms).all():
        raise InvalidInput(
            f"{len(terms):,} terms, {int((~np.isfinite(terms)).sum()):,} of them no number, have no interval.",
            field="terms",
            fix="Leave out refused estimates.",
        )
    if bounds is not None and not bounds[0] <= float(terms.min()) <= float(terms.max()) <= bounds[1]:
        raise InvalidInput(
            f"Terms reach from {float(terms.min()):g} to {float(terms.max()):g}, beyond their bounds.",
            field="bounds",
            value=bounds,
            fix="Give bounds that no term can leave.",
        )
