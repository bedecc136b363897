"""What the log holds for the two policies of a study: weights, support, distributions of the reward, groups."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np

from bondhu.equations.weights import tail_shape
from bondhu.evaluate.diagnosis import lacking
from bondhu.evaluate.distribution import RewardDistribution
from bondhu.evaluate.parts import by_group, groups_of
from bondhu.evaluate.support import support
from bondhu.report.study import Cell, Curve, Figure, Group, Support, Weights
from bondhu.studying.question import SEED, Question
from bondhu.train.judge import LEARNED
from bondhu.types import Floats

LEVELS = ((0.1, "10 % earn at most"), (0.5, "half earn at most"), (0.9, "90 % earn at most"))
WORST = ((0.05, "mean of the worst 5 %"), (0.25, "mean of the worst 25 %"))
BINS = 24  # of weights


def curves(asked: Question) -> tuple[Curve, ...]:
    """How the reward of a decision is distributed under both policies."""
    return tuple(_curve(asked, number) for number in (0, 1)) if asked.pair and len(asked.batch) else ()


def _curve(asked: Question, number: int) -> Curve:
    assert asked.pair is not None
    seen, name, empty = asked.pair[number], asked.names[number], np.empty(0)
    if asked.adaptive:
        return Curve(name, empty, empty, empty, empty, (), LEARNED)
    found = RewardDistribution(confidence=asked.rules.confidence)(*seen, np.random.default_rng(SEED))
    figures = [("mean", found.mean)]
    figures += [(said, found.quantile(level)) for level, said in LEVELS]
    figures += [(said, found.cvar(alpha)) for alpha, said in WORST]
    told = tuple((said, Figure(*each)) for said, each in figures)
    return Curve(name, found.values, found.cdf, found.low, found.high, told, found.refused)


def weights(asked: Question) -> tuple[Weights, ...]:
    """How much each decision counts for either policy."""
    if not asked.pair or not len(asked.batch):
        return ()
    minimum = asked.rules.minimum_effective_samples
    found = [support(*seen, minimum) for seen in asked.pair]
    edges = _edges(np.concatenate([each.weights for each in found]))
    return tuple(
        _counted(name, each.weights, edges, each.effective_samples, each.refused)
        for name, each in zip(asked.names, found, strict=True)
    )


def _edges(weights: Floats) -> Floats:
    """Of bins that are equally wide on a logarithmic scale, the same for both policies."""
    weights = weights[weights > 0]
    low, high = (float(weights.min()), float(weights.max())) if len(weights) else (1.0, 1.0)
    edges: Floats = np.geomspace(low / 1.05, high * 1.05, BINS + 1)
    return edges


def _counted(name: str, weights: Floats, edges: Floats, effective: float, refused: str | None) -> Weights:
    some = weights[weights > 0]
    counts, sums = np.histogram(some, edges)[0], np.histogram(some, edges, weights=some)[0]
    largest, tail = (float(some.max()), tail_shape(some)) if len(some) else (nan, nan)
    heaviest = np.cumsum(np.sort(some)[::-1])
    half = int(np.searchsorted(heaviest, some.sum() / 2) + 1) if len(some) else 0
    return Weights(name, edges, counts, sums, len(weights) - len(some), effective, half, largest, tail, refused)


def silence(asked: Question, exploring: float, actions: Sequence[str]) -> tuple[Support, ...]:
    """Where the log is silent about either policy."""
    if not asked.pair or not len(asked.batch):
        return ()
    wanted, told = asked.rules.minimum_effective_samples, []
    for name, seen in zip(asked.names, asked.pair, strict=True):
        found = lacking(*seen, wanted=wanted, exploring=exploring, actions=actions)
        told.append(Support(name, found.sentence, tuple(Cell(*each) for each in found.cells)))
    return tuple(told)


def groups(asked: Question) -> tuple[Group, ...]:
    """The advantage within groups: those that the gate looked at, or of every field that makes groups."""
    advantage, found = asked.judgement.parts.advantage, asked.judgement.parts.groups
    if advantage.refused:
        return ()
    if not asked.rules.groups:
        columns = [name for name, column in asked.batch.context.items() if column.ndim == 1]
        fields = {name: groups_of(asked.batch, name) for name in columns}
        several = {name: each for name, each in fields.items() if len(each.values) > 1}
        found = by_group(advantage, several, asked.rules.confidence, asked.batch.session)
    told = (Group(name, len(each.terms), each) for name, each in found.items())
    return tuple(sorted(told, key=lambda each: -each.advantage.value))
