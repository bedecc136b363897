"""Drift of contexts, actions, propensities and rewards between a reference and the current stretch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from bondhu.equations.drift import (
    kolmogorov_smirnov,
    kolmogorov_tail,
    population_stability_index,
    shares_scatter,
    two_sample_chi_square,
)
from bondhu.equations.tails import chi_square_tail
from bondhu.types import Booleans, Floats, Integers
from bondhu.watch.expected import numbered
from bondhu.watch.observed import Observed
from bondhu.watch.season import covered, days_scatter, hours

CELLS = 64  # pairs of values of two fields that are told apart; more share cells by a multiplicative hash
HASH = 2_654_435_761  # by the golden ratio of 2^32 (Knuth, volume 3, section 6.4)
TENTHS = np.arange(1, 10) / 10


@dataclass(frozen=True)
class DriftRules:
    """When a difference is drift: it must be sure, and it must be large."""

    chance: float = 1e-4  # of a false alarm, over everything that is looked at
    index: float = 0.1  # population stability index: smaller differences are none (Siddiqi 2006)
    distance: float = 0.1  # of two distributions of a number: the same
    least_rows: int = 200  # of each stretch


class Drift(NamedTuple):
    """One thing that was looked at."""

    kind: str  # "context", "pair", "action", "propensity" or "reward"
    name: str  # of the field, or of the two fields
    size: float  # population stability index, or the largest distance of the distributions of a number
    chance: float  # that health shows as much, over everything that is looked at
    drifted: bool
    sentence: str


def drift(reference: Observed, current: Observed, rules: DriftRules | None = None) -> tuple[Drift, ...]:
    """Everything that was looked at, what drifted first. Rewards of settled decisions, the rest of all.

    Only the same hours of earlier weeks are compared with; decisions in hours that the reference does not know are left
    out. Pairs of fields count where neither of the two drifted alone.
    """
    rules = rules or DriftRules()
    current = current.take(covered(reference.time, current.time))
    usual = reference.known()
    reference = reference.take(alike(reference, current))
    if min(len(reference), len(current)) < rules.least_rows:
        return ()
    scatter = days_scatter(usual.time, usual.reward, usual.user)
    tests = [test._replace(scatter=scatter) if test.kind == "reward" else test for test in _tests(reference, current)]
    found = [_drift(test, len(tests), rules) for test in tests]
    alone = {each.name for each in found if each.kind == "context" and each.drifted}
    kept = [each for each in found if each.kind != "pair" or not alone.intersection(each.name.split(" with "))]
    return tuple(sorted(kept, key=lambda each: (not each.drifted, each.chance)))


def alike(reference: Observed, current: Observed) -> Booleans:
    """Rows of the reference in hours of the week that the current stretch has: `[R]`."""
    return np.isin(hours(reference.time), hours(current.time))


class Test(NamedTuple):
    """Something to compare: codes of both stretches, and their values where they are numbers."""

    kind: str
    name: str
    codes: tuple[Integers, Integers]
    size: int
    users: tuple[Integers, Integers]
    numbers: tuple[Floats, Floats] | None = None
    scatter: float = 1.0  # how many times more days vary than their rows explain


def _tests(reference: Observed, current: Observed) -> Iterator[Test]:
    users = reference.user, current.user
    fields = {name: (each, current.context[name]) for name, each in reference.context.items()}
    for name, (there, here) in fields.items():
        values = (reference.numbers[name], current.numbers[name]) if name in reference.numbers else None
        yield Test("context", name, (there.codes, here.codes), len(there.values), users, values)
    for (one, first), (other, second) in combinations(fields.items(), 2):
        codes = _paired(first[0].codes, second[0].codes), _paired(first[1].codes, second[1].codes)
        yield Test("pair", f"{one} with {other}", codes, CELLS, users)
    *actions, size = numbered(reference.action, current.action)
    yield Test("action", "action", (actions[0], actions[1]), size, users)
    yield _of_numbers("propensity", (reference.probability, current.probability), users)
    known = reference.known(), current.known()
    if min(map(len, known)) > 0:
        yield _of_numbers("reward", (known[0].reward, known[1].reward), (known[0].user, known[1].user))


def _paired(first: Integers, second: Integers) -> Integers:
    return np.asarray(((first * 1_000_003 + second) * HASH % (1 << 32)) * CELLS >> 32)


def _of_numbers(kind: str, numbers: tuple[Floats, Floats], users: tuple[Integers, Integers]) -> Test:
    """Numbers, with tenths of the reference as codes."""
    edges = np.unique(np.quantile(numbers[0], TENTHS))
    codes = np.searchsorted(edges, numbers[0], side="left"), np.searchsorted(edges, numbers[1], side="left")
    return Test(kind, kind, codes, len(edges) + 1, users, numbers)


def _drift(test: Test, looked_at: int, rules: DriftRules) -> Drift:
    """Tests count people who return for less: Rao & Scott (1981), first order. Days that vary by themselves as well."""
    counts = [np.bincount(codes, minlength=test.size).astype(np.float64) for codes in test.codes]
    effects = [shares_scatter(codes, user, test.size) for codes, user in zip(test.codes, test.users, strict=True)]
    rows = [count / effect / test.scatter for count, effect in zip(counts, effects, strict=True)]
    if test.numbers is None:
        size = population_stability_index(counts[0], counts[1])
        chance = chi_square_tail(*two_sample_chi_square(rows[0], rows[1]))
        least, measure = rules.index, "stability index"
    else:
        size = kolmogorov_smirnov(*test.numbers)
        n, m = rows[0].sum(), rows[1].sum()
        chance = kolmogorov_tail(size, n * m / (n + m))
        least, measure = rules.distance, "distance"
    chance = min(chance * looked_at, 1.0)  # Bonferroni
    drifted = chance <= rules.chance and size >= least
    much = "drifted" if drifted else "is as before"
    return Drift(test.kind, test.name, size, chance, drifted, f"{test.name} {much} ({measure} {size:.3g}).")
