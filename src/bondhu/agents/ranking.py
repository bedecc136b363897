"""In which order a search tries edits: at random, by where the failing tests went, or as a learner of the catalogue
says, at once or in three stages (locate, choose an operator, fill in)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bondhu.agents.search import Context, Ranker
from bondhu.types import Floats, Integers, Policy

UNSUSPECTED = 0.02  # suspicion of a line that no test speaks of
LEAST = 1e-12  # probability below which the order no longer matters


@dataclass(frozen=True)
class Unlearned:
    """Operators alike, and alike the edits of each; lines alike, or by their suspicion. The order is drawn anew for
    every program (Gumbel 1954: the largest of log p + noise is a draw from p)."""

    rng: np.random.Generator
    localised: bool = False

    def __call__(self, context: Context) -> Floats:
        operators = grouped([edit.operator for edit in context.edits])
        wanted = -np.log(np.bincount(operators)[operators])
        if self.localised:
            blame = np.array([context.suspicion.get(edit.line, 0.0) for edit in context.edits])
            wanted = wanted + np.log(blame + UNSUSPECTED)
        noisy: Floats = wanted + self.rng.gumbel(size=len(wanted))
        return noisy


@dataclass(frozen=True)
class Flat:
    """One policy sees all edits as its candidates."""

    policy: Policy

    def __call__(self, context: Context) -> Floats:
        return logarithms(self.policy, context.features)


@dataclass(frozen=True)
class Drawn:
    """One policy sees all edits as its candidates, and the order is drawn from it, one after the other."""

    policy: Policy
    rng: np.random.Generator

    def __call__(self, context: Context) -> Floats:
        return logarithms(self.policy, context.features) + self.rng.gumbel(size=len(context.edits))


@dataclass(frozen=True)
class Staged:
    """Three policies: which line, which operator in it, which of its edits. Lines, and operators in a line, are seen as
    the mean of their edits."""

    line: Policy
    operator: Policy
    filling: Policy

    def __call__(self, context: Context) -> Floats:
        table = context.features
        total = np.zeros(len(table))
        everything = np.zeros(len(table), np.int64)
        for policy, (within, groups) in zip(
            (self.line, self.operator, self.filling), stages(everything, context), strict=True
        ):
            total += conditional(policy, table, within, groups)
        return total


Stage = tuple[Integers, Integers]  # [N] the choice made before, and the one to make, by number


def stages(everything: Integers, context: Context) -> tuple[Stage, Stage, Stage]:
    """What is chosen among what: lines of the program, operators of a line, edits of an operator."""
    lines = grouped([edit.line for edit in context.edits])
    operators = grouped([(edit.line, edit.operator) for edit in context.edits])
    return (everything, lines), (lines, operators), (operators, np.arange(len(lines)))


def grouped(names: Sequence[object]) -> Integers:
    """A number for each different name, in the order in which they come: `[N]`."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def means(table: Floats, groups: Integers) -> Floats:
    """The mean row of each group: `[G, F]`."""
    order, counts = np.argsort(groups, kind="stable"), np.bincount(groups)
    total = np.add.reduceat(table[order].astype(np.float64), np.cumsum(counts) - counts)
    found: Floats = (total / counts[:, None]).astype(np.float32)
    return found


def conditional(policy: Policy, table: Floats, within: Integers, groups: Integers) -> Floats:
    """log π(its group | what was chosen before), for every edit: `[N]`."""
    candidates = means(table, groups)
    parent = np.zeros(len(candidates), np.int64)
    parent[groups] = within
    found = np.zeros(len(candidates))
    for each in range(int(parent.max()) + 1):
        members = np.flatnonzero(parent == each)
        found[members] = logarithms(policy, candidates[members])
    return found[groups]


def logarithms(policy: Policy, candidates: Floats) -> Floats:
    """log π of each candidate `[N, F]`: `[N]`."""
    shares = policy.distribution(candidates[None], np.ones((1, len(candidates)), np.bool_))[0]
    found: Floats = np.log(np.maximum(shares, LEAST))
    return found


def together(*parts: tuple[float, Ranker]) -> Ranker:
    """A ranker that adds what others say, times their weights."""

    def ranked(context: Context) -> Floats:
        total: Floats = sum((weight * ranker(context) for weight, ranker in parts), np.zeros(len(context.edits)))
        return total

    return ranked
